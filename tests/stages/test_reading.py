"""Facts about labels that are read from log-probabilities: the formulas, the one request, and runs from end to end."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import factory
from factory import run, show, views
from factory.api import Run
from factory.engines.rehearsal import Rehearsal
from factory.errors import BadReply, Stopped, Unreachable
from factory.prompts import load
from factory.records import Actor, Appraisal, Batch, Labels, Passage, Reading, Utterance
from factory.requests import Identity, Reply, Request
from factory.settings import Content, Operation
from factory.stages import Asking, Outcome
from factory.stages.appraisal import DIMENSIONS
from factory.stages.reading import CODES, FlipReadings, Readings, agreement, entropy, likelihoods
from factory.steps import pipeline
from factory.store import Store
from factory.taxonomy import ID, LABELS

ROOT = Path(__file__).resolve().parents[2]
CORPORA = ROOT / "corpora"
READ = ("read_probabilities", "read_entropy", "read_mass", "read_agreement")
CONTENT = Content(labeller="logprobs")
ASKING = Asking(book=load(["reading"]))

Files = dict[str, bytes]


def _one_hot(label: str) -> list[float]:
    return [float(one == label) for one in LABELS]


def _said(**probabilities: float) -> str:
    """A reply that gives these labels these probabilities as the next token, and says nothing of the others."""
    return orjson.dumps({CODES[ID[label]]: math.log(p) for label, p in probabilities.items()}).decode()


def _utterance(number: int) -> Utterance:
    ids = {"source_id": "t", "passage_id": "t.p1", "actor_id": "t.p1.a1"}
    text = f"Lamp number {number}\nis out."
    return Utterance(id=f"u{number}", actor="Mara", character="c", emotion="anger", text=text, seed=1, **ids)


def _labels(number: int, **scores: float) -> Labels:
    strengths = tuple(scores.get(label, 0.0) for label in LABELS)
    where = {"source_id": "t", "passage_id": "t.p1"}
    return Labels(id=f"u{number}", raw=(), mapped=(), labels=tuple(scores), intensities=strengths, **where)  # type: ignore[arg-type]


def _batch(*labels: Labels, utterances: int = 1) -> Batch:
    return Batch(
        id="t.p1.a1",
        passage=Passage(id="t.p1", source_id="t", index=0, text="Mara found the lamp by the well."),
        actor=Actor(id="t.p1.a1", source_id="t", passage_id="t.p1", name="Mara", line="finds the lamp"),
        utterances=tuple(_utterance(n) for n in range(1, utterances + 1)),
        labels=labels,
    )


def _ended(text: str, **scores: float) -> Outcome:
    """The one unit, asked once and answered so."""
    (unit,) = Readings().feed(_batch(), [_labels(1, **(scores or {"anger": 0.8}))])
    talk = Readings().talk(unit, ASKING, 0)
    next(talk)
    with pytest.raises(StopIteration) as end:
        talk.send(Reply(text=text, finish="length"))
    assert isinstance(end.value.value, Outcome)
    return end.value.value


def _reading(text: str, **scores: float) -> Reading:
    (row,) = _ended(text, **scores).rows
    assert isinstance(row, Reading)
    return row


# The formulas ----------------------------------------------------------------------------------------------------------


def test_entropy_is_one_where_no_label_is_likelier_and_nought_where_one_has_all() -> None:
    """In nats over ln 28; two equal labels have ln 2 of ln 28, 0.2080."""
    assert entropy([1 / 28] * 28) == pytest.approx(1, abs=1e-12)
    assert entropy(_one_hot("joy")) == 0
    assert entropy([0.5, 0.5, *[0.0] * 26]) == pytest.approx(0.2080, abs=5e-5)


def test_agreement_is_one_for_the_same_and_nought_for_strangers() -> None:
    """One label against itself and against another."""
    assert agreement(_one_hot("joy"), _one_hot("joy")) == 1
    assert agreement(_one_hot("joy"), _one_hot("fear")) == pytest.approx(0, abs=1e-12)


def test_agreement_by_hand() -> None:
    """(1, 0) against (0.5, 0.5): the middle is (0.75, 0.25) with 0.8113 bits, less half of 0 + 1 bit is 0.3113."""
    assert agreement([1.0, 0.0], [0.5, 0.5]) == pytest.approx(1 - 0.3113, abs=5e-5)


def test_agreement_asks_for_the_shape_of_the_intensities_not_their_height() -> None:
    """They are brought to the sum 1 first; where all are 0 there is no shape."""
    read = [0.75, 0.25]
    assert agreement(read, [0.9, 0.3]) == pytest.approx(1) == agreement(read, [0.3, 0.1])
    assert agreement(read, [0.0, 0.0]) is None


_WEIGHTS = st.lists(st.floats(0, 1), min_size=28, max_size=28).filter(lambda weights: math.fsum(weights) > 1e-300)


@given(_WEIGHTS, _WEIGHTS)
def test_entropy_and_agreement_lie_within_nought_and_one(some: list[float], others: list[float]) -> None:
    """Whatever the distributions, and agreement is the same both ways."""
    read, asked = ([one / math.fsum(weights) for one in weights] for weights in (some, others))
    assert 0 <= entropy(read) <= 1
    there, back = agreement(read, asked), agreement(asked, read)
    assert there is not None and back is not None
    assert 0 <= there <= 1 and there == pytest.approx(back, abs=1e-9)


def test_a_reading_by_hand() -> None:
    """0.6 joy, 0.2 love, 0.2 of no answer: mass 0.8, three quarters and one quarter, 0.5623 nats of 3.3322."""
    row = _reading(_said(joy=0.6, love=0.2), joy=0.9, love=0.3)
    assert row.mass == pytest.approx(0.8)
    assert {LABELS[i]: p for i, p in enumerate(row.probabilities) if p} == {
        "joy": pytest.approx(0.75),
        "love": pytest.approx(0.25),
    }
    assert row.entropy == pytest.approx(0.5623 / 3.3322, abs=5e-5)
    assert row.agreement == pytest.approx(1)


@pytest.mark.parametrize("label", LABELS)
def test_every_code_stands_for_its_label(label: str) -> None:
    """In taxonomy order, and agreement is with that label's intensity."""
    row = _reading(_said(**{label: 0.9}), **{label: 0.5})
    assert row.probabilities == tuple(_one_hot(label)) and row.agreement == 1


