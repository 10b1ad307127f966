"""Appraisal guidance: a light classifier of four appraisals, which a language model is held to while it learns (METHODS 5.2;
ours, inspired by EmoLoom-2B).

It reads frozen embeddings, so it trains in seconds and its folder holds no more than a matrix. What it learns from are the
appraisals of a run, or ISEAR's questionnaire, in which the writers of the reports rated the situations themselves:

    goal_attainment   PLAN     1 it helped my plans -> 1, 2 it did not matter -> 0.5, 3 it hindered them -> 0
    controllability   COPING   5 I could influence the event -> 1, 1 I was powerless -> 0; 2 to 4 (I looked away, I could
                               escape, nothing had to be done) say nothing of control
    certainty         EXPC     1 not expected at all -> 0, 2 a little -> 0.5, 3 very much -> 1; expecting an event is a
                               part of being certain of it, and no more
    fairness          FAIR     1 not unfair at all -> 1, 2 a little -> 0.5, 3 very much -> 0

0 is no answer. The codebook was not at hand: what the ends of COPING mean was told by the emotions (sadness is 1 in half of its
reports, anger most often 5, joy 4), and the other directions agree with them (joy helps plans and is fair, anger is unfair).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from factory import __version__, files
from factory.benchmarks import Row, folds, isear, tables
from factory.errors import WrongRequest
from factory.files import write_atomic
from factory.train import data, keep, model
from factory.train.batches import passes
from factory.train.model_card import warned

Floats = NDArray[np.floating[Any]]
ATOMS = ("goal_attainment", "controllability", "certainty", "fairness")
NOTE, WEIGHTS = "guide.json", "guide.safetensors"
# Signs that the appraisals of a label have by theory (METHODS 5.2), in the order of ATOMS; 0: either.
SIGNS: Mapping[str, tuple[int, int, int, int]] = {
    label: signs
    for labels, signs in (
        ("joy relief", (1, 0, 1, 0)),
        ("amusement", (1, 0, 0, 0)),
        ("pride", (1, 1, 1, 1)),
        ("gratitude", (1, 0, 1, 1)),
        ("optimism excitement", (1, 0, -1, 0)),
        ("love caring neutral", (0, 0, 0, 0)),
        ("admiration approval", (0, 0, 0, 1)),
        ("sadness", (-1, -1, 0, 0)),
        ("grief embarrassment", (-1, -1, 1, 0)),
        ("disappointment", (-1, 0, 1, 0)),
        ("fear nervousness", (-1, -1, -1, 0)),
        ("anger remorse", (-1, 1, 1, -1)),
        ("annoyance", (-1, 0, 1, -1)),
        ("disgust", (0, 0, 1, -1)),
        ("disapproval", (0, 0, 0, -1)),
        ("desire curiosity surprise", (0, 0, -1, 0)),
        ("confusion", (0, -1, -1, 0)),
        ("realization", (0, 0, 1, 0)),
    )
    for label in labels.split()
}
# Of ISEAR's columns: what an answer says of the appraisal.
ANSWERS: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "goal_attainment": ("PLAN", {"1": 1.0, "2": 0.5, "3": 0.0}),
    "controllability": ("COPING", {"5": 1.0, "1": 0.0}),
    "certainty": ("EXPC", {"1": 0.0, "2": 0.5, "3": 1.0}),
    "fairness": ("FAIR", {"1": 1.0, "2": 0.5, "3": 0.0}),
}
FOLDS = 5
# Inverse of the ridge on unit-length embeddings: the best for all four on the folds of ISEAR, of seven values from 0.1 to 100.
STRENGTH = 0.3
MAX_LENGTH = 128
DRAWS = 300  # of respondents, for an interval
SURE = 0.1  # distance from 0.5 from which a probability guides (METHODS 5.2)
SEED = 0
FEW = 20  # rows on each side without which an appraisal cannot be learnt


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """Texts with their appraisals [rows, 4] from 0 to 1 (NaN: not known), the labels beside them, and who wrote or told them."""

    name: str
    texts: tuple[str, ...]
    targets: Floats
    labels: tuple[tuple[str, ...], ...]
    groups: tuple[str, ...]
    licence: str
    human: bool  # rated by people; else by a model, whose answers the signs are held against
    notes: tuple[str, ...] = ()  # what else is to be known of them, in sentences

    def fingerprint(self) -> str:
        told = sha256("\x1f".join((*self.texts, *self.groups)).encode())
        told.update(self.targets.astype(np.float32).tobytes())
        return told.hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """A finished classifier: `weight` [4, width] and `bias` [4] on the embeddings of a frozen base."""

    weight: Floats
    bias: Floats
    encoder: "Encoder"

    @staticmethod
    def of(folder: Path) -> "Guide":
        """WrongRequest where the folder holds no guide, or one of another base than is there."""
        note, weights = folder / NOTE, folder / WEIGHTS
        if not note.is_file() or not weights.is_file():
            raise WrongRequest(
                f"{folder} holds no appraisal guide (no {NOTE}); give a folder that make train TASK=guide wrote"
            )
        try:
            told = orjson.loads(note.read_bytes())
            tensors = load_file(weights)
            base, made_for, atoms = str(told["base"]), str(told["base_fingerprint"]), tuple(told["atoms"])
            weight, bias = tensors["weight"].double().numpy(), tensors["bias"].double().numpy()
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as err:
            raise WrongRequest(f"{folder} is not as make train TASK=guide writes it ({err}); train it again") from err
        encoder = Encoder.of(base)
        if atoms != ATOMS or encoder.fingerprint != made_for or weight.shape != (len(ATOMS), encoder.width):
            raise WrongRequest(
                f"the guide of {folder} was made for another base than the {base} that is here; train it again"
            )
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise WrongRequest(f"{weights} has numbers that are none; train it again")
        return Guide(weight=weight, bias=bias, encoder=encoder)

    def read(self, texts: Sequence[str]) -> Floats:
        """[texts, 4]: how probable it is that the goal was attained, that the speaker has control, is certain, is treated
        fairly."""
        return self.said(self.encoder.embeddings(texts))

    def said(self, embeddings: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(-(embeddings @ self.weight.T + self.bias))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """A frozen base whose embedding of a text is the mean over its tokens, at unit length."""

    name: str
    fingerprint: str
    width: int
    _model: Any
    _tokenizer: Any

    @staticmethod
    def of(base: str) -> "Encoder":
        """WrongRequest where the base is none."""
        source = model.base_folder(base)
        try:
            with model.quiet():
                tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
                net = AutoModel.from_pretrained(
                    source, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
                )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as err:
            raise WrongRequest(
                f"BASE={base} cannot be loaded ({model.first_line(err)}); give minilm, or a folder with an encoder"
            ) from err
        net = net.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        weights = Path(source) / "model.safetensors"
        known = files.sha256(weights)[:16] if weights.is_file() else source
        return Encoder(name=base, fingerprint=known, width=net.config.hidden_size, _model=net, _tokenizer=tokenizer)

    def embeddings(self, texts: Sequence[str], token_budget: int = 16384) -> Floats:
        """[texts, width]."""
        shown = model.Shown(tokenizer=self._tokenizer, max_length=MAX_LENGTH, token_types=False)
        rows = shown.tokens(texts, [""] * len(texts))
        found = np.zeros((len(texts), self.width))
        device = next(self._model.parameters()).device
        for some in passes(range(len(rows)), [len(row["input_ids"]) for row in rows], token_budget):
            batch = {k: v.to(device) for k, v in model.padded([rows[n] for n in some], self._tokenizer).items()}
            with torch.inference_mode():
                each = self._model(**batch).last_hidden_state.float()
            mask = batch["attention_mask"][..., None].float()
            mean = (each * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
            found[list(some)] = torch.nn.functional.normalize(mean, dim=1).cpu().numpy()
        return found


# What is learnt from ------------------------------------------------------------------------------------------------------


def load(spec: str) -> Rated:
    """What "isear:path" names, or a run or dataset folder whose contextless view has appraisals (its test part is not read).

    WrongRequest where there are no appraisals, or too few to learn one from.
    """
    rated = (
        _isear(Path(spec.partition(":")[2]).expanduser())
        if spec.startswith("isear:")
        else _run(Path(spec).expanduser())
    )
    for place, atom in enumerate(ATOMS):
        known = rated.targets[:, place]
        if min((known > 0.5).sum(), (known < 0.5).sum()) < FEW:
            raise WrongRequest(
                f"{rated.name} has fewer than {FEW} rows with, or without, {atom.replace('_', ' ')}, and it cannot be learnt; "
                "give more rows"
            )
    if len(set(rated.groups)) < FOLDS:
        raise WrongRequest(
            f"{rated.name} has fewer than {FOLDS} sources, too few to be tested on others; give more rows"
        )
    return rated


def _isear(path: Path) -> Rated:
    (file,) = tables.files(path, isear.NAMES).values()
    ratings = _questionnaire(file)
    rows = [row for row in isear.read(path).train if row.text]
    return Rated(
        name="isear",
        texts=tuple(row.text for row in rows),
        targets=np.array([ratings[row.id] for row in rows]).reshape(len(rows), len(ATOMS)),
        labels=tuple(tuple(one for name in row.labels for one in isear.BENCHMARK.to28[name]) for row in rows),
        groups=tuple(row.group for row in rows),
        licence=isear.BENCHMARK.licence,
        human=True,
    )


def _questionnaire(file: Path) -> dict[str, list[float]]:
    """Key of a report -> its appraisals; they stand before the text, so a stray | in that does not move them."""
    (_, head), *rest = tables.lines(file)
    header = head.split("|")
    wanted = [column for column, _ in ANSWERS.values()]
    if absent := [name for name in (*wanted, "MYKEY") if name not in header]:
        raise WrongRequest(
            f"{file} has no column {', '.join(absent)}, in which the writers rated their situations; give isear.csv as published"
        )
    at = [header.index(name) for name in wanted]
    key = header.index("MYKEY")
    found = {}
    for line, said in rest:
        cells = said.split("|")
        if len(cells) < len(header):
            raise tables.wrong(file, line, f"{len(cells)} fields where {len(header)} should be")
        answers = [cells[place].strip() for place in at]
        if wrong := [answer for answer in answers if answer not in ("", *"012345")]:
            raise tables.wrong(file, line, f"{wrong[0][:40]!r} is no answer of the questionnaire")
        found[cells[key].strip()] = [
            means.get(answer, np.nan) for answer, (_, means) in zip(answers, ANSWERS.values(), strict=True)
        ]
    return found


def _run(path: Path) -> Rated:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = (path / "dataset" if (path / "dataset").is_dir() else path) / "contextless"
    found = sorted(one for part in ("train", "validation") for one in folder.glob(f"{part}-*.parquet"))
    if not found:
        raise WrongRequest(f"{path} holds no contextless view; give isear:path, or a run that is finished")
    columns = ["utterance", "source_id", "labels", *ATOMS]
    try:
        table = pa.concat_tables([pq.read_table(one, columns=columns) for one in found])
    except (OSError, ValueError, KeyError, pa.ArrowException) as err:
        raise WrongRequest(
            f"{found[0]} cannot be read as a view of a run ({str(err).splitlines()[0]}); build the dataset anew"
        ) from err
    values = np.array([[np.nan if one is None else one for one in table[atom].to_pylist()] for atom in ATOMS], float).T
    known = np.flatnonzero(~np.isnan(values).all(axis=1))
    if not len(known):
        raise WrongRequest(f"{path} has no appraisals; make it with STAGES=appraisal, or give isear:path")
    if not ((values[known] >= 0) & (values[known] <= 1) | np.isnan(values[known])).all():
        raise WrongRequest(f"{path} has appraisals that are not from 0 to 1; build the dataset anew")
    texts, groups, labels = (table[name].to_pylist() for name in ("utterance", "source_id", "labels"))
    return Rated(
        name=path.resolve().name,
        texts=tuple(texts[n] for n in known),
        targets=values[known],
        labels=tuple(tuple(labels[n] or ()) for n in known),
        groups=tuple(groups[n] for n in known),
        licence="that of the corpus and of the generator",
        human=False,
        notes=data.rehearsed(folder.parent, [folder.name], path.resolve().name),
    )


def against(targets: Floats, labels: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
    """[rows, 4]: whether a rating lies on the other side of 0.5 than all signs that the labels of its row have for it."""
    signs = np.zeros(targets.shape)
    for row, several in enumerate(labels):
        known = np.array([SIGNS.get(label, (0, 0, 0, 0)) for label in several] or [(0, 0, 0, 0)])
        signs[row] = np.sign(known.sum(axis=0)) * (abs(known.sum(axis=0)) == abs(known).sum(axis=0))
    return np.asarray(np.nan_to_num(targets - 0.5) * signs < 0)


# Learning -----------------------------------------------------------------------------------------------------------------


def fit(embeddings: Floats, targets: Floats, encoder: Encoder) -> Guide:
    """Logistic regression for each appraisal on the rows that have it; a rating of 0.7 is 0.7 of a yes and 0.3 of a no."""
    from sklearn.linear_model import LogisticRegression

    weight, bias = np.zeros((len(ATOMS), embeddings.shape[1])), np.zeros(len(ATOMS))
    for place in range(len(ATOMS)):
        some = np.flatnonzero(~np.isnan(targets[:, place]))
        share = targets[some, place]
        twice = np.concatenate([embeddings[some], embeddings[some]])
        yes = np.repeat([1, 0], len(some))
        heavy = np.concatenate([share, 1 - share])
        known = heavy > 0
        learnt = LogisticRegression(C=STRENGTH, max_iter=1000).fit(twice[known], yes[known], sample_weight=heavy[known])
        weight[place], bias[place] = learnt.coef_[0], learnt.intercept_[0]
    return Guide(weight=weight, bias=bias, encoder=encoder)


def held_out(rated: Rated, embeddings: Floats, targets: Floats, encoder: Encoder) -> Floats:
    """[rows, 4]: what a guide says of each row that has seen nothing of its source; `targets` are what it learns from."""
    rows = [
        Row(str(n), text, (), group=group)
        for n, (text, group) in enumerate(zip(rated.texts, rated.groups, strict=True))
    ]
    said = np.zeros(targets.shape)
    for train_part, test_part in folds(rows, FOLDS, SEED):
        learnt, held = ([int(row.id) for row in part] for part in (train_part, test_part))
        said[held] = fit(embeddings[learnt], targets[learnt], encoder).said(embeddings[held])
    return said


def measured(rated: Rated, said: Floats) -> dict[str, dict[str, Any]]:
    """For each appraisal: AUC of ratings over 0.5 against those under it, with a 95% interval over draws of the sources; how
    many rows; the share that would guide, the share of these that is right, and what always giving the more frequent answer
    has on the same."""
    from sklearn.metrics import roc_auc_score

    _, source = np.unique(rated.groups, return_inverse=True)
    draw = np.random.default_rng(SEED)
    weights = [
        np.bincount(draw.integers(0, source.max() + 1, source.max() + 1), minlength=source.max() + 1)
        for _ in range(DRAWS)
    ]
    found = {}
    for place, atom in enumerate(ATOMS):
        some = np.flatnonzero(~np.isnan(rated.targets[:, place]) & (rated.targets[:, place] != 0.5))
        truth, mine = rated.targets[some, place] > 0.5, said[some, place]
        each = [
            roc_auc_score(truth, mine, sample_weight=weight[source[some]].astype(float))
            for weight in weights
            if 0 < (truth * weight[source[some]]).sum() < weight[source[some]].sum()
        ]
        low, high = np.percentile(each, [2.5, 97.5]) if each else (0.0, 1.0)
        guides = abs(mine - 0.5) > SURE
        held = truth[guides]
        found[atom] = {
            "auc": {"value": float(roc_auc_score(truth, mine)), "low": float(low), "high": float(high)},
            "rows": len(some),
            "yes": float(truth.mean()),
            "guides": float(guides.mean()),
            "right": float(((mine[guides] > 0.5) == held).mean()) if guides.any() else 0.0,
            "constant": float(max(held.mean(), 1 - held.mean())) if guides.any() else 0.0,
        }
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A finished guide: its folder, and what was measured."""

    folder: Path
    record: Mapping[str, Any]

    @property
    def says(self) -> str:
        """The result in a sentence."""
        each = ", ".join(f"{atom} {one['auc']['value']:.3f}" for atom, one in self.record["results"].items())
        return f"{self.folder}: AUC on sources that it had not seen: {each}; chance has 0.5"


