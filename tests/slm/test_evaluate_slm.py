"""Facts about a model that writes on benchmarks: what a perfect one scores, what a careless one loses, what is said."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factory import benchmarks, contract
from factory.answers import NO_REPLY, Likelihood, Question
from factory.benchmarks import report
from factory.benchmarks.results import Result
from factory.errors import Stopped, WrongRequest
from factory.evaluate_slm import SCHEMA, How, Pair, Read, chosen, evaluate, flips, planned, questions
from factory.requests import Reply
from factory.seen import Seen, seen_by
from factory.taxonomy import LABELS

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "../shared/data"


@dataclass
class Scripted:
    """Says of each text what it is told to; None is no reply."""

    says: Callable[[str], str | None]
    name: str = "scripted"
    fingerprint: str = "0" * 16
    asked: list[Question] = field(default_factory=list)

    @property
    def troubles(self) -> Mapping[str, int]:
        return Counter(["too hot"])

    def answers(self, questions: Sequence[Question]) -> list[str]:
        return [reply.text for reply in self.replies(questions)]

    def replies(self, questions: Sequence[Question]) -> list[Reply]:
        self.asked += questions
        said = [self.says(question.messages[-1].content) for question in questions]
        return [
            NO_REPLY if text is None else Reply(text=text, tokens_in=40, tokens_out=20, seconds=0.25) for text in said
        ]

    def likelihoods(self, questions: Sequence[Question], options: Sequence[Sequence[str]]) -> list[list[Likelihood]]:
        raise AssertionError("nobody asks for these")


def line(*labels: str, vad: Sequence[float] = (0.5, 0.5, 0.5)) -> str:
    return contract.line(labels, vad[0], vad[1], vad[2], "So it is.")


@pytest.fixture
def scored(tmp_path: Path) -> Callable[..., dict[str, Result]]:
    """Evaluates into tmp_path/out and reads the results back, by benchmark and table."""

    def run(model: Scripted, asked: str = "all", data: Path | None = None, **more: Any) -> dict[str, Result]:
        plan = planned(asked, data or tmp_path / "data", How(**more))
        evaluate(model, plan, tmp_path / "out", lambda sentence: None)
        made = report.of_json((tmp_path / "out/results.json").read_bytes())
        return {f"{one.benchmark} {one.table}".strip(): one for one in made.results}

    return run


Scored = Callable[..., dict[str, Result]]


# Small files in the owners' forms ---------------------------------------------------------------------------------------

GOEMOTIONS = {
    "glad": ("joy", "love"),
    "cross": ("anger",),
    "low": ("sadness",),
    "calm": ("neutral",),
    "shaking": ("fear",),
}
EMPATHETIC = {"hoped": "hopeful", "cried": "sad", "shook": "afraid", "raged": "angry"}
DAILY = {"Hello.": 0, "I hate it!": 1, "How nice!": 4, "What?!": 6}
EMOBANK = {"low calm": (1.0, 2.0, 3.0), "high loud": (5.0, 4.0, 3.0), "mid": (3.0, 3.0, 2.0), "up": (4.0, 1.0, 5.0)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    _write(folder / "goemotions/test.tsv", [f"{t}\t{_ids(ls)}\tt{n}" for n, (t, ls) in enumerate(GOEMOTIONS.items())])
    _write(folder / "goemotions/train.tsv", ["fine\t17\ta", "bad\t2\tb"])
    head = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags"
    rows = [f"c{n},1,{label},{text},1,Hm,5|5|5," for n, (text, label) in enumerate(EMPATHETIC.items())]
    _write(folder / "empatheticdialogues/test.csv", [head, *rows])
    _write(folder / "dailydialog/dialogues_test.txt", ["".join(f"{text} __eou__ " for text in DAILY).rstrip()])
    _write(folder / "dailydialog/dialogues_emotion_test.txt", [" ".join(map(str, DAILY.values()))])
    return folder


def _emobank(folder: Path, train: Sequence[Sequence[float]] = ((2, 2, 2), (3, 4, 3))) -> Path:
    rows = [f"x{n},train,{','.join(map(str, values))},text {n}" for n, values in enumerate(train)]
    rows += [f"y{n},test,{','.join(map(str, values))},{text}" for n, (text, values) in enumerate(EMOBANK.items())]
    _write(folder / "emobank/emobank.csv", ["id,split,V,A,D,text", *rows])
    return folder


def _ids(labels: Sequence[str]) -> str:
    return ",".join(str(LABELS.index(label)) for label in labels)


def _write(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _perfect(text: str) -> str:
    """The truth of every text of the small files."""
    if text in GOEMOTIONS:
        return line(*GOEMOTIONS[text])
    if text in EMPATHETIC:
        return line(benchmarks.of("empathetic").to28[EMPATHETIC[text]][0])
    if text in DAILY:
        name = benchmarks.of("dailydialog").classes[DAILY[text]]
        return line(benchmarks.of("dailydialog").to28[name][0])
    return line("neutral", vad=[(value - 1) / 4 for value in EMOBANK[text]])


# A perfect one, and one that is careless with its form ------------------------------------------------------------------


def test_a_perfect_answerer_scores_all(data: Path, scored: Scored) -> None:
    """Every class that occurs is right in each of the three benchmarks, and there is no second table."""
    found = scored(Scripted(_perfect))
    assert set(found) == {
        "goemotions 28",
        "goemotions ekman",
        "goemotions sentiment",
        "empathetic",
        "dailydialog",
    }
    assert all(one.extra["accuracy"] == 1 for one in found.values())
    assert found["goemotions 28"].value == pytest.approx(6 / 28)  # macro-F1 counts classes that do not occur as 0
    assert (found["empathetic"].value, found["dailydialog"].value) == (1, 1)
    assert all(one.extra["parse_rate"] == one.extra["strict_rate"] == 1 for one in found.values())


def test_a_reply_out_of_form_is_wrong_in_the_headline_and_left_out_of_the_parsed_rows(
    data: Path, scored: Scored
) -> None:
    """Half of the situations are answered with broken JSON: half the accuracy, and all of it where it could be read."""
    broken = {"hoped", "cried"}
    found = scored(Scripted(lambda text: _perfect(text)[: -9 if text in broken else None]), "empathetic")
    whole, parsed = found["empathetic"], found["empathetic parsed rows only"]
    assert (whole.value, whole.rows, whole.extra["parse_rate"]) == (0.5, 4, 0.5)
    assert (parsed.value, parsed.rows) == (1, 2)
    assert any("50.0% of the 4 replies are the contract" in note for note in whole.notes)
    assert any("no figure to compare models by" in note for note in parsed.notes)


def test_an_unread_row_is_no_class_and_not_the_first(data: Path, scored: Scored) -> None:
    """Nothing is chosen where nothing was said: no hit, and in DailyDialog's own measure no wrong choice either."""
    found = scored(Scripted(lambda text: "I cannot say."), "empathetic,dailydialog,goemotions")
    assert {name: one.value for name, one in found.items()} == dict.fromkeys(found, 0.0)
    assert all(one.per_class and not any(c.recall for c in one.per_class) for one in found.values())
    assert not any("parsed" in name for name in found)