def test_codes_are_distinct_characters_of_one_byte() -> None:
    """So each is one token of any tokenizer over bytes."""
    assert len(set(CODES)) == len(LABELS) == len(CODES)
    assert all(len(code.encode()) == 1 and code.isalpha() for code in CODES)


def test_labels_beyond_the_twenty_that_a_server_names_are_nought() -> None:
    """And the mass tells what is missing; tokens that are no code are none."""
    logarithms = {code: math.log(0.04) for code in CODES[:20]} | {" A": -0.5, "The": -1.0, "c": -2.0}
    row = _reading(orjson.dumps(logarithms).decode())
    assert row.mass == pytest.approx(0.8) and math.fsum(row.probabilities) == pytest.approx(1)
    assert row.probabilities[20:] == (0.0,) * 8 and row.probabilities[:20] == pytest.approx((0.05,) * 20)


def test_a_very_unlikely_answer_is_still_a_distribution() -> None:
    """Only the ratio of the codes counts; the mass is next to nothing."""
    row = _reading(orjson.dumps({"A": -300.0, "B": -300.0 + math.log(3)}).decode())
    assert row.probabilities[:2] == pytest.approx((0.25, 0.75)) and 0 < row.mass < 1e-100


def test_log_probabilities_a_hair_above_nought_are_nought() -> None:
    """Rounding in an engine makes no probability above 1."""
    row = _reading(orjson.dumps({"A": 1e-6, "B": -12.0}).decode())
    assert row.mass == 1.0 and 0.99999 < row.probabilities[0] < 1 and math.fsum(row.probabilities) == pytest.approx(1)


