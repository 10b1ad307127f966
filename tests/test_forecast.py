"""Facts about the forecast: it scales right, says what it assumes, and never calls a rehearsal a measurement."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import factory
from factory import forecast, run, show
from factory.cli import main
from factory.corpus import Corpus
from factory.cost import Prices
from factory.engines import Engine
from factory.errors import WrongRequest
from factory.records import Count, Passage
from factory.requests import Identity
from factory.settings import Content, Operation
from factory.store import MANIFEST, Store

CORPORA = Path(__file__).resolve().parent.parent / "corpora"


def _called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        main([str(a) for a in arguments])
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> run.Result:
    """The bundled corpora, finished."""
    out = tmp_path_factory.mktemp("done") / "run"
    return run.synth(CORPORA, out=out, operation=Operation(shard_size=8, workers=1, price_in=1.0, price_out=2.0))


def _passages(count: int) -> list[Passage]:
    return [Passage(id=f"p{n}", source_id="s", index=n, text="x") for n in range(count)]


# From a rehearsal -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [20, 40])
def test_a_forecast_is_near_what_the_run_takes(done: run.Result, sample: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests, tokens in and tokens out of the bundled corpora within 15%, from a third or most of their passages."""
    monkeypatch.setattr(forecast, "SAMPLE", sample)
    found = forecast.rehearsed(Corpus(path=CORPORA), Content())
    said, true = show.together(found.counts), show.together(done.tally.counts)
    assert found.passages == done.tally.passages_done
    assert set(found.counts) == set(done.tally.counts)
    for name in ("asked", "tokens_in", "tokens_out"):
        assert getattr(said, name) == pytest.approx(getattr(true, name), rel=0.15), name


def test_a_corpus_smaller_than_the_sample_is_played_whole(tales: Callable[..., Path]) -> None:
    """Every passage once: as many requests for actors as there are passages."""
    found = forecast.rehearsed(Corpus(path=tales(5)), Content())
    assert found.counts["actors"].asked == found.passages == 5
    assert found.assumptions[0].startswith("Not measured on a model: 5 of 5 passages")


@pytest.mark.parametrize("count", [1, 3, 39, 40, 41, 79, 159, 160, 161, 1684, 12345])
def test_the_sample_is_spread_evenly(count: int) -> None:
    """At most 40 passages, in order, no stretch of the corpus left out or taken twice as often as another."""
    sample, total = forecast._spread(iter(_passages(count)), 40)
    at = [p.index for p in sample]
    assert (total, len(at), at) == (count, min(40, count), sorted(set(at)))
    gaps = [b - a for a, b in zip([-1, *at], [*at, count], strict=True)]
    assert max(gaps) <= 3 * count / len(at)
    middle = sum(at) / len(at) / max(1, count - 1)
    assert count == 1 or 0.45 < middle < 0.55


def test_few_passages_are_held_while_the_sample_is_drawn() -> None:
    """However long the corpus: a long one is thinned out as it goes by."""
    alive = most = 0

    class Told:
        def __init__(self) -> None:
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    sample, total = forecast._spread((Told() for _ in range(10_000)), 40)
    assert (len(sample), total) == (40, 10_000)
    assert most <= 165


def test_the_stages_asked_for_are_those_counted(tales: Callable[..., Path]) -> None:
    """Without flips and contexts the forecast has none, and the labeller that reads adds its stage."""
    found = forecast.rehearsed(Corpus(path=tales()), Content(labeller="logprobs"), targets=("contextless", "appraisal"))
    assert set(found.counts) == {"actors", "utterances", "labels", "reading", "appraisal"}


