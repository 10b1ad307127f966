"""Facts about money: what tokens come to, where it is shown, and where a run stops for it."""

import io
import re
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console, RenderableType

import factory
from factory import build, card, progress, run, show
from factory.cli import main
from factory.cost import Prices
from factory.errors import Stopped
from factory.records import Count
from factory.runner import Tally
from factory.settings import Operation
from factory.store import Store

Files = dict[str, bytes]
PRICES = Prices(tokens_in=0.15, tokens_cached=0.03, tokens_out=0.60, currency="EUR")


def _shown(*parts: RenderableType) -> str:
    console = Console(width=100, file=io.StringIO())
    for part in parts:
        console.print(part, highlight=False)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    try:
        main([str(a) for a in arguments])
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


# What tokens come to --------------------------------------------------------------------------------------------------


def test_money_is_right_to_the_cent() -> None:
    """2 million tokens in, half of them cached, and 3 million out, at prices of a million."""
    assert PRICES.money(2_000_000, 3_000_000, 1_000_000) == pytest.approx(0.15 + 0.03 + 1.80, abs=1e-9)
    assert PRICES.of_count(Count(tokens_in=1_000_000, tokens_out=500_000)) == pytest.approx(0.45, abs=1e-9)


def test_cached_tokens_cost_what_others_do_unless_a_price_is_given() -> None:
    """price_cached = -1 is price_in; 0 is for nothing."""
    plain = Prices.of(Operation(price_in=2.0, price_out=1.0))
    assert plain.money(1_000_000, 0, 400_000) == pytest.approx(2.0)
    assert Prices.of(Operation(price_in=2.0, price_cached=0.0)).money(1_000_000, 0, 400_000) == pytest.approx(1.2)


def test_no_more_can_be_cached_than_was_sent() -> None:
    """A server that counts more cached tokens than tokens does not make money."""
    assert PRICES.money(1_000_000, 0, 9_000_000) == pytest.approx(0.03)


def test_prices_of_an_older_start_are_none() -> None:
    """A line of starts.jsonl from before there were prices is read, and other settings in it do not matter."""
    assert not Prices.of_values({"time": "2026-01-01T00:00:00Z", "limit": 5}).known
    assert Prices.of_values({"price_out": 2.5, "currency": "EUR", "limit": 5}) == Prices(tokens_out=2.5, currency="EUR")


@pytest.mark.parametrize(
    ("money", "said"),
    [(0.0, "0.00 EUR"), (1234.5, "1,234.50 EUR"), (0.0123, "0.0123 EUR"), (0.000231, "0.000231 EUR")],
)
def test_money_is_shown_with_the_digits_that_tell(money: float, said: str) -> None:
    """Cents where there are some, more digits where it is less."""
    assert PRICES.shown(money) == said


def test_the_accounts_of_a_run_add_up_to_its_money() -> None:
    """The tally's cost, which MAX_COST is held against, is the sum over the stages."""
    tally = Tally()
    tally.add({"actors": Count(tokens_in=1_000_000), "labels": Count(tokens_out=1_000_000, tokens_in=1_000_000)})
    assert tally.cost(PRICES) == pytest.approx(0.15 + 0.15 + 0.60)


# Where it is shown ----------------------------------------------------------------------------------------------------


def test_the_table_has_tokens_seconds_and_money_of_each_stage() -> None:
    """Replies, tokens in, cached and out, seconds a reply, money; the last line is the sum of the others."""
    counts = {
        "actors": Count(asked=2, tokens_in=1_000_000, tokens_cached=500_000, tokens_out=100_000, seconds=3.0),
        "labels": Count(asked=2, tokens_in=2_000_000, tokens_out=1_000_000, seconds=1.0),
    }
    said = _shown(show.spent(counts, PRICES))
    rows = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.strip()}
    assert rows["actors"] == ["2", "1,000,000", "500,000", "100,000", "1.50", "0.1500"]
    assert rows["labels"] == ["2", "2,000,000", "0", "1,000,000", "0.50", "0.9000"]
    assert rows["all"] == ["4", "3,000,000", "500,000", "1,100,000", "1.00", "1.0500"]
    assert "EUR" in said