UNREADABLE = {
    "none of the codes": '{" A": -0.1, "The": -0.2}',
    "nothing": "{}",
    "unranked": '{"A": -9999.0, "B": -9999.0}',
    "no numbers": '{"A": "-0.1", "B": null, "C": true}',
    "a list": "[-0.1, -0.2]",
    "a letter": "A",
    "cut off": '{"A": -0.1, "B": -2',
    "a refusal": "I'm sorry, but I can't help with that request.",
    "empty": "",
    "not a number": '{"A": NaN}',
    "true": '{"A": -0.1, "B": true}',
    "more than all": '{"A": -0.1, "B": -0.1}',
    "more than one": '{"A": 0.5}',
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_a_reply_without_a_code_is_no_reading(text: str) -> None:
    """Rejected with one stable reason, and the reply beside it."""
    outcome = _ended(text)
    assert (outcome.accepted, outcome.reason, outcome.raw, outcome.repairs) == (False, "no_reading", text, 0)
    assert outcome.rows == () and outcome.detail


@given(st.text() | st.dictionaries(st.sampled_from([*CODES, "x"]), st.floats() | st.text()).map(json.dumps))
def test_no_reply_raises_anything_but_our_own(text: str) -> None:
    """A bad reply is data."""
    try:
        found = likelihoods(text)
    except BadReply as err:
        assert err.reason == "no_reading"
    else:
        assert len(found) == 28 and max(found) > 0 and all(0 <= one <= 1 for one in found)


# What is asked -----------------------------------------------------------------------------------------------------


def test_one_request_asks_for_one_token_of_the_codes() -> None:
    """No schema, temperature 1 whatever the decoding of the run, and the utterance alone in one line."""
    (unit,) = Readings().feed(_batch(), [_labels(1, anger=0.8)])
    for greedy in (False, True):
        request = next(Readings().talk(unit, replace(ASKING, greedy=greedy), 0))
        assert (request.stage, request.unit, request.schema, request.read) == ("reading", "u1", "", CODES)
        sampling = request.sampling
        assert (sampling.temperature, sampling.max_tokens, sampling.repetition_penalty) == (1.0, 1, 1.0)
        assert request.fields == {"utterance": "Lamp number 1 is out."}
        assert "well" not in request.messages[1].content and "anger" not in request.messages[1].content


def test_every_labelled_utterance_is_a_unit_of_its_own() -> None:
    """By its own id; one whose labels were dropped is not read."""
    units = list(Readings().feed(_batch(utterances=3), [_labels(3, joy=0.9), _labels(1, fear=0.5)]))
    assert [unit.id for unit in units] == ["u1", "u3"]
    assert [(unit.utterances[0].id, unit.labels[0].id) for unit in units] == [("u1", "u1"), ("u3", "u3")]
    assert all(len(unit.utterances) == len(unit.labels) == 1 for unit in units)


def _appraisal(number: int) -> Appraisal:
    scores = dict.fromkeys(DIMENSIONS, 0.5)
    return Appraisal(id=f"u{number}", source_id="t", passage_id="t.p1", rationale="She can see nothing.", **scores)


def test_only_confirmed_flips_are_read() -> None:
    """A flip without its appraisal is no row."""
    flip = _batch(_labels(1, sadness=0.8))
    assert [unit.id for unit in FlipReadings().feed(flip, [_appraisal(1)])] == ["u1"]
    assert list(FlipReadings().feed(flip, [])) == []


def test_labels_are_read_only_where_it_is_asked_for() -> None:
    """The default pipeline has no such stage; every target of the other has one, and flips theirs."""
    assert not {"reading", "flip_reading"} & {step.stage.name for step in pipeline(Content())}
    for target in ("contextless", "contextual", "appraisal", "flip"):
        found = {step.stage.name for step in pipeline(CONTENT).wanted([target])}
        assert {"reading", "flip_reading"} & found == {"reading"} | ({"flip_reading"} if target == "flip" else set())


# Runs --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Twelve narratives, all stages, the labels also read."""
    return factory.synth(CORPORA, tmp_path_factory.mktemp("reading") / "run", limit=12, labeller="logprobs")


def _rows(one: Run, view: str = "contextless") -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted((one.out / "dataset" / view).glob("*.parquet"))])


def _columns(table: pa.Table) -> dict[str, dict[str, Any]]:
    """Each row by its id."""
    return {row["id"]: row for row in table.to_pylist()}


