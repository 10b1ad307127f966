"""What long work shows: a live table on a terminal, a plain line now and then where there is none."""

import sys
import threading
import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from factory.runner import Tally

LINE_SECONDS = 10.0


def watcher(console: Console) -> "Screen | Lines":
    """The one that fits where the output goes."""
    return Screen(console) if console.is_terminal else Lines(console)


class Screen:
    """Redrawn four times a second from the accounts that the runner keeps; it costs the run nothing else."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._note = ""

    def start(self, tally: Tally, passages: int) -> None:
        self._tally, self._passages, self._began = tally, passages, time.monotonic()
        self._before = tally.passages_done
        self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=4, transient=True)
        self._live.start()

    def say(self, sentence: str) -> None:
        self._note = sentence

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
        bar.add_row(ProgressBar(total=max(1, self._passages), completed=tally.passages_done, width=40))
        line = Text(self._note or pace(tally, self._passages, self._began, self._before), style="cyan")
        return Group(table, bar, line)


class Lines:
    """One line every ten seconds and one for each thing said: fit for a log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, tally: Tally, passages: int) -> None:
        self._done.clear()
        self._thread = threading.Thread(target=self._lines, args=(tally, passages), daemon=True)
        self._thread.start()

    def say(self, sentence: str) -> None:
        self._console.print(sentence, highlight=False)

    def stop(self) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()

    def _lines(self, tally: Tally, passages: int) -> None:
        began, before = time.monotonic(), tally.passages_done
        while not self._done.wait(LINE_SECONDS):
            self._console.print(pace(tally, passages, began, before), highlight=False, soft_wrap=True)


def pace(tally: Tally, passages: int, began: float, before: int) -> str:
    """Passages done of all, replies and tokens so far, rate and time left."""
    counts = list(tally.counts.values())
    asked, remembered = sum(c.asked for c in counts), sum(c.remembered for c in counts)
    rejected, tokens = sum(c.rejected for c in counts), sum(c.tokens_in + c.tokens_out for c in counts)
    seconds = max(0.001, time.monotonic() - began)
    reached = tally.passages_done
    fresh = reached - before
    left = clock((passages - reached) * seconds / fresh) if fresh else "not known yet"
    rate = max(0.0, asked - tally.known) / seconds
    return (
        f"passages {reached:,} of {passages:,} · replies {asked:,} ({remembered:,} remembered) · "
        f"rejected {rejected:,} · tokens {tokens:,} · {rate:,.0f} replies/s · left {left}"
    )


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