def test_talk_around_the_line_is_found_by_the_tail_scan_and_is_not_strict(data: Path, scored: Scored) -> None:
    """The headline takes the last JSON object; what strict reading alone would give stands beside it."""
    found = scored(Scripted(lambda text: f"Sure! {_perfect(text)} Hope that helps."), "dailydialog")["dailydialog"]
    assert found.value == 1
    assert (found.extra["parse_rate"], found.extra["strict_rate"], found.extra["tail_rate"]) == (1, 0, 1)
    assert found.extra["value_of_strict_replies"] == 0


def test_a_question_without_a_reply_is_wrong_and_said(data: Path, scored: Scored) -> None:
    """It is counted apart, for the model did not say it."""
    found = scored(Scripted(lambda text: None if text == "hoped" else _perfect(text)), "empathetic")["empathetic"]
    assert found.value == 0.75
    assert any(note.startswith("questions without any reply, which are wrong here: 1;") for note in found.notes)


def test_where_nobody_answers_there_is_no_score(data: Path, tmp_path: Path) -> None:
    """A server that refuses every question is no model that is wrong every time; nothing is written."""
    with pytest.raises(Stopped, match=r"not one question of EmpatheticDialogues .* got a reply \(too hot\)"):
        evaluate(Scripted(lambda text: None), planned("empathetic", data), tmp_path / "out", lambda line: None)
    assert not (tmp_path / "out").exists()