def test_every_row_of_a_run_has_its_reading(read: Run) -> None:
    """Figures that follow from its probabilities and its intensities, originals and flips alike."""
    rows = _rows(read).to_pylist()
    assert Counter(row["kind"] for row in rows).keys() == {"original", "flipped"}
    for row in rows:
        probabilities = row["read_probabilities"]
        assert len(probabilities) == 28 and math.fsum(probabilities) == pytest.approx(1, abs=1e-5)
        assert row["read_entropy"] == pytest.approx(entropy(probabilities), abs=1e-5)
        assert row["read_agreement"] == pytest.approx(agreement(probabilities, row["intensities"]), abs=1e-5)
        assert 0.69 < row["read_mass"] < 1


def test_the_rehearsal_reads_what_it_labels(read: Run) -> None:
    """The likeliest label of a row is one that its labeller scored highly: codes and labels are not shifted."""
    for row in _rows(read).to_pylist():
        likeliest = row["intensities"][max(range(28), key=row["read_probabilities"].__getitem__)]
        assert likeliest >= 0.6 * max(row["intensities"])


def test_accounts_hold_for_readings_too(read: Run) -> None:
    """One unit, one reply, one row of the stage's table for each labelled utterance."""
    store = Store(read.out)
    tables = {name: [store.table(shard, name) for shard in store.names()] for name in ("labels", "reading")}
    ids = {name: [i for table in some if table for i in table["id"].to_pylist()] for name, some in tables.items()}
    assert sorted(ids["reading"]) == sorted(ids["labels"]) and len(set(ids["reading"])) == len(ids["reading"])
    count = [manifest.units["reading"] for name in store.names() if (manifest := store.manifest(name))]
    assert sum(c.inputs for c in count) == sum(c.accepted for c in count) == sum(c.asked for c in count)
    assert sum(c.tokens_out for c in count) == len(ids["reading"])


def test_without_it_the_columns_are_typed_nulls_and_nothing_else_changes(
    read: Run, tmp_path: Path, counting: Callable[..., Any]
) -> None:
    """The same requests and rows as ever; with it the same and the readings, and another hash of prompts."""
    asked, also = counting(), counting()
    plain = _rows(factory.synth(CORPORA, tmp_path / "plain", limit=3, engine=asked))
    both = _rows(factory.synth(CORPORA, tmp_path / "read", limit=3, engine=also, labeller="logprobs"))
    assert all(plain[name].null_count == plain.num_rows for name in READ)
    assert plain.schema.equals(both.schema) and plain.schema.equals(views.SCHEMAS["contextless"])
    own = (*READ, "prompt_hash")
    assert plain.drop_columns(own).equals(both.drop_columns(own))
    assert not set(plain["prompt_hash"].to_pylist()) & set(both["prompt_hash"].to_pylist())
    assert not [request for request in asked.requests if request.read]
    keys = {name for name, request in zip(also.keys, also.requests, strict=True) if not request.read}
    assert keys == set(asked.keys) and len(also.keys) > len(asked.keys)


def test_how_a_run_is_driven_leaves_no_trace_in_its_readings(
    read: Run, tmp_path: Path, dataset: Callable[[Path], Files], same_dataset: Callable[[Path, Files], None]
) -> None:
    """Shard size and processes: the same bytes."""
    ways: tuple[dict[str, Any], ...] = ({"shard_size": 3, "workers": 2}, {"shard_size": 1, "concurrency": 5})
    for number, how in enumerate(ways):
        other = factory.synth(CORPORA, tmp_path / str(number), limit=12, labeller="logprobs", **how)
        same_dataset(other.out, dataset(read.out))


@dataclass
class Fickle:
    """The rehearsal engine, which reads nothing for some utterances until it is mended."""

    mute: Callable[[Request], bool]
    identity: Identity = field(default_factory=lambda: Rehearsal().identity)
    asked: Counter[str] = field(default_factory=Counter)

    async def complete(self, request: Request) -> Reply:
        self.asked[request.stage] += 1
        if request.read and self.mute(request):
            return Reply(text="{}", finish="length", tokens_in=1, tokens_out=1)
        return await Rehearsal().complete(request)

    async def close(self) -> None: ...