def test_a_column_that_holds_nothing_is_left_out() -> None:
    """Without cached tokens, times and prices there are no columns for them."""
    said = _shown(show.spent({"actors": Count(asked=1, tokens_in=10, tokens_out=5)}, Prices()))
    assert said.split("\n")[0].split() == ["stage", "replies", "tokens", "in", "tokens", "out"]


def test_tables_fit_a_narrow_terminal() -> None:
    """A stage of the longest name with millions of everything stands in one line of 100 columns."""
    most = 9_999_999
    big = Count(
        inputs=most, accepted=most, rejected=most, made=most, kept=most, dropped=most, asked=most, seconds=1e9,
        tokens_in=9_999_999_999, tokens_out=999_999_999, tokens_cached=999_999_999, reasons={"too_far": 9_999},
    )  # fmt: skip
    lines = _shown(show.accounts({"flip_appraisal": big}), show.spent({"flip_appraisal": big}, PRICES)).splitlines()
    assert len([line for line in lines if line.startswith("flip_appraisal")]) == 2
    assert "…" not in "".join(lines)
    assert len([line for line in lines if line.strip()]) == 5


def test_status_and_summary_say_what_a_row_costs(
    tales: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tokens and the money of their own stages, shared out among the rows of contextless and among the items."""
    out = tmp_path / "run"
    code, summary, _ = _called(capsys, "synth", tales(), "--out", out, "--price-in", 100, "--price-out", 200)
    assert code == 0
    found = _found(out)
    counts = show.together(found)
    money = (counts.tokens_in * 100 + counts.tokens_out * 200) / 1_000_000
    talks = {name: count for name, count in found.items() if name in build.TALKS}
    sizes = [len(factory.load(out).dataset(view)) for view in ("contextless", "mcq_eu", "mcq_ea")]
    _, status, _ = _called(capsys, "status", out)
    for said in (summary, status):
        assert re.search(
            rf"^all +{counts.asked:,} +{counts.tokens_in:,} +{counts.tokens_out:,} +{money:.4f}$", said, re.M
        )
        assert _each("rows of contextless", sizes[0], {n: c for n, c in found.items() if n not in talks}) in said
        assert _each("items", sum(sizes[1:]), talks) in said


def _each(what: str, rows: int, counts: dict[str, Count]) -> str:
    total = show.together(counts)
    money = (total.tokens_in * 100 + total.tokens_out * 200) / 1_000_000 / rows
    return (
        f"for each of the {rows:,} {what}: {total.tokens_in / rows:,.0f} tokens in and "
        f"{total.tokens_out / rows:,.0f} out, {money:.4f} USD"
    )


def _found(out: Path) -> dict[str, Count]:
    store, counts = Store(out), dict[str, Count]()
    for name in store.names():
        manifest = store.finished(name)
        assert manifest
        for stage, count in manifest.units.items():
            counts.setdefault(stage, Count()).add(count)
    return counts


def test_mended_replies_are_counted_by_kind(tales: Callable[..., Path], tmp_path: Path) -> None:
    """One line in the summary, the commonest kind first, and one in the card; none where nothing was mended."""
    store = Store(factory.synth(tales(), tmp_path / "run").out)
    counts = {"actors": Count(mended={"fence": 2}), "labels": Count(mended={"comma": 3, "fence": 2})}
    line = "mended before they could be read: fence 4, comma 3"
    assert line in _shown(*show.money(store, counts, counts))
    assert "mended" not in _shown(*show.money(store, {}, {}))
    assert line in card._rejects(counts, card.Measured())
    assert "mended" not in card._rejects({}, card.Measured())


class _Clock:
    """Time that goes on when it is told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_live_line_has_tokens_a_second_and_money(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens of replies over the last seconds; what was remembered at the start of a resumed run is not taken for speed."""
    clock, tally = _Clock(), Tally()
    monkeypatch.setattr(time, "monotonic", clock)
    pace = progress.Pace(tally, 10, PRICES)
    assert " 0 tokens/s out" in pace.line()
    clock.now += 0.5
    tally.counts["labels"].tokens_out = 1_000_000  # remembered
    assert " 0 tokens/s out" in pace.line()
    clock.now += 1.0
    pace.line()
    for _ in range(60):
        clock.now += 1.0
        tally.counts["labels"].tokens_out += 500
        line = pace.line()
        assert " 500 tokens/s out" in line
    assert " 0.6180 EUR" in line
    clock.now += 60.0
    pace.line()
    clock.now += 30.0
    assert " 0 tokens/s out" in pace.line()
    assert "EUR" not in progress.Pace(tally, 10).line()


def test_whoever_watches_is_told_the_prices(tales: Callable[..., Path], tmp_path: Path) -> None:
    """The display learns the prices of this start, of a resumed run those of the last."""
    told: list[Prices] = []

    class Watcher(run.Silent):
        def start(self, tally: Tally, passages: int, prices: Prices) -> None:
            told.append(prices)

    run.synth(tales(1), out=tmp_path / "run", operation=Operation(price_in=1.0, currency="EUR"), watcher=Watcher())
    run.synth(tales(2, name="more"), out=tmp_path / "two", operation=Operation(price_out=3.0), watcher=Watcher())
    assert told == [
        Prices(tokens_in=1.0, tokens_cached=1.0, currency="EUR"),
        Prices(tokens_out=3.0),
    ]


# Where a run stops for it ---------------------------------------------------------------------------------------------


def test_a_limit_of_money_ends_with_three_and_a_larger_one_goes_on_to_the_same_bytes(
    tales: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    dataset: Callable[[Path], Files],
    same_dataset: Callable[[Path, Files], None],
) -> None:
    """What was spent is said; status counts what open shards have paid for; nothing of money is in the dataset."""
    wanted = dataset(factory.synth(tales(6), tmp_path / "alone").out)
    out = tmp_path / "run"
    prices = ("--price-in", 1, "--price-out", 2, "--concurrency", 2)
    code, _, err = _called(capsys, "synth", tales(6), "--out", out, *prices, "--max-cost", 0.05)
    assert code == 3
    spent = float(re.search(r"MAX_COST=0\.05 is used up \(([\d.]+) USD\)", err)[1])  # type: ignore[index]
    assert 0.05 < spent < 0.07
    _, status, _ = _called(capsys, "status", out)
    paid = float(re.search(r"^all .* ([\d.]+)$", status, re.M)[1])  # type: ignore[index]
    assert paid == pytest.approx(spent, abs=0.01)
    code, again, err = _called(capsys, "resume", out, "--max-cost", 0.06)  # the prices are those of the last start
    assert (code, "MAX_COST=0.06" in err) == (3, True)
    code, again, _ = _called(capsys, "resume", out, "--max-cost", 10)
    assert (code, "USD" in again) == (0, True)
    same_dataset(out, wanted)


def test_python_resumes_with_a_limit_alone(tales: Callable[..., Path], tmp_path: Path) -> None:
    """factory.resume too knows the prices of the last start."""
    out = tmp_path / "run"
    with pytest.raises(Stopped, match=r"MAX_COST=0\.01"):
        factory.synth(tales(), out, price_in=1.0, max_cost=0.01)
    factory.resume(out, max_cost=5.0)
    assert len(factory.load(out).dataset()) > 0


def test_a_limit_of_money_without_prices_is_refused(
    tales: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence names the options that are missing, and nothing is written."""
    code, _, err = _called(capsys, "synth", tales(), "--out", tmp_path / "run", "--max-cost", 5)
    assert code == 2
    assert "give PRICE_IN and PRICE_OUT" in err
    assert not (tmp_path / "run").exists()


def test_a_round_before_is_still_paid_for(tales: Callable[..., Path], tmp_path: Path) -> None:
    """Replies that made rejects and were asked for again stay in the accounts: the tokens are those of all replies."""
    out = tmp_path / "run"
    run.synth(tales(4), out=out, operation=Operation(faults="malformed=0.8", max_rejects=1.0))
    before = sum(count.asked for count in run.synth(tales(4), out=out).tally.counts.values())
    _, _, result = run.retry(out)
    store = Store(out)
    table = pa.concat_tables([store.table(name, "replies") for name in store.names()])
    counts = result.tally.counts.values()
    assert sum(count.asked for count in counts) == table.num_rows > before
    assert sum(count.tokens_in for count in counts) == sum(table["tokens_in"].to_pylist())