def train(
    spec: str,
    out: Path,
    base: str = "minilm",
    signs: bool | None = None,
    says: Callable[[str], None] = lambda line: None,
    *,
    fresh: bool = False,
) -> Trained:
    """Writes a guide into OUT. `signs`: ratings that theory says cannot be are not learnt from (they are still tested on);
    left out, so for the ratings of a model and not for those of people.

    Raises WrongRequest before anything is written where the data or the base cannot be.
    """
    keep.refuse_other(out)
    keep.refuse_loss(out, {"BASE": base})
    rated = load(spec)
    held_to = not rated.human if signs is None else signs
    plan = {
        "task": "guide",
        "recipe": {"base": base, "signs": held_to},
        "data": spec,
        "fingerprint": rated.fingerprint(),
    }
    if not fresh:
        keep.refuse_mixed(out, several=False)
        keep.refuse_another(out, plan, {})
        if (out / keep.DONE).exists():
            return Trained(folder=out, record=keep.record(out / keep.DONE))
    encoder = Encoder.of(base)
    with keep.alone_in(out):
        if fresh:
            keep.throw_away(out)
        work = keep.begin(out, plan, encoder.fingerprint)
        says(
            f"{rated.name}: {len(rated.texts):,} texts of {len(set(rated.groups)):,} sources; reading them with {base}"
        )
        odd = against(rated.targets, rated.labels)
        used = np.where(odd & held_to, np.nan, rated.targets)
        embeddings = encoder.embeddings(rated.texts)
        says(f"learning on {FOLDS} folds by source, to be tested on the fold left out, and then on all texts")
        results = measured(rated, held_out(rated, embeddings, used, encoder))
        guide = fit(embeddings, used, encoder)
        record = plan | {
            "factory": __version__,
            "base": base,
            "base_fingerprint": encoder.fingerprint,
            "atoms": list(ATOMS),
            "rows": len(rated.texts),
            "sources": len(set(rated.groups)),
            "against_signs": dict(
                zip(ATOMS, (odd.sum(axis=0) / (~np.isnan(rated.targets)).sum(axis=0)).tolist(), strict=True)
            ),
            "signs": held_to,
            "strength": STRENGTH,
            "licence": rated.licence,
            "notes": rated.notes,
            "results": results,
        }
        _write(work / "guide", out, guide, record)
    return Trained(folder=out, record=record)