def test_a_rejected_reading_leaves_its_row_in_place(tmp_path: Path, tales: Callable[..., Path]) -> None:
    """Its four columns are null; the row, its labels and its pair are there. Asked for again later, it is filled in."""
    corpus, out = tales(3), tmp_path / "run"
    whole = _columns(_rows(factory.synth(corpus, tmp_path / "whole", labeller="logprobs")))
    engine = Fickle(lambda request: not request.round and request.unit.endswith(("2", "5.f")))
    found = factory.synth(corpus, out, labeller="logprobs", engine=engine)
    rows, pairs = _columns(_rows(found)), _columns(_rows(found, "contextual"))
    mute = {ident for ident in rows if ident.endswith(("2", "5.f"))}
    assert rows.keys() == whole.keys() and mute
    for ident, row in rows.items():
        assert {row[name] is None for name in READ} == {ident in mute}
        assert {k: v for k, v in row.items() if k not in READ} == {
            k: v for k, v in whole[ident].items() if k not in READ
        }
    assert pairs and all((row["read_mass"] is None) == (row["pair_id"] in mute) for row in pairs.values())
    thrown = [one for one in found.rejects() if one.stage != "solve"]
    assert {one.reason for one in thrown} == {"no_reading"}
    assert {one.id for one in thrown} >= mute
    asked, still, _ = run.retry(out, "reading", engine=engine)
    again = _columns(_rows(factory.load(out)))
    assert asked and not still
    assert {ident for ident, row in again.items() if row["read_mass"] is None} == {m for m in mute if m.endswith(".f")}


def test_a_reading_is_asked_once_and_never_repaired(tmp_path: Path, tales: Callable[..., Path]) -> None:
    """Although repairs are allowed: the same question has the same answer."""
    engine = Fickle(lambda request: True)
    found = factory.synth(tales(2), tmp_path / "run", labeller="logprobs", engine=engine, max_rejects=1.0, repairs=2)
    rejected = [one for one in found.rejects() if one.stage == "reading"]
    assert engine.asked["reading"] == len(rejected) > 0
    assert "read from" not in (found.out / "dataset" / "README.md").read_text(encoding="utf-8")


def test_an_engine_that_never_reads_stops_the_run(tmp_path: Path) -> None:
    """It would give a dataset without the columns that were asked for: more rejects than MAX_REJECTS allows."""
    with pytest.raises(Stopped, match="no_reading"):
        factory.synth(CORPORA, tmp_path / "run", labeller="logprobs", limit=12, engine=Fickle(lambda request: True))


def test_a_stopped_run_resumes_to_the_same_bytes_and_reads_nothing_twice(
    tmp_path: Path,
    tales: Callable[..., Path],
    counting: Callable[..., Any],
    dataset: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
) -> None:
    """The engine goes away after each of so many requests, then comes back."""
    corpus, out = tales(4), tmp_path / "run"
    whole = counting()
    wanted = dataset(factory.synth(corpus, tmp_path / "alone", labeller="logprobs", engine=whole).out)
    answered: list[str] = []
    for most in (7, 40, 30, 10_000):
        engine = counting()

        def fault(request: Request, engine: Any = engine, most: int = most) -> None:
            if len(engine.keys) > most:
                raise Unreachable("the engine is gone")

        engine.fault = fault
        with pytest.raises(Stopped) if most < 10_000 else nullcontext():
            factory.synth(corpus, out, labeller="logprobs", engine=engine, shard_size=2)
        answered += engine.keys[:most]
    same_dataset(out, wanted)
    assert sorted(answered) == sorted(whole.keys)


def test_a_killed_run_resumes_to_the_same_bytes(
    tmp_path: Path,
    tales: Callable[..., Path],
    dataset: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
) -> None:
    """kill -9 while replies come in, four times; then resume with nothing but the folder."""
    corpus, out, config = tales(6), tmp_path / "run", tmp_path / "my.toml"
    config.write_text('labeller = "logprobs"\n')
    how = ["--config", str(config), "--delay-ms", "40", "--shard-size", "2", "--workers", "1", "--concurrency", "4"]
    command = [sys.executable, "-m", "factory.cli", "synth", str(corpus), "--out", str(out), *how]
    struck = 0
    for _ in range(4):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT) as process:
            before, end = _paid(out), time.monotonic() + 20
            while _paid(out) < before + 15 and process.poll() is None and time.monotonic() < end:
                time.sleep(0.01)
            struck += process.poll() is None
            process.send_signal(signal.SIGKILL)
    assert struck >= 3 and _paid(out)
    run.resume(out)
    same_dataset(out, dataset(factory.synth(corpus, tmp_path / "alone", labeller="logprobs").out))


