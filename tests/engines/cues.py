"""How far somebody comes who never reads the scene: options told apart by what can be seen of them alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory.engines.rehearsal.grounds import content
from factory.text import words


@dataclass(frozen=True, slots=True)
class Question:
    """Options as they are shown, and which is right; those of one `group` are never learnt from and asked about at once."""

    options: tuple[str, ...]
    right: int
    group: str


def _features(options: Sequence[str]) -> np.ndarray:
    """One row of numbers for each option: length, form, and what it shares with the others."""
    sizes = np.array([len(text) for text in options], float)
    held = [content(text) for text in options]
    every = [set(words(text)) for text in options]
    rows = []
    for place, text in enumerate(options):
        others = [*range(place), *range(place + 1, len(options))]
        rest = frozenset[str]().union(*(held[one] for one in others))
        rows.append(
            [
                (sizes[place] - sizes.mean()) / (sizes.std() + 1e-9),
                sizes[place] == sizes.max(),
                sizes[place] == sizes.min(),
                (sizes > sizes[place]).sum() / len(options),
                " & " in text,
                sum(bool(every[place] & every[one]) for one in others) / len(others),
                len(held[place] & rest) / max(1, len(held[place])),
                text.count(","),
                text.count(" and "),
                words(text)[0] in ("he", "she"),
                sum(word in ("no", "not", "nobody", "nothing", "never") for word in words(text)),
            ]
        )
    return np.array(rows, float)


def singles(questions: Sequence[Question]) -> np.ndarray:
    """How often each number alone is right for whoever takes the option with the most of it, or with the least."""
    won = []
    for one in questions:
        values = _features(one.options)
        for sign in (1, -1):
            best = np.isclose(sign * values, (sign * values).max(axis=0))
            won.append(best[one.right] / best.sum(axis=0))
    return np.array(won).reshape(len(questions), 2, -1).mean(axis=0)


def learnt(questions: Sequence[Question], folds: int = 4) -> float:
    """Share of right answers of a logistic regression over these numbers, on questions that it was not shown."""
    groups = {group: place % folds for place, group in enumerate(dict.fromkeys(one.group for one in questions))}
    values = np.array([_features(one.options) for one in questions])
    values = (values - values.mean((0, 1))) / (values.std((0, 1)) + 1e-9)
    right, fold = np.array([one.right for one in questions]), np.array([groups[one.group] for one in questions])
    won = 0
    for number in range(folds):
        weights = _fitted(values[fold != number], right[fold != number])
        won += int(((values[fold == number] @ weights).argmax(1) == right[fold == number]).sum())
    return won / len(questions)


def _fitted(values: np.ndarray, right: np.ndarray, steps: int = 300, shrink: float = 0.02) -> np.ndarray:
    """Weights of the softmax over a question's options, by gradient descent."""
    weights = np.zeros(values.shape[2])
    target = np.eye(values.shape[1])[right]
    for _ in range(steps):
        scores = values @ weights
        chances = np.exp(scores - scores.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        gradient = np.einsum("qo,qof->f", chances - target, values) / len(values)
        weights -= 0.5 * (gradient + shrink * weights)
    return weights