def _write(apart: Path, out: Path, guide: Guide, record: Mapping[str, Any]) -> None:
    with files.writing(apart):
        apart.mkdir(parents=True, exist_ok=True)
        tensors = {"weight": torch.as_tensor(guide.weight), "bias": torch.as_tensor(guide.bias)}
        save_file({name: one.float().contiguous() for name, one in tensors.items()}, apart / WEIGHTS)
    told = {name: record[name] for name in ("factory", "base", "base_fingerprint", "atoms", "licence", "results")}
    write_atomic(apart / NOTE, orjson.dumps(told, option=orjson.OPT_INDENT_2))
    write_atomic(apart / "README.md", card(record).encode())
    keep.put(apart, out, record)


def card(record: Mapping[str, Any]) -> str:
    """The README.md of a guide, written from its own record."""
    held = "were not learnt from" if record["signs"] else "were learnt from like all others"
    chosen = "folds of ISEAR, others than these"
    if record["data"].startswith("isear:"):
        chosen = "very folds of ISEAR whose AUCs stand here, so these flatter slightly"
    lines = [
        "# Appraisal guide",
        "",
        *warned(record["notes"]),
        f"Four appraisals of a text as probabilities, by logistic regression on frozen embeddings of {record['base']}. "
        f"Trained by emotion-factory {record['factory']} on `{record['data']}` (fingerprint `{record['fingerprint']}`): "
        f"{record['rows']:,} texts of {record['sources']:,} sources. "
        f"Ours, inspired by EmoLoom-2B: a guide for training, not a measure of people.",
        "",
        f"{FOLDS} folds by source; each row was read by a guide that had seen nothing of its source. AUC of ratings over 0.5 "
        "against those under it (chance and any constant: 0.5), 95% over draws of the sources.",
        "",
        "| appraisal | AUC | 95% | rows | yes | guides | of these right | a constant | against theory |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {atom} | {one['auc']['value']:.3f} | {one['auc']['low']:.3f} to {one['auc']['high']:.3f} | {one['rows']:,} | "
            f"{one['yes']:.0%} | {one['guides']:.0%} | {one['right']:.0%} | {one['constant']:.0%} | "
            f"{record['against_signs'][atom]:.0%} |"
            for atom, one in record["results"].items()
        ),
        "",
        f"A row guides where its probability is more than {SURE} from 0.5. A constant is what always giving the more frequent "
        "answer has right of the rows that guide. The last column is the share of the ratings that lie "
        "on the other side of 0.5 than theory has it for the labels of their row; they "
        f"{held}.",
        "",
        f"The strength of the regularisation (C = {record['strength']}) was chosen from seven values on the {chosen}.",
        "",
        f"Licence of the data: {record['licence']}.",
        "",
    ]
    return "\n".join(lines)
