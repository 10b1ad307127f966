"""Facts about a model on benchmarks: what is scored and how, what is said of it, and what is left alone."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factory import benchmarks
from factory.benchmarks import report
from factory.benchmarks.results import Result
from factory.errors import WrongRequest
from factory.evaluate import evaluate, fingerprint
from factory.lexicon import NAMES, named
from factory.seen import seen_by
from factory.taxonomy import EKMAN, LABELS
from factory.train import data as train_data
from factory.train.thresholds import Thresholds

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "../shared/data"
DOCUMENT = (ROOT / "docs/EVALUATION.md").read_text("utf-8")
Says = Callable[[str, str], Mapping[str, float]]  # text, context -> label -> probability


@dataclass
class Fake:
    """A classifier that says what it is told to; `shown` are the pairs that it saw."""

    folder: Path
    says: Says
    classes: tuple[str, ...] = LABELS
    context: bool = False
    use: str = "half"
    limits: Mapping[str, float] = field(default_factory=dict)
    shown: list[tuple[str, str]] = field(default_factory=list)

    @property
    def thresholds(self) -> Thresholds:
        per_class = tuple(self.limits.get(name, 0.5) for name in self.classes)
        return Thresholds(classes=self.classes, per_class=per_class, use=self.use, tuned_on="tales validation")

    def probabilities(self, texts: Sequence[str], contexts: Sequence[str] = ()) -> Any:
        self.shown += zip(texts, contexts, strict=True)
        rows = [self.says(text, told) for text, told in zip(texts, contexts, strict=True)]
        return np.array([[row.get(name, 0.01) for name in self.classes] for row in rows])


def _first_word(text: str, context: str) -> dict[str, float]:
    """A text that begins with a label is of that label."""
    return {text.split()[0].strip(".").lower(): 0.9}


@pytest.fixture
def fake(tmp_path: Path) -> Callable[..., Fake]:
    def make(says: Says = _first_word, **more: Any) -> Fake:
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        return Fake(folder=folder, says=says, **more)

    return make


@pytest.fixture
def scored(tmp_path: Path) -> Callable[..., dict[str, Result]]:
    """Evaluates into tmp_path/out and reads the results back, by benchmark and table."""

    def run(model: Fake | Path, asked: str = "all", data: Path | None = None) -> dict[str, Result]:
        evaluate(model, asked, data or tmp_path / "data", tmp_path / "out", lambda line: None)
        made = report.of_json((tmp_path / "out/results.json").read_bytes())
        return {f"{one.benchmark} {one.table}".strip(): one for one in made.results}

    return run


def _goemotions(folder: Path, **parts: Sequence[tuple[str, str]]) -> Path:
    """Writes <part>.tsv of (text, labels with commas)."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in parts.items():
        lines = [
            f"{text}\t{','.join(str(LABELS.index(label)) for label in labels.split(','))}\t{part}{n}\n"
            for n, (text, labels) in enumerate(rows)
        ]
        (folder / f"{part}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def _isear(folder: Path, rows: Sequence[tuple[str, str]]) -> Path:
    """Writes isear.csv; each row is of a respondent of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{n}|30|{emotion}|{1000 + n}1|{text}|1|\n" for n, (emotion, text) in enumerate(rows)]
    (folder / "isear.csv").write_text("ID|AGE|Field1|MYKEY|SIT|STATE|\n" + "".join(lines), encoding="utf-8")
    return folder


def _dailydialog(folder: Path, **parts: Sequence[Sequence[tuple[str, int]]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for part, dialogues in parts.items():
        texts = ["".join(f"{text} __eou__ " for text, _ in turns).rstrip() for turns in dialogues]
        ids = [" ".join(str(number) for _, number in turns) for turns in dialogues]
        (folder / f"dialogues_{part}.txt").write_text("\n".join(texts) + "\n")
        (folder / f"dialogues_emotion_{part}.txt").write_text("\n".join(ids) + "\n")
    return folder


def _emocontext(folder: Path, rows: Sequence[tuple[str, str, str, str]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["id\tturn1\tturn2\tturn3\tlabel", *("\t".join((str(n), *row)) for n, row in enumerate(rows))]
    (folder / "test.txt").write_text("\n".join(lines) + "\n")
    return folder


TEST = (("Joy and love", "joy,love"), ("Anger again", "annoyance"), ("Sadness came", "sadness"), ("Neutral", "neutral"))

# What is scored -------------------------------------------------------------------------------------------------------


def test_goemotions_gives_three_tables_of_one_run(
    tmp_path: Path, fake: Callable[..., Fake], scored: Callable[..., dict[str, Result]]
) -> None:
    """28 classes: joy, sadness and neutral are right of six that occur; Ekman's anger and positive are right as groups."""
    _goemotions(tmp_path / "data/goemotions", test=TEST)
    model = fake()
    found = scored(model)
    assert {name: one.value for name, one in found.items()} == pytest.approx(
        {"goemotions 28": 3 / 28, "goemotions ekman": 4 / 7, "goemotions sentiment": 3 / 4}
    )
    assert len(model.shown) == len(TEST)


def test_a_group_is_chosen_where_one_of_its_labels_passes_its_own_threshold(
    tmp_path: Path, fake: Callable[..., Fake], scored: Callable[..., dict[str, Result]]
) -> None:
    """Anger at .4 stays below .5; annoyance at .2 passes its .1: the row is of the group, by the model's own thresholds."""
    _goemotions(tmp_path / "data/goemotions", test=[("Oh", "anger")])
    told = {"anger": 0.4, "annoyance": 0.2}
    strict = scored(fake(lambda text, context: told))
    loose = scored(fake(lambda text, context: told, use="per_class", limits={"annoyance": 0.1}))
    assert strict["goemotions ekman"].value == 0
    assert loose["goemotions ekman"].value == pytest.approx(1 / 7)
    assert loose["goemotions 28"].value == 0
    assert any("a threshold for each class, tuned on tales validation" in note for note in loose["goemotions 28"].notes)


def test_a_model_of_the_groups_fills_their_table_alone(
    tmp_path: Path, fake: Callable[..., Fake], scored: Callable[..., dict[str, Result]]
) -> None:
    """Seven classes in an order of their own are Ekman's table without any map, and no other."""
    _goemotions(tmp_path / "data/goemotions", test=[("Joy", "love"), ("Surprise", "curiosity"), ("Fear", "joy")])
    found = scored(fake(classes=tuple(sorted(EKMAN))))
    assert list(found) == ["goemotions ekman"]
    assert [one.label for one in found["goemotions ekman"].per_class] == list(EKMAN)
    assert found["goemotions ekman"].value == pytest.approx((2 / 3 + 1) / 7)
    assert not any("label map" in note for note in found["goemotions ekman"].notes)


def test_dailydialog_leaves_no_emotion_out_and_is_scored_again_without_repeats(
    tmp_path: Path, fake: Callable[..., Fake], scored: Callable[..., dict[str, Result]]
) -> None:
    """Two of three emotions right of three choices; one of two without the dialogue that stands in train. A turn whose words
    stand there after other turns is no repeat."""
    train = [[("Neutral", 0), ("Joy", 4)]]
    test = [*train, [("Neutral now", 0), ("Joy", 4), ("Sadness, no", 1)]]
    _dailydialog(tmp_path / "data/dailydialog", train=train, test=test)
    found = scored(fake(lambda text, context: {text.split()[0].strip(",").lower(): 0.9}))
    whole, distinct = found["dailydialog"], found["dailydialog not in train"]
    assert (whole.rows, distinct.rows) == (5, 3)
    assert (whole.value, distinct.value) == pytest.approx((2 / 3, 1 / 2))
    assert any("2 test rows that stand in train" in note for note in distinct.notes)
    assert any("3 of the 5 test texts stand in the training part" in note for note in whole.notes)


def test_the_turns_before_are_shown_to_a_model_that_takes_them(
    tmp_path: Path, fake: Callable[..., Fake], scored: Callable[..., dict[str, Result]]
) -> None:
    """The official test of EmoContext is test.txt, its metric leaves `others` out, and both turns before come along."""
    rows = [("Hi", "Yes?", "You never call", "angry"), ("So", "Well", "ok", "others"), ("So", "Hm", "ok", "sad")]
    _emocontext(tmp_path / "data/emocontext", rows)
    model = fake(lambda text, context: {"anger": 0.9} if "Hi" in context else {"neutral": 0.9}, context=True)
    found = scored(model, "emocontext")["emocontext"]
    assert model.shown[0] == ("You never call", "Hi\nYes?")
    assert found.value == pytest.approx(2 / 3)
    assert "the turns before were shown to the model" in found.notes
    other = scored(fake(), "emocontext")["emocontext"]
    assert "the model takes no context: the turns before were not shown" in other.notes


def test_classes_that_the_28_do_not_have_are_said(
    tmp_path: Path, fake: Callable[..., Fake], scored: Callable[..., dict[str, Result]]
) -> None:
    """A jealous row cannot be right, a terrified one is called afraid: both are told, with the share of rows left."""
    folder = tmp_path / "data/empatheticdialogues"
    folder.mkdir(parents=True)
    head = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags\n"
    rows = [
        f"c{n},1,{label},A story,1,Hm,5|5|5,\n" for n, label in enumerate(("afraid", "terrified", "jealous", "sad"))
    ]
    (folder / "test.csv").write_text(head + "".join(rows))
    found = scored(fake(lambda text, context: {"fear": 0.9}))["empathetic"]
    assert found.value == 0.25
    assert found.extra["predictable_rows"] == 0.5
    assert any("jealous" in note and "never chosen" in note for note in found.notes)
    assert any("terrified (as afraid)" in note for note in found.notes)


def test_isear_is_scored_whole_by_a_model_that_never_saw_it(
    tmp_path: Path, fake: Callable[..., Fake], scored: Callable[..., dict[str, Result]]
) -> None:
    """No official split: all rows, with floors from grouped folds, and a note that says so."""
    emotions = ("joy", "fear", "anger", "sadness", "disgust")
    _isear(tmp_path / "data/isear", [(e, f"{e} number {n}") for n in range(6) for e in emotions])
    found = scored(fake())["isear"]
    assert found.rows == 30
    assert found.value == pytest.approx(5 / 7)
    assert set(found.baselines) == {"keyword", "majority", "constant", "prior"}
    assert found.baselines["keyword"] == pytest.approx(5 / 7)
    assert any("no official split: all 30 rows are scored" in note for note in found.notes)


def test_a_calibration_error_is_that_of_the_classes(
    tmp_path: Path, fake: Callable[..., Fake], scored: Callable[..., dict[str, Result]]
) -> None:
    """Sure of one right class of 28 and sure of the absence of all others: no error; half sure of all: half but one in 28."""
    _goemotions(tmp_path / "data/goemotions", test=[("Joy", "joy")])
    sure = scored(fake(lambda text, context: {label: float(label == "joy") for label in LABELS}))
    half = scored(fake(lambda text, context: dict.fromkeys(LABELS, 0.5)))
    assert sure["goemotions 28"].extra["calibration_error"] == 0
    assert half["goemotions 28"].extra["calibration_error"] == pytest.approx(0.5 - 1 / 28)


# What is not ----------------------------------------------------------------------------------------------------------


def test_what_is_absent_is_said_and_the_rest_is_scored(tmp_path: Path, fake: Callable[..., Fake]) -> None:
    """All: a line for each benchmark that is not there, one on EmoBank, which has no classes, and the table of the others."""
    _goemotions(tmp_path / "data/goemotions", test=TEST)
    (tmp_path / "data/emobank").mkdir()
    said: list[str] = []
    shown = evaluate(fake(), "all", tmp_path / "data", tmp_path / "out", said.append)
    absent = [line.partition(":")[0] for line in said if "there is no folder" in line]
    assert absent == [name for name in benchmarks.ALL if name not in ("goemotions", "emobank")]
    assert any(line.startswith("emobank: it has values") for line in said)
    assert "| goemotions (28) |" in shown and str(tmp_path / "out/results.md") in shown
    assert "- isear: there is no folder" in (tmp_path / "out/results.md").read_text()


def _refused(model: Any, asked: str, data: Path, out: Path) -> str:
    """The one sentence; nothing was written."""
    with pytest.raises(WrongRequest) as caught:
        evaluate(model, asked, data, out, lambda line: None)
    assert not out.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nothing_to_score_is_one_sentence(tmp_path: Path, fake: Callable[..., Fake]) -> None:
    """An empty folder, a benchmark without its test part, of values, of an unknown name, and a place that is not there."""
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    _goemotions(tmp_path / "only", train=TEST)
    (tmp_path / "values").mkdir()
    assert "has no folder goemotions, isear, " in _refused(fake(), "all", data, out)
    assert "there is no folder" in _refused(tmp_path / "no model", "all", tmp_path / "nowhere", out)
    assert "holds no test part" in _refused(fake(), "goemotions", tmp_path / "only", out)
    assert "emobank: it has values" in _refused(fake(), "emobank", tmp_path / "values", out)
    assert "no benchmark 'isaer'; choose one of goemotions, isear" in _refused(fake(), "isaer", data, out)
    assert "does not exist" in _refused(fake(), "meld", tmp_path / "nowhere", out)
    assert "isear was asked for" in _refused(fake(), "isear", Path("goemotions:x"), out)


def test_a_model_of_other_classes_is_one_sentence(tmp_path: Path, fake: Callable[..., Fake]) -> None:
    """Two sentiments are neither the 28 nor ISEAR's seven."""
    _isear(tmp_path / "data/isear", [("joy", "Joy")])
    said = _refused(fake(classes=("good", "bad")), "isear", tmp_path / "data", tmp_path / "out")
    assert "the model's 2 classes (good, bad ...) are neither the 28 labels nor the benchmark's own" in said


def test_a_broken_file_ends_it_before_anything_is_written(tmp_path: Path, fake: Callable[..., Fake]) -> None:
    """A cut line in one benchmark is a sentence with its place, though another one is whole."""
    _goemotions(tmp_path / "data/goemotions", test=TEST)
    _isear(tmp_path / "data/isear", [("joy", "Joy")])
    with (tmp_path / "data/goemotions/test.tsv").open("a") as file:
        file.write("cut here")
    assert "test.tsv line 5" in _refused(fake(), "all", tmp_path / "data", tmp_path / "out")


def test_values_that_are_no_numbers_are_refused(tmp_path: Path, fake: Callable[..., Fake]) -> None:
    """A model with broken weights has no score, not a score of 0."""
    _goemotions(tmp_path / "data/goemotions", test=TEST)
    model = fake(lambda text, context: {"joy": float("nan")})
    assert "no probabilities" in _refused(model, "all", tmp_path / "data", tmp_path / "out")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    """What predict refuses, evaluate refuses with the same sentence."""
    _goemotions(tmp_path / "data/goemotions", test=TEST)
    assert "holds no model" in _refused(tmp_path / "none", "all", tmp_path / "data", tmp_path / "out")


@pytest.mark.parametrize("asked", ["place", "data", "single", "file"])
def test_the_one_benchmark_may_be_named_in_every_way(
    asked: str, tmp_path: Path, fake: Callable[..., Fake], scored: Callable[..., dict[str, Result]]
) -> None:
    """goemotions:path in BENCHMARK or in DATA; its name with its folder, or with one of its files."""
    place = _goemotions(tmp_path / "somewhere", test=TEST)
    ways = {
        "place": (f"goemotions:{place}", tmp_path / "none"),
        "data": ("all", Path(f"goemotions:{place}")),
        "single": ("goemotions", place),
        "file": ("goemotions", place / "test.tsv"),
    }
    assert scored(fake(), *ways[asked])["goemotions 28"].rows == len(TEST)


# What the model has seen ----------------------------------------------------------------------------------------------


def _trained(folder: Path, spec: str, *, fold: int = 0, fingerprint: str = "", init: str = "") -> None:
    """The record of a training on `spec`, as far as it is read."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {"view": "contextless", "context": True, "fold": fold, "init": init, "base": "minilm"}
    marked = fingerprint or train_data.load(spec, fold=fold).fingerprint()
    record = {"data": spec, "fingerprint": marked, "recipe": recipe}
    (folder / "training.json").write_text(json.dumps(record))


def _notes(found: dict[str, Result]) -> str:
    return " / ".join(next(iter(found.values())).notes)


OTHERS = tuple((f"{label} of row {n}", label) for n, label in enumerate((*LABELS, *LABELS)))


def test_texts_that_the_model_was_trained_on_are_counted_and_scored_apart(
    tmp_path: Path, fake: Callable[..., Fake], scored: Callable[..., dict[str, Result]]
) -> None:
    """A copy of a test text in the training data, in another case, is found; the rest has a figure of its own."""
    spec = f"goemotions:{_goemotions(tmp_path / 'other', train=[*OTHERS, ('JOY and  love!', 'joy')], dev=[('Hm', 'fear')])}"
    _goemotions(tmp_path / "data/goemotions", test=TEST)
    _trained(tmp_path / "model", spec)
    found = scored(fake())
    assert "1 of the 4 texts stand in what the model was trained or tuned on" in _notes(found)
    assert found["goemotions 28"].extra["value_on_unseen_rows"] == pytest.approx(2 / 28)


def test_a_validation_text_has_been_seen_too(
    tmp_path: Path, fake: Callable[..., Fake], scored: Callable[..., dict[str, Result]]
) -> None:
    """Thresholds are tuned on it."""
    spec = f"goemotions:{_goemotions(tmp_path / 'other', train=OTHERS, dev=[TEST[2]])}"
    _goemotions(tmp_path / "data/goemotions", test=TEST)
    _trained(tmp_path / "model", spec)
    assert "1 of the 4 texts stand in" in _notes(scored(fake()))


def test_a_model_trained_on_the_benchmark_itself_has_seen_none_of_its_test(
    tmp_path: Path, fake: Callable[..., Fake], scored: Callable[..., dict[str, Result]]
) -> None:
    """The trainer takes repeated texts out of the training part, so the official test is clean for it."""
    place = _goemotions(tmp_path / "data/goemotions", train=[*OTHERS, TEST[0]], dev=[("Hm", "fear")], test=TEST)
    _trained(tmp_path / "model", f"goemotions:{place}")
    found = scored(fake())
    assert "none of the texts stands in what the model was trained or tuned on" in _notes(found)
    assert "1 of the 4 test texts stand in the training part of GoEmotions too" in _notes(found)
    assert "value_on_unseen_rows" not in found["goemotions 28"].extra


def test_the_model_that_another_goes_on_from_counts(tmp_path: Path) -> None:
    """Two stages: what the first has seen, the second has. A ring ends, and is told: one of them was trained anew."""
    spec = f"goemotions:{_goemotions(tmp_path / 'first', train=[*OTHERS, TEST[0]], dev=[('Hm', 'fear')])}"
    _trained(tmp_path / "one", spec, init=str(tmp_path / "two"))
    spec = f"goemotions:{_goemotions(tmp_path / 'second', train=OTHERS, dev=[('Hm', 'fear')])}"
    _trained(tmp_path / "two", spec, init=str(tmp_path / "one"))
    seen = seen_by(tmp_path / "two")
    assert seen.has(benchmarks.Row("x", TEST[0][0], ("joy",)))
    assert f"what {tmp_path / 'two'} was trained on is not known any more" in seen.unknown


def test_a_model_that_went_on_from_what_its_own_folder_held_is_not_called_clean(tmp_path: Path) -> None:
    """INIT and OUT were one folder: the record of the first stage is gone."""
    spec = f"goemotions:{_goemotions(tmp_path / 'first', train=OTHERS, dev=[('Hm', 'fear')])}"
    _trained(tmp_path / "one", spec, init=str(tmp_path / "one"))
    assert "is not known any more" in seen_by(tmp_path / "one").unknown


def test_a_base_that_is_gone_is_not_called_clean(tmp_path: Path) -> None:
    """It may have been a model of ours."""
    spec = f"goemotions:{_goemotions(tmp_path / 'first', train=OTHERS, dev=[('Hm', 'fear')])}"
    _trained(tmp_path / "one", spec)
    record = json.loads((tmp_path / "one" / "training.json").read_text())
    record["recipe"]["base"] = str(tmp_path / "gone")
    (tmp_path / "one" / "training.json").write_text(json.dumps(record))
    assert f"its base {tmp_path / 'gone'} is gone" in seen_by(tmp_path / "one").unknown


def test_rows_beyond_the_limit_were_not_seen(tmp_path: Path) -> None:
    """A model that learnt from ten rows has seen ten, and those it was tuned on."""
    spec = f"goemotions:{_goemotions(tmp_path / 'first', train=OTHERS, dev=[('Hm', 'fear')])}"
    _trained(tmp_path / "one", spec)
    record = json.loads((tmp_path / "one" / "training.json").read_text())
    record["recipe"] |= {"limit": 10, "seed": 3}
    (tmp_path / "one" / "training.json").write_text(json.dumps(record))
    assert len(seen_by(tmp_path / "one").keys) == 11


def test_what_spoils_a_figure_is_said_while_it_is_measured(tmp_path: Path, fake: Callable[..., Fake]) -> None:
    """Not only in the file: whoever reads the screen alone must not be misled."""
    spec = f"goemotions:{_goemotions(tmp_path / 'other', train=[*OTHERS, TEST[0]], dev=[('Hm', 'fear')])}"
    _goemotions(tmp_path / "data/goemotions", test=TEST)
    _trained(tmp_path / "model", spec)
    told: list[str] = []
    evaluate(fake(), "goemotions", tmp_path / "data", tmp_path / "out", told.append)
    assert any("1 of the 4 texts stand in what the model was trained or tuned on" in line for line in told)


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_scored(
    tmp_path: Path, fake: Callable[..., Fake]
) -> None:
    _goemotions(tmp_path / "data/goemotions", test=TEST)
    (tmp_path / "taken").write_text("")
    model = fake()
    with pytest.raises(WrongRequest, match="choose another OUT"):
        evaluate(model, "goemotions", tmp_path / "data", tmp_path / "taken" / "out", lambda line: None)
    assert not model.shown


def test_what_cannot_be_checked_is_said(tmp_path: Path) -> None:
    """No record, a broken one, data that is gone, data that is another."""
    folder = tmp_path / "model"
    spec = f"goemotions:{_goemotions(tmp_path / 'other', train=OTHERS, dev=[('Hm', 'fear')])}"
    assert "has no training.json" in seen_by(folder).unknown
    _trained(folder, spec, fingerprint="another")
    assert "is not what it was" in seen_by(folder).unknown
    _trained(folder, f"goemotions:{tmp_path / 'gone'}", fingerprint="x")
    assert "cannot be read any more" in seen_by(folder).unknown
    _trained(folder, spec, init=str(tmp_path / "first"))
    assert f"{tmp_path / 'first'} has no training.json" in seen_by(folder).unknown
    (folder / "training.json").write_text("{}")
    assert "not as make train writes it" in seen_by(folder).unknown


def test_turns_before_belong_to_what_was_seen() -> None:
    """A model of pairs has not seen the same words after other turns."""
    from factory.seen import Seen

    seen = Seen(frozenset({"hello\x1fwell then"}))
    assert seen.has(benchmarks.Row("1", "Well, then!", (), context="Hello"))
    assert not seen.has(benchmarks.Row("2", "Well, then!", (), context="Bye"))
    assert not seen.has(benchmarks.Row("3", "Well, then!", ()))


def test_a_model_trained_on_isear_is_scored_on_what_it_left_out(
    tmp_path: Path, fake: Callable[..., Fake], scored: Callable[..., dict[str, Result]]
) -> None:
    """Of a benchmark without a split, the fold that was kept for testing, and no row of the others."""
    classes = benchmarks.of("isear").classes
    place = _isear(tmp_path / "data/isear", [(e, f"{e} number {n}") for n in range(20) for e in classes])
    _trained(tmp_path / "model", f"isear:{place}", fold=2)
    kept = train_data.load(f"isear:{place}", fold=2).test
    model = fake(classes=classes)
    found = scored(model)["isear"]
    assert sorted(text for text, _ in model.shown) == sorted(kept.texts)
    assert (found.rows, found.value) == (len(kept), 1)
    assert any(f"only the other {len(kept)} are scored" in note for note in found.notes)


@pytest.mark.parametrize("place", ["adapter", "merged", "moved"])
@pytest.mark.parametrize("benchmark", ["isear", "goemotions"])
def test_a_language_model_that_classifies_has_seen_what_an_encoder_would(
    tmp_path: Path, benchmark: str, place: str
) -> None:
    """By view, context, fold and limit of its recipe; from the folder around a merged model, or from what it took along."""
    if benchmark == "isear":
        files = _isear(
            tmp_path / "isear", [(e, f"{e} number {n}") for n in range(20) for e in ("joy", "fear", "anger")]
        )
    else:
        files = _goemotions(tmp_path / "go", train=OTHERS, dev=[("Hm", "fear")], test=TEST)
    spec, fold = f"{benchmark}:{files}", 2 if benchmark == "isear" else 0
    _trained(tmp_path / "one", spec, fold=fold)
    wanted = seen_by(tmp_path / "one")
    record = json.loads((tmp_path / "one/training.json").read_text())
    record["recipe"] |= {"mode": "classify", "base": "org/base"}
    (tmp_path / "one/training.json").write_text(json.dumps(record))
    (tmp_path / "one/merged").mkdir()
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved/slm.json").write_text(json.dumps({"mode": "classify", "training": record}))
    found = seen_by({"adapter": tmp_path / "one", "merged": tmp_path / "one/merged"}.get(place, tmp_path / "moved"))
    assert found == wanted and wanted.keys and not wanted.unknown
    kept = train_data.load(spec, fold=fold).test
    assert len(kept) > 3 and not any(found.has(benchmarks.Row("x", text, ())) for text in kept.texts)


def test_what_the_base_of_a_language_model_was_trained_on_counts(tmp_path: Path) -> None:
    """A merged model of ours is a base as any other, and has read what it has read."""
    spec = f"goemotions:{_goemotions(tmp_path / 'first', train=[*OTHERS, TEST[0]], dev=[('Hm', 'fear')])}"
    _trained(tmp_path / "one", spec)
    (tmp_path / "one/merged").mkdir()
    spec = f"goemotions:{_goemotions(tmp_path / 'second', train=OTHERS, dev=[('Hm', 'fear')])}"
    for mode in ("generate", "classify"):
        _trained(tmp_path / mode, spec)
        record = json.loads((tmp_path / mode / "training.json").read_text())
        record["recipe"] |= {"mode": mode, "base": str(tmp_path / "one/merged")}
        (tmp_path / mode / "training.json").write_text(json.dumps(record))
        assert seen_by(tmp_path / mode).has(benchmarks.Row("x", TEST[0][0], ("joy",)))


# What is written ------------------------------------------------------------------------------------------------------


def test_results_name_everything_that_decides_them(tmp_path: Path, fake: Callable[..., Fake]) -> None:
    """Model, thresholds, versions and the digest of every file that was there; both forms hold the same table."""
    place = _goemotions(tmp_path / "data/goemotions", test=TEST)
    model = fake(use="global")
    evaluate(model, "all", tmp_path / "data", tmp_path / "new/out", lambda line: None)
    made = report.of_json((tmp_path / "new/out/results.json").read_bytes())
    assert (made.model, made.classes) == (str(model.folder), LABELS)
    assert made.thresholds == "one threshold, 0.5, tuned on tales validation"
    assert {"factory", "python", "numpy"} <= set(made.versions)
    assert made.sources[0].files == {"test.tsv": sha256((place / "test.tsv").read_bytes()).hexdigest()}
    assert (tmp_path / "new/out/results.md").read_text() == report.markdown(made)
    assert sorted(path.name for path in (tmp_path / "new/out").iterdir()) == ["results.json", "results.md"]


def test_the_same_evaluation_gives_the_same_bytes(tmp_path: Path, fake: Callable[..., Fake]) -> None:
    """Intervals and random floors are drawn from fixed seeds."""
    _goemotions(tmp_path / "data/goemotions", train=OTHERS, test=TEST)
    for name in ("one", "two"):
        evaluate(fake(), "all", tmp_path / "data", tmp_path / name, lambda line: None)
    for name in ("results.json", "results.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_fingerprint_is_of_the_model_and_not_of_its_reports(tmp_path: Path) -> None:
    """Another threshold is another model; results, card and record beside it are not."""
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "thresholds.json").write_text("{}")
    first = fingerprint(tmp_path)
    for name in ("results.json", "training.json", "README.md"):
        (tmp_path / name).write_text("anything")
    assert fingerprint(tmp_path) == first
    (tmp_path / "thresholds.json").write_text("[]")
    assert fingerprint(tmp_path) != first


def test_very_many_files_have_one_digest_together(tmp_path: Path) -> None:
    """IEMOCAP's hundreds are told as sha256sum would list them."""
    from factory.benchmarks.places import source

    for n in range(20):
        (tmp_path / f"{n:02}.txt").write_text(str(n))
    listed = "".join(f"{sha256(str(n).encode()).hexdigest()}  {n:02}.txt\n" for n in range(20))
    assert source("iemocap4", tmp_path).files == {
        "20 files, as sha256sum lists them": sha256(listed.encode()).hexdigest()
    }


# Real things ----------------------------------------------------------------------------------------------------------


def _words(text: str, context: str) -> dict[str, float]:
    """The keyword baseline as a model of the 28."""
    words = set(named(text, LABELS))
    return {label: 0.9 for label in LABELS if words & NAMES[label]} if words else {"neutral": 0.9}


def test_the_keyword_baseline_as_a_model_scores_as_the_baseline(
    fake: Callable[..., Fake], scored: Callable[..., dict[str, Result]]
) -> None:
    """On the real GoEmotions, in each of three tables, by the whole way from the 28 to the classes."""
    if not (DATA / "goemotions/test.tsv").is_file():
        pytest.skip("shared/data/goemotions is not there")
    found = scored(fake(_words), "goemotions", DATA / "goemotions")
    assert [one.rows for one in found.values()] == [5_427] * 3
    for one in found.values():
        assert one.value == pytest.approx(one.baselines["keyword"])
        assert one.low < one.value < one.high
    assert any("109 of the 5,427 test texts" in note for note in found["goemotions 28"].notes)


def test_real_isear_is_scored_on_every_usable_row(
    fake: Callable[..., Fake], scored: Callable[..., dict[str, Result]]
) -> None:
    """Words that name an emotion reach .36 where the best constant has .036."""
    if not (DATA / "isear/isear.csv").is_file():
        pytest.skip("shared/data/isear is not there")
    found = scored(fake(_words), "isear", DATA)["isear"]
    assert found.rows == len(benchmarks.of("isear").read(DATA / "isear").train)
    assert 0.3 < found.value < 0.4
    assert found.baselines["majority"] == pytest.approx(1 / 28, abs=0.002)


def _tiny(folder: Path, classes: Sequence[str]) -> Path:
    """A BERT of random weights with the files that make train writes."""
    torch = pytest.importorskip("torch", reason="a model needs torch, which `make test` installs")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"{label}" for label in LABELS), "and", "again", "came"]
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, **names).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        initializer_range=0.5,
        id2label=dict(enumerate(classes)),
        label2id={label: n for n, label in enumerate(classes)},
        problem_type="multi_label_classification",
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    told = {"use": "global", "global": 0.55, "per_class": dict.fromkeys(classes, 0.5), "temperature": 1.5}
    (folder / "thresholds.json").write_text(json.dumps(told | {"tuned_on": "x", "max_length": 32, "pair": "none"}))
    return folder