def test_what_a_reply_costs_stands_beside(data: Path, scored: Scored) -> None:
    """Seconds and tokens of a row, over the replies that came."""
    found = scored(Scripted(_perfect), "dailydialog")["dailydialog"].extra
    costs = found["seconds_per_row"], found["tokens_in_per_row"], found["tokens_out_per_row"]
    assert costs == (0.25, 40, 20)


# Labels ---------------------------------------------------------------------------------------------------------------


def _chosen(name: str, *replies: str) -> list[list[str]]:
    form = benchmarks.of(name)
    read = Read.of([Reply(text=text) for text in replies])
    return [[form.classes[n] for n in np.flatnonzero(row)] for row in chosen(read.ranks, form)]


def test_of_single_labels_the_one_said_first_that_stands_for_a_class_counts() -> None:
    """Curiosity is no class of DailyDialog, so the next label counts; a reply of such labels alone chooses none."""
    said = line("curiosity", "anger", "joy"), line("joy", "anger"), line("curiosity"), "?"
    assert _chosen("dailydialog", *said) == [["anger"], ["happiness"], [], []]


def test_of_several_labels_all_count() -> None:
    """In whatever order; one that is said twice is one."""
    said = '{"labels": ["love", "joy", "joy"], "vad": {"v": 1, "a": 0, "d": 0.5}, "rationale": ""}'
    assert _chosen("goemotions", said) == [["joy", "love"]]


def test_of_classes_with_the_same_label_the_first_of_the_map_is_chosen() -> None:
    """As with a classifier: the map has afraid before terrified."""
    assert _chosen("empathetic", line("fear")) == [["afraid"]]


def test_labels_that_stand_for_no_class_are_said(data: Path, scored: Scored) -> None:
    """How many replies chose none though they could be read."""
    found = scored(Scripted(lambda text: line("curiosity")), "dailydialog")["dailydialog"]
    assert found.value == 0 and any(note.endswith("so that they chose none: 4") for note in found.notes)


def test_rows_that_the_model_has_seen_are_told(data: Path) -> None:
    """The figure without them stands beside."""
    from factory.evaluate_slm import scored as tables

    plan = planned("empathetic", data, seen=Seen(frozenset({"hoped"})))
    model = Scripted(lambda text: line("neutral") if text == "hoped" else _perfect(text))
    (task,) = plan.tasks
    (one,) = tables(task, Read.of(model.replies(questions(task, plan.how))), plan.seen)
    assert (one.value, one.extra["value_on_unseen_rows"]) == (0.75, 1)


def test_what_a_language_model_learnt_from_is_read_again_from_its_record(data: Path, tmp_path: Path) -> None:
    """Texts of training and validation of every part of its data; what is gone is said."""
    _write(data / "goemotions/dev.tsv", ["tuned on\t17\td"])
    record = {"recipe": {"mode": "generate"}, "data": f"goemotions:{data / 'goemotions'}", "fingerprint": "0"}
    (tmp_path / "training.json").write_text(json.dumps(record))
    seen = seen_by(tmp_path)
    assert [seen.has(benchmarks.Row("i", text, ())) for text in ("Fine!", "tuned on", "glad")] == [True, True, False]
    (tmp_path / "training.json").write_text(json.dumps(record | {"data": "goemotions:/nowhere"}))
    assert "cannot be read any more" in seen_by(tmp_path).unknown


# Values ---------------------------------------------------------------------------------------------------------------


def test_a_perfect_answerer_of_values(tmp_path: Path, scored: Scored) -> None:
    """r, CCC, skill and 1-RMSE of 1 in each dimension, with the constant's 1-RMSE beside."""
    _emobank(tmp_path / "data")
    one = scored(Scripted(_perfect), "emobank")["emobank"]
    assert one.value == pytest.approx(1)
    for dimension in ("valence", "arousal", "dominance"):
        assert one.extra[f"concordance_{dimension}"] == pytest.approx(1)
        assert one.extra[f"1-rmse_{dimension}"] == one.extra[f"skill_{dimension}"] == 1
        assert one.extra[f"mae_{dimension}"] == 0 < one.extra[f"1-rmse_of_the_mean_{dimension}"] < 1


