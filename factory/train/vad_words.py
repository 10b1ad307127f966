"""The table of words that goes with a VAD regressor, learnt from the same ratings, so that it may be given away (METHODS 9).

It says what words do in texts: a text is read as the mean over its words, and that is how the table is learnt.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.benchmarks import metrics
from factory.text import words
from factory.train.records import Examples
from factory.vad import DIMENSIONS, WordTable, written

Floats = NDArray[np.floating[Any]]
OFTEN = 20  # occurrences of a word that the table has
RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # tried on validation


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """A table, how often its words stand in what it was learnt from, the ridge that validation chose, and how many texts."""

    table: WordTable
    counts: Counter[str]
    ridge: float
    texts: int

    def file(self) -> bytes:
        """words.tsv, with licence and provenance in its first lines."""
        return written(self.table, self.counts)

    def told(self) -> dict[str, Any]:
        """For the record of a training."""
        return {"count": len(self.table.words), "ridge": self.ridge, "texts": self.texts, "source": self.table.source}


def learnt(texts: Sequence[str], values: Floats, validation: Examples, *, licence: str, source: str) -> Learnt:
    """Words with OFTEN occurrences or more in `texts`, of which `values` [texts, 3] are known; how strongly they are held to the
    mean, the validation part decides."""
    counts = Counter(word for text in texts for word in words(text))
    often = sorted(word for word, n in counts.items() if n >= OFTEN)
    mean = values.mean(axis=0)
    best, best_score = None, -math.inf
    for ridge in RIDGES:
        table = WordTable(words=ridge_words(texts, values, often, ridge), licence=licence, source=source)
        score = worth(table, validation, mean)["mean_pearson"]
        if score > best_score:
            best, best_score = Learnt(table=table, counts=counts, ridge=ridge, texts=len(texts)), score
    assert best is not None
    return best


def ridge_words(
    texts: Sequence[str], values: Floats, known: Sequence[str], ridge: float
) -> dict[str, tuple[float, float, float]]:
    """A value in 0..1 for each known word: ridge regression of `values` [texts, 3] on the shares that the words have of the
    known words of a text, so that reading a text is taking the mean; how often a word stands there is in the penalty."""
    if not known:
        return {}
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import normalize

    counts = CountVectorizer(analyzer=words, vocabulary=list(known)).transform(texts)
    some = np.flatnonzero(counts.sum(axis=1))  # a text without a known word says nothing of any
    mean = values[some].mean(axis=0)
    shares = normalize(counts[some], norm="l1")
    learnt = Ridge(alpha=ridge, fit_intercept=False, solver="sparse_cg", tol=1e-6).fit(shares, values[some] - mean)
    table = (np.asarray(learnt.coef_).T + mean).clip(0, 1).tolist()
    return {word: (v, a, d) for word, (v, a, d) in zip(known, table, strict=True)}


def worth(table: WordTable, part: Examples, mean: Floats) -> dict[str, Any]:
    """What the table alone is worth: r of each dimension, where a text without a known word has `mean` [3]."""
    read = [table.read(text) for text in part.texts]
    said = np.stack([mean if found is None else found for found, _ in read])
    r = metrics.pearson(part.hard.astype(np.float64), said)
    return {
        **{f"pearson_{name}": float(value) for name, value in zip(DIMENSIONS, r, strict=True)},
        "mean_pearson": float(r.mean()),
        "covered": sum(count >= 2 for _, count in read) / max(1, len(read)),
    }