def test_money_and_hours_come_from_what_was_given(
    tales: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Money is the tokens at the prices to the cent, time the tokens of replies at the rate; without them it says what to
    give."""
    args = ("plan", tales())
    code, said, _ = _called(capsys, *args, "--price-in", 100, "--price-out", 300, "--tokens-per-second", 10)
    assert code == 0
    requests, tokens_in, tokens_out = (
        int(n.replace(",", ""))
        for n in re.search(r"· ([\d,]+) requests · ([\d,]+) tokens in · ([\d,]+) tokens out", said).groups()  # type: ignore[union-attr]
    )
    assert requests > 10
    assert f"· {Prices().shown((tokens_in * 100 + tokens_out * 300) / 1e6)} · " in said
    minutes, seconds = divmod(round(tokens_out / 10), 60)
    assert f"· {minutes // 60} h {minutes % 60:02d} min" in said or f"· {minutes} min {seconds:02d} s" in said
    _, plain, _ = _called(capsys, *args)
    assert "money: give PRICE_IN and PRICE_OUT" in plain
    assert "hours: give TOKENS_PER_SECOND" in plain


def test_the_same_forecast_twice(tales: Callable[..., Path]) -> None:
    """Nothing is drawn at random."""
    corpus = Corpus(path=tales(6))
    assert forecast.rehearsed(corpus, Content()) == forecast.rehearsed(corpus, Content())


def test_a_rehearsal_is_never_called_a_measurement(
    done: run.Result, tales: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a sample that was played nor a run that was."""
    for more in ((), ("--from", done.out)):
        _, said, _ = _called(capsys, "plan", tales(), *more)
        assert "Not measured on a model" in said
        assert "Measured on" not in said


def test_columns_and_settings_are_read_as_synth_reads_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A corpus that needs a column, and settings of a real engine in a file, which is not opened."""
    tale = (
        "Nadia carried the kettle across the yard to Omar, who had waited at the gate since noon with the broken cart."
    )
    path = tmp_path / "plots.csv"
    path.write_text("who,words\n" + "".join(f'{n},"{tale} It was day {n}."\n' for n in range(4)))
    (tmp_path / "my.toml").write_text(
        'engine = "openai"\nmodel = "some"\nbase_url = "http://127.0.0.1:9/v1"\nactors = 1\n'
    )
    code, said, _ = _called(
        capsys, "plan", path, "--text-column", "words", "--id-column", "who", "--config", tmp_path / "my.toml"
    )
    assert code == 0
    assert re.search(r"^utterances +4 ", said, re.M)


def test_a_forecast_leaves_nothing_behind(
    tales: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No folder here, and none among the temporary ones, also where the corpus is bad."""
    corpus, other = tales(), tmp_path / "temporary"
    other.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(other))
    before = set(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert _called(capsys, "plan", corpus)[0] == 0
    assert _called(capsys, "plan", corpus, "--prompts", tmp_path)[0] == 2
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("content", "named"),
    [(None, "no such file or folder"), ("", "no record"), ('{"id": "a"}\n', "text")],
    ids=["absent", "empty", "no-text"],
)
def test_a_bad_corpus_is_refused_as_by_synth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, named: str
) -> None:
    """Exit code 2, with the sentence that synth has."""
    path = tmp_path / "bad.jsonl"
    if content is not None:
        path.write_text(content)
    code, _, err = _called(capsys, "plan", path)
    assert (code, named in err) == (2, True)
    assert _called(capsys, "synth", path, "--out", tmp_path / "run")[2].splitlines()[-2] == err.splitlines()[-2]


def test_a_forecast_takes_seconds() -> None:
    """Under five of a processor's for the bundled corpora, in the best of three: other work slows a processor too."""
    taken = []
    for _ in range(3):
        began = time.process_time()
        forecast.rehearsed(Corpus(path=CORPORA), Content())
        taken.append(time.process_time() - began)
        if taken[-1] < 5:
            break
    assert min(taken) < 5


# From a run -----------------------------------------------------------------------------------------------------------


def test_a_run_stands_for_a_corpus_by_its_passages(done: run.Result) -> None:
    """The accounts of a run over the same corpus are its own; over a part of it they are that part's share."""
    whole = forecast.measured(Corpus(path=CORPORA), Store(done.out))
    true = show.together(done.tally.counts)
    assert {n: c.asked for n, c in whole.counts.items()} == {n: c.asked for n, c in done.tally.counts.items()}
    part = forecast.measured(Corpus(path=CORPORA), Store(done.out), limit=10)
    assert part.passages < whole.passages
    share = part.passages / whole.passages
    assert show.together(part.counts).tokens_in == pytest.approx(true.tokens_in * share, rel=1e-4)


def test_a_run_that_was_stopped_counts_by_its_finished_shards(done: run.Result, tmp_path: Path) -> None:
    """With half of the shards gone the forecast is nearly the same."""
    out = Path(shutil.copytree(done.out, tmp_path / "half"))
    for name in Store(out).names()[::2]:
        shutil.rmtree(out / "shards" / name)
    half = show.together(forecast.measured(Corpus(path=CORPORA), Store(out)).counts)
    true = show.together(done.tally.counts)
    assert half.tokens_out != true.tokens_out
    assert half.tokens_out == pytest.approx(true.tokens_out, rel=0.25)