def test_a_reply_out_of_form_says_the_mean_of_the_training_part(tmp_path: Path, scored: Scored) -> None:
    """By hand: the mean of train is (.375, .5, .375) from 0 to 1; nobody can be read, so that is what was said of all."""
    _emobank(tmp_path / "data")
    one = scored(Scripted(lambda text: "I feel it."), "emobank")["emobank"]
    off = np.array([[0, 0.25, 0.5], [1, 0.75, 0.5], [0.5, 0.5, 0.25], [0.75, 0, 1]]) - [0.375, 0.5, 0.375]
    assert one.value == 0  # a constant goes with nothing
    assert one.extra["mae_valence"] == pytest.approx(np.abs(off[:, 0]).mean())
    assert one.extra["1-rmse"] == one.extra["1-rmse_of_the_mean"] == pytest.approx(1 - np.sqrt((off**2).mean()))
    assert one.extra["skill"] == 0 and one.extra["parse_rate"] == 0


def test_values_of_parsed_rows_have_a_table_of_their_own(tmp_path: Path, scored: Scored) -> None:
    """One of four cannot be read: its error is that of the mean, and the parsed rows have none."""
    _emobank(tmp_path / "data")
    found = scored(Scripted(lambda text: "?" if text == "up" else _perfect(text)), "emobank")
    whole, parsed = found["emobank"], found["emobank parsed rows only"]
    assert (whole.rows, parsed.rows) == (4, 3)
    assert whole.extra["mae_valence"] == pytest.approx((0.75 - 0.375) / 4)
    assert parsed.extra["mae_valence"] == 0 and parsed.value == pytest.approx(1)
    assert whole.value < 1


# Flips, runs, limits ----------------------------------------------------------------------------------------------------


def test_a_flip_is_consistent_where_valence_changes_its_side() -> None:
    """By hand: one of four pairs turns; one stays, one lies at .5, one cannot be read."""
    pairs = [Pair(one=0, other=1), Pair(one=2, other=3), Pair(one=4, other=5), Pair(one=6, other=7)]
    found = flips(pairs, np.array([0.9, 0.2, 0.9, 0.6, 0.5, 0.1, np.nan, 0.1]))
    assert (found["flip_pairs"], found["flip_consistency"]) == (4, 0.25)
    assert found["flip_consistency_parsed rows only"] == pytest.approx(1 / 3)
    assert found["flip_consistency_low"] < 0.25 < found["flip_consistency_high"]


def _run(folder: Path) -> Path:
    """The contextless view of a run, with a pair of a flip and its original in the test part."""
    import pyarrow as pa
    from pyarrow import parquet

    from factory import views

    rows: dict[str, list[Any]] = {
        "train": [("a", "fine", "joy", 0.8, "original", None)],
        "test": [
            ("b", "I won", "joy", 0.9, "original", None),
            ("c", "I lost", "sadness", 0.1, "flipped", "b"),
            ("d", "odd", "curiosity", None, "original", None),
        ],
    }
    for part, some in rows.items():
        path = folder / f"dataset/contextless/{part}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        names = views.SCHEMAS["contextless"].names
        told = [
            dict.fromkeys(names)
            | {"id": i, "source_id": "s", "utterance": text, "labels": [label], "kind": kind, "pair_id": pair}
            | {"valence": v, "arousal": 0.5 if v else None, "dominance": 0.5 if v else None}
            for i, text, label, v, kind, pair in some
        ]
        parquet.write_table(pa.Table.from_pylist(told, views.SCHEMAS["contextless"]), path)
    return folder


def test_a_run_is_measured_on_its_own_test_part(tmp_path: Path, scored: Scored) -> None:
    """Labels, VAD where the teacher gave one, and the consistency of its flips; DATA may be the run itself."""
    folder = _run(tmp_path / "tales")
    said = {
        "I won": line("joy", vad=(0.9, 0.5, 0.5)),
        "I lost": line("anger", vad=(0.2, 0.5, 0.5)),
        "odd": line("curiosity"),
    }
    for asked, data in (("all", folder), ("run", folder), (f"run:{folder}", tmp_path)):
        found = scored(Scripted(said.__getitem__), asked, data)
        assert set(found) == {"run:tales", "run:tales vad"}
        labels, vad = found["run:tales"], found["run:tales vad"]
        assert labels.rows == 3 and labels.extra["accuracy"] == pytest.approx(2 / 3)
        assert (vad.rows, vad.extra["flip_pairs"], vad.extra["flip_consistency"]) == (2, 1, 1)
        assert vad.extra["mae_valence"] == pytest.approx(0.05)
    made = json.loads((tmp_path / "out/results.json").read_bytes())
    assert list(made["sources"][0]["files"]) == ["dataset/contextless/test-00000-of-00001.parquet"]


