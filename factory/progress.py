"""What long work shows: a live table on a terminal, a plain line now and then where there is none."""

import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from factory.cost import Prices
from factory.runner import Tally

LINE_SECONDS = 10.0
WINDOW_SECONDS = 20.0  # over which tokens a second are taken
_REMEMBERED_SECONDS = 1.0  # in which what is remembered comes in, which no engine wrote now


def watcher(console: Console) -> "Screen | Lines":
    """The one that fits where the output goes."""
    return Screen(console) if console.is_terminal else Lines(console)


class Screen:
    """Redrawn four times a second from the accounts that the runner keeps; it costs the run nothing else."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def start(self, tally: Tally, passages: int, prices: Prices) -> None:
        self._tally, self._pace = tally, Pace(tally, passages, prices)
        self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=4, transient=True)
        self._live.start()

    def say(self, sentence: str) -> None:
        """A line that stays, above the table."""
        self._console.print(Text(sentence, style="cyan"))

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self) -> Group:
        tally = self._tally
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("stage", "asked", "done", "rejected", "rows", "dropped", "tokens out"):
            table.add_column(name, justify="left" if name == "stage" else "right")
        for stage, c in list(tally.counts.items()):
            rejected = Text(f"{c.rejected:,}", style="red" if c.rejected else "dim")
            table.add_row(
                stage, f"{c.asked:,}", f"{c.accepted:,}", rejected, f"{c.kept:,}", f"{c.dropped:,}", f"{c.tokens_out:,}"
            )
        bar = Table.grid(padding=(0, 1))
        bar.add_row(ProgressBar(total=max(1, self._pace.passages), completed=tally.passages_done, width=40))
        return Group(table, bar, Text(self._pace.line(), style="cyan"))


class Lines:
    """One line every ten seconds and one for each thing said: fit for a log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, tally: Tally, passages: int, prices: Prices) -> None:
        self._done.clear()
        pace = Pace(tally, passages, prices)
        self._thread = threading.Thread(target=self._lines, args=(pace,), daemon=True)
        self._thread.start()

    def say(self, sentence: str) -> None:
        self._console.print(Text(sentence))

    def stop(self) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def _lines(self, pace: "Pace") -> None:
        due = LINE_SECONDS
        while not self._done.wait(1.0):
            line = pace.line()
            if pace.seconds >= due:
                due += LINE_SECONDS
                self._console.print(line, highlight=False, soft_wrap=True)


@dataclass
class Pace:
    """How far a run is, how quickly it goes and what it has cost: one line, made whenever somebody looks."""

    tally: Tally
    passages: int
    prices: Prices = field(default_factory=Prices)

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._before = self.tally.passages_done
        self._seen: deque[tuple[float, int]] = deque()  # seconds, tokens out

    @property
    def seconds(self) -> float:
        return max(0.001, time.monotonic() - self._began)

    def tokens_a_second(self) -> float:
        """Tokens of replies, of late; to be asked for often."""
        now, tokens = self.seconds, sum(c.tokens_out for c in list(self.tally.counts.values()))
        if now < _REMEMBERED_SECONDS:
            return 0.0
        self._seen.append((now, tokens))
        while len(self._seen) > 2 and self._seen[1][0] < now - WINDOW_SECONDS:
            self._seen.popleft()
        first, before = self._seen[0]
        return (tokens - before) / (now - first) if now > first else 0.0

    def line(self) -> str:
        """Passages done of all, replies and tokens so far, rates, money where it is known, time left."""
        counts = list(self.tally.counts.values())
        asked, remembered = sum(c.asked for c in counts), sum(c.remembered for c in counts)
        rejected, tokens = sum(c.rejected for c in counts), sum(c.tokens_in + c.tokens_out for c in counts)
        seconds, reached = self.seconds, self.tally.passages_done
        fresh = reached - self._before
        left = clock((self.passages - reached) * seconds / fresh) if fresh else "not known yet"
        rate = max(0.0, asked - self.tally.known) / seconds
        parts = [
            f"passages {reached:,} of {self.passages:,}",
            f"replies {asked:,} ({remembered:,} remembered)",
            f"rejected {rejected:,}",
            f"tokens {tokens:,}",
            f"{rate:,.0f} replies/s",
            f"{self.tokens_a_second():,.0f} tokens/s out",
            *([self.prices.shown(self.tally.cost(self.prices))] if self.prices.known else []),
            f"left {left}",
        ]
        return " · ".join(parts)


def clock(seconds: float) -> str:
    """'42 s', '3 min 20 s', '2 h 05 min'."""
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def stdout() -> Console:
    """The console for results; no colour and no wrapping where it is not a terminal."""
    return Console(file=sys.stdout) if sys.stdout.isatty() else Console(file=sys.stdout, width=160, soft_wrap=True)


def stderr() -> Console:
    return Console(stderr=True)