def test_prices_are_those_of_the_run_unless_others_are_given(
    done: run.Result, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last start of the run had prices."""
    total = show.together(done.tally.counts)
    for args, price_in, price_out in (((), 1, 2), (("--price-in", 3), 3, 2)):
        _, said, _ = _called(capsys, "plan", CORPORA, "--from", done.out, *args)
        assert f" {(total.tokens_in * price_in + total.tokens_out * price_out) / 1e6:,.2f} USD" in said


def _slow(tales: Callable[..., Path], out: Path) -> Store:
    """A run whose replies take 20 ms, four at a time, in six shards."""
    operation = Operation(shard_size=1, workers=1, concurrency=4, delay_ms=20.0)
    run.synth(tales(6), out=out, operation=operation)
    return Store(out)


def test_hours_come_from_the_wall_clock_of_the_run(tales: Callable[..., Path], tmp_path: Path) -> None:
    """As long as the run took from its first finished shard to its last, a passage; said so."""
    began = time.monotonic()
    store = _slow(tales, tmp_path / "run")
    took = time.monotonic() - began
    found = forecast.measured(Corpus(path=tales(6)), store)
    assert "Hours by the wall clock of that run" in found.assumptions[-1]
    assert found.seconds is not None
    assert 0.4 * took < found.seconds < 1.5 * took


def test_a_night_between_two_starts_is_no_work(tales: Callable[..., Path], tmp_path: Path) -> None:
    """The time in which nothing ran is left out."""
    store = _slow(tales, tmp_path / "run")
    corpus = Corpus(path=tales(6))
    before = forecast.measured(corpus, store).seconds
    names, now = store.names(), time.time()
    for number, name in enumerate(names):  # three shards this minute, three eight hours before
        at = now - 30 + number - (28_800 if number < 3 else 0)
        os.utime(store.shards / name / MANIFEST, (at, at))
    starts = store.out / "starts.jsonl"
    line = starts.read_text()
    times = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - back)) for back in (28_900, 60))
    starts.write_text("".join(re.sub(r'"time":"[^"]*"', f'"time":"{at}"', line) for at in times))
    found = forecast.measured(corpus, store)
    assert before is not None and found.seconds == pytest.approx(6.0, rel=0.01)


def test_a_folder_that_was_copied_is_not_believed_its_times(tales: Callable[..., Path], tmp_path: Path) -> None:
    """All shards written within milliseconds: more would have been in flight than may be, so the replies' own seconds count."""
    store = _slow(tales, tmp_path / "run")
    starts = store.out / "starts.jsonl"
    starts.write_text(re.sub(r'"time":"[^"]*"', '"time":"2001-01-01T00:00:00Z"', starts.read_text()))
    for number, name in enumerate(store.names()):
        at = 1e9 + number / 1000
        os.utime(store.shards / name / MANIFEST, (at, at))
    found = forecast.measured(Corpus(path=tales(6)), store)
    total = show.together(found.counts)
    assert found.assumptions[-1] == "Hours at best: the seconds of all its replies, with 4 in flight all the time."
    assert found.seconds == pytest.approx(total.seconds / 4)
    assert total.seconds == pytest.approx(0.02 * total.asked, rel=0.01)


def test_a_rate_that_is_given_wins_over_the_clock(tales: Callable[..., Path], tmp_path: Path) -> None:
    """Another engine may be quicker than the one that was measured."""
    found = forecast.measured(Corpus(path=tales(6)), _slow(tales, tmp_path / "run"), tokens_per_second=7.0)
    assert found.seconds == pytest.approx(show.together(found.counts).tokens_out / 7)
    assert found.assumptions[-1] == "The engine writes 7 tokens a second, all the time."


def test_a_model_that_was_measured_is_named(
    tales: Callable[..., Path], tmp_path: Path, counting: Callable[..., Engine]
) -> None:
    """The engine, the model and its revision, and how many passages of it stand for the corpus."""
    content = Content(engine="openai", model="some-model")
    served = counting(identity=Identity(engine="openai", model="some-model", revision="r1"))
    run.synth(tales(), out=tmp_path / "run", content=content, engine=served)
    found = forecast.measured(Corpus(path=tales()), Store(tmp_path / "run"))
    assert found.assumptions[0].startswith("Measured on openai some-model r1: 3 finished passages")


def test_stages_of_a_run_can_be_left_out_and_not_added(tales: Callable[..., Path], tmp_path: Path) -> None:
    """What the run did not make, it cannot say the price of."""
    out = factory.synth(tales(), tmp_path / "run", stages=["contextless", "appraisal"]).out
    found = forecast.measured(Corpus(path=tales()), Store(out), targets=("contextless",))
    assert set(found.counts) == {"actors", "utterances", "labels"}
    with pytest.raises(WrongRequest, match="did not make flip"):
        forecast.measured(Corpus(path=tales()), Store(out), targets=("flip",))


def test_a_run_without_a_finished_shard_measures_nothing(
    tales: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was begun and stopped at once; the sentence says how to get a sample."""
    code, _, _ = _called(capsys, "synth", tales(), "--out", tmp_path / "run", "--max-tokens", 1)
    assert code == 3
    code, _, err = _called(capsys, "plan", tales(), "--from", tmp_path / "run")
    assert (code, "no finished shard to measure" in err) == (2, True)


def test_settings_of_another_run_are_refused_beside_one(
    done: run.Result, tales: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """FROM brings its own settings; a folder that is no run brings none."""
    code, _, err = _called(capsys, "plan", tales(), "--from", done.out, "--preset", "paper")
    assert (code, "leave out preset" in err) == (2, True)
    code, _, err = _called(capsys, "plan", tales(), "--from", tmp_path / "nothing")
    assert (code, "is no run" in err) == (2, True)


def test_scaling_keeps_shares() -> None:
    """Three halves of everything that is counted, in whole numbers."""
    scaled = forecast._scaled({"a": Count(asked=10, tokens_in=100, tokens_out=33, seconds=2.0, repairs=2)}, 1.5)["a"]
    assert (scaled.asked, scaled.tokens_in, scaled.tokens_out, scaled.seconds) == (15, 150, 50, 3.0)
    assert scaled.repairs == 3