def test_a_limit_draws_the_same_rows_and_more_of_them_hold_the_fewer(data: Path, scored: Scored) -> None:
    """So that a trial is a part of the whole, and its replies need not be asked for again."""
    asked = []
    for limit in (1, 2, 3, 4):
        model = Scripted(_perfect)
        found = scored(model, "goemotions", limit=limit)["goemotions 28"]
        asked.append({question.unit for question in model.asked})
        assert found.rows == limit and any(note.startswith(f"LIMIT: {limit} of 5 test rows") for note in found.notes)
    assert asked[0] < asked[1] < asked[2] < asked[3]


# What is asked ----------------------------------------------------------------------------------------------------------


def test_a_model_of_ours_is_asked_as_it_was_taught_and_another_is_told_the_form(data: Path) -> None:
    """The system message of the training data; or the same with all 28 labels and a line in the form, which is the contract."""
    (task,) = planned("empathetic", data).tasks
    plain, told = questions(task, How())[0], questions(task, How(spelt=True))[0]
    assert [message.content for message in plain.messages] == [contract.SYSTEM, "hoped"]
    assert (plain.temperature, plain.schema) == (0, "")
    system = told.messages[0].content
    assert system.startswith(contract.SYSTEM) and all(label in system for label in LABELS)
    assert contract.parsed(system.splitlines()[-1].partition(": ")[2]).how == "strict"


def test_guidance_sends_the_schema_of_the_contract(data: Path) -> None:
    """A list or a sentence has an end under it."""
    (task,) = planned("empathetic", data).tasks
    schema = json.loads(questions(task, How(guided=True))[0].schema)
    assert schema == json.loads(SCHEMA)
    assert schema["properties"]["labels"]["maxItems"] == 5 and "maxLength" in schema["properties"]["rationale"]
    assert list(schema["properties"]) == ["labels", "vad", "rationale"]


# What is not there ------------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_one_sentence(data: Path, tmp_path: Path) -> None:
    """An unknown name, an absent folder, a broken file, a run without a dataset."""
    (tmp_path / "none").mkdir()
    (tmp_path / "odd/goemotions").mkdir(parents=True)
    (tmp_path / "odd/goemotions/test.tsv").write_text("one cell\n")
    for asked, place, said in (
        ("isaer", data, "no benchmark 'isaer'"),
        ("all", tmp_path / "none", "there is nothing to score"),
        ("all", tmp_path / "nowhere", "there is no folder"),
        ("goemotions", tmp_path / "odd", "test.tsv line 1"),
        ("run", tmp_path / "none", "finish the run"),
    ):
        with pytest.raises(WrongRequest, match=said) as caught:
            planned(asked, place)
        assert "\n" not in str(caught.value)
    plan = planned("empathetic,isear", data)
    assert [task.benchmark.name for task in plan.tasks] == ["empathetic"] and "isear" in plan.skipped[0]


@pytest.mark.skipif(not (DATA / "goemotions").is_dir(), reason="the published files of GoEmotions are not here")
def test_the_published_files_give_a_perfect_answerer_a_perfect_score(scored: Scored) -> None:
    """5,427 rows of GoEmotions in three tables, 1,000 of EmoBank; METHODS' constant scores .932 of 1-RMSE."""
    rows = benchmarks.of("goemotions").read(DATA / "goemotions").test
    truth = {row.text: row.labels for row in rows}
    found = scored(Scripted(lambda text: line(*truth[text])), "goemotions", DATA)
    assert found["goemotions 28"].rows == 5427
    twice = len(rows) - len(truth)  # a text that stands there with other labels too cannot be right both times
    assert all(one.value > 1 - 2 * twice / 5427 for one in found.values())
    values = {row.text: row.values for row in benchmarks.of("emobank").read(DATA / "emobank").test}
    told = {text: line("neutral", vad=[(value - 1) / 4 for value in some]) for text, some in values.items()}
    one = scored(Scripted(told.__getitem__), "emobank", DATA)["emobank"]
    assert one.value > 0.99 and one.extra["1-rmse_of_the_mean"] == pytest.approx(0.932, abs=0.002)