def _paid(out: Path) -> int:
    """Replies that are written down."""
    lines: int = sum(path.read_bytes().count(b"\n") for path in (out / "journal").glob("*.jsonl"))
    store = Store(out)
    tables = [store.table(name, "replies", ["key"]) for name in store.names()] if out.exists() else []
    return lines + sum(len(table) for table in tables if table is not None)


def test_a_trace_shows_the_reading(read: Run) -> None:
    """The question, the log-probabilities that came back, and what was kept of them."""
    row = _rows(read).to_pylist()[0]
    shown = "\n".join(_plain(part) for part in show.trace(Store(read.out), row["id"]))
    unit = shown.partition(f"reading · {row['id']}")[2]
    assert "Which entry of the list" in unit and '{"A":-' in unit and "mass=" in unit


def _plain(part: Any) -> str:
    from rich.console import Console

    console = Console(width=4000)
    with console.capture() as caught:
        console.print(part)
    return caught.get()


def test_the_card_says_what_was_read(read: Run) -> None:
    """Rows, mean entropy, mean agreement, and the share of low mass, as they stand in the rows."""
    card = (read.out / "dataset" / "README.md").read_text(encoding="utf-8")
    rows = _rows(read).select(READ[1:]).to_pylist()
    means = {name: math.fsum(row[name] for row in rows) / len(rows) for name in READ[1:]}
    assert f"read from log-probabilities in {len(rows):,} rows" in card
    assert f"mean entropy {means['read_entropy']:.3f}" in card
    assert f"asked intensities {means['read_agreement']:.3f}" in card
    assert "less than half of the next token: 0.0% (by construction)" in card


_LOAD = """
import json, sys
from datasets import load_dataset
found = {}
for folder in sys.argv[1:]:
    for split, rows in load_dataset(folder, "contextless").items():
        found[f"{folder} {split}"] = [str(rows.features["read_probabilities"]), [row["read_mass"] for row in rows]]
print(json.dumps(found))
"""


def test_load_dataset_gives_the_columns_their_types(read: Run, tmp_path: Path, tales: Callable[..., Path]) -> None:
    """A list of 28 numbers in runs with readings, without any, and with some rejected."""
    pytest.importorskip("datasets", reason="the extra `test` is not installed")
    corpus = tales(6)
    engine = Fickle(lambda request: request.unit.endswith("3"))
    some = factory.synth(corpus, tmp_path / "some", labeller="logprobs", engine=engine)
    none = factory.synth(corpus, tmp_path / "none")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    folders = [str(one.out / "dataset") for one in (read, some, none)]
    command = [sys.executable, "-c", _LOAD, *folders]
    said = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert said.returncode == 0, said.stderr[-2000:]
    loaded = json.loads(said.stdout)
    assert {kind for kind, _ in loaded.values()} == {"List(Value('float32'), length=28)"}
    nulls = [_share_of_nulls(loaded, folder) for folder in folders]
    assert nulls[0] == 0 < nulls[1] < nulls[2] == 1


def _share_of_nulls(loaded: dict[str, tuple[str, Sequence[float | None]]], folder: str) -> float:
    masses = [mass for name, (_, some) in loaded.items() if name.startswith(f"{folder} ") for mass in some]
    return sum(mass is None for mass in masses) / len(masses)


def test_the_preset_of_the_paper_is_read_alike(tmp_path: Path, tales: Callable[..., Path]) -> None:
    """Its greedy decoding is for what is written."""
    made = run.synth(tales(2), out=tmp_path / "run", content=replace(CONTENT, preset="paper"), operation=Operation())
    rows = _rows(Run(made.out))
    assert rows.num_rows and rows["read_mass"].null_count == 0