@pytest.mark.slow
def test_a_model_folder_is_scored_as_it_predicts(tmp_path: Path, scored: Callable[..., dict[str, Result]]) -> None:
    """A torch model by its folder: what is scored is what factory predict says, thresholds and temperature included."""
    from factory.predict import Classifier

    folder = _tiny(tmp_path / "tiny", LABELS)
    _goemotions(tmp_path / "data/goemotions", test=TEST)
    one = Classifier.of(folder)
    said = [{label for label, _ in row} for row in one.labels(one.probabilities([text for text, _ in TEST]))]
    right = sum(len(row & set(labels.split(","))) for row, (_, labels) in zip(said, TEST, strict=True))
    found = scored(folder)["goemotions 28"]
    assert sum(round(c.recall * c.support) for c in found.per_class) == right
    chosen = sum(len(row) for row in said)
    assert found.extra["micro_f1"] == pytest.approx(2 * right / (chosen + 5))
    assert 0 < chosen < 4 * 28
    assert any("0.55, tuned on x" in note for note in found.notes)


# The document ---------------------------------------------------------------------------------------------------------


def _table(heading: str) -> list[dict[str, str]]:
    part = re.split(rf"^## {re.escape(heading)}\s*$", DOCUMENT, flags=re.M)[1]
    lines = re.search(r"(?:^\|.*\n)+", part, re.M)[0].splitlines()  # type: ignore[index]
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def test_the_document_lists_the_benchmarks_as_they_are() -> None:
    """Name, folder, official metric, source and licence of each, in order."""
    rows = {row["name"].strip("`"): row for row in _table("The benchmarks")}
    assert list(rows) == list(benchmarks.ALL)
    for name, one in benchmarks.ALL.items():
        said = rows[name]
        assert said["folder"] == f"`{one.folder or one.name}`"
        assert said["metric"].startswith(f"`{one.metric}`")
        assert said["where it is published"] == one.source
        assert said["licence"] == one.licence


def test_the_document_shows_the_label_maps_as_they_are() -> None:
    """Every class of every benchmark with its labels, and no other."""
    told: dict[str, dict[str, tuple[str, ...]]] = {}
    for row in _table("Label maps"):
        pairs = (pair.split(": ") for pair in row["class: labels"].split("; "))
        found = {own: () if labels == "-" else tuple(labels.split(", ")) for own, labels in pairs}
        told[row["benchmark"].strip("`")] = found
    wanted = {name: dict(one.to28) for name, one in benchmarks.ALL.items() if one.classes and name != "goemotions"}
    tables = benchmarks.tables_of(benchmarks.of("goemotions"))
    wanted |= {f"goemotions ({name})": dict(form.to28) for name, form in tables.items() if name != "28"}
    assert told == wanted
