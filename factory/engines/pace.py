"""How many requests a server gets at a time, and whether it gets any. Pure: time is what the caller says it is."""

from dataclasses import dataclass

FIRST = 8  # slots at the start; fewer teach nothing about a server that batches
_REST = 4  # rounds of replies that are looked at before the next careful change: one alone is noise
_GREW, _FELL = 1.05, 0.98  # of the rate before a change: beyond these it paid, or cost
_SLOW = 2.0  # times the lowest latency: by Little's law half of what is in flight only waits there


@dataclass
class Slots:
    """The number of requests in flight, found while running: doubled while each doubling pays, then in small steps.

    A round is as many replies as there are slots. Work is counted in tokens where the server counts them, rate and latency
    by it, so that a round of long replies is not taken for a slow server. `fixed` keeps the number at `most`.
    """

    most: int
    fixed: bool = False

    def __post_init__(self) -> None:
        self.count = self.most if self.fixed else min(FIRST, self.most)
        self._doubling = True
        self._rate_before = 0.0  # of the window before the last change
        self._count_before = 0  # where the last change was a cut for slowness; 0 where it was not
        self._slow_before = 0.0  # seconds for a unit of work then
        self._lowest = float("inf")  # the same in the quickest window
        self._rounds = 1
        self._restart(0.0)

    def _restart(self, now: float) -> None:
        self._began, self._replies, self._work, self._seconds = now, 0, 0.0, 0.0
        self._full = False

    def answered(self, now: float, seconds: float, work: float, full: bool) -> None:
        """A reply came after so many seconds; `full` says that no slot was free until then."""
        if self.fixed:
            return
        if not self._replies:
            self._began = max(self._began, now - seconds)
        self._replies += 1
        self._work += work
        self._seconds += seconds
        self._full |= full
        if self._replies >= self._rounds * self.count:
            self._judge(now)

    def busy(self, now: float) -> None:
        """The server asks for fewer: a quarter less. To be called once for all that were in flight together."""
        if self.fixed:
            return
        enough = 2 * self._replies >= self.count and now > self._began
        rate = self._work / (now - self._began) if enough else self._rate_before
        self._change(max(1, int(self.count * 0.75)), rate, now, rest=True)
        self._doubling = False

    def _judge(self, now: float) -> None:
        """What the window that ends now says about the number of slots."""
        if not self._full:  # the work was too little to need them, so nothing was learnt
            self._restart(now)
            return
        rate, latency = self._work / max(now - self._began, 1e-9), self._seconds / self._work
        grew = rate > _GREW * self._rate_before
        if self._count_before and rate < _FELL * self._rate_before:
            # The slots that were cut did pay: such a latency is what this server is like.
            self._lowest = max(self._lowest, self._slow_before / _SLOW)
            self._change(self._count_before, rate, now, rest=True)
            return
        self._lowest = min(self._lowest, latency)
        if self._doubling and grew:
            self._change(self.count * 2, rate, now)
        elif latency > _SLOW * self._lowest and not grew and self.count > FIRST:
            before, self._slow_before, self._doubling = self.count, latency, False
            rate = max(rate, self._rate_before) if self._count_before else rate  # many small losses are one large one
            self._change(max(FIRST, int(self.count * 0.9)), rate, now, rest=True)
            self._count_before = before
        else:
            self._doubling = False
            self._change(self.count + max(1, self.count // 8), rate, now, rest=not grew)

    def _change(self, count: int, rate: float, now: float, rest: bool = False) -> None:
        self.count = min(count, self.most)
        self._rate_before, self._count_before, self._rounds = rate, 0, _REST if rest else 1
        self._restart(now)


@dataclass
class Breaker:
    """Stops asking a server that fails again and again, but for one trial at a time; gives up after `patience_seconds`.

    An answer of any kind (a refusal, a 429) is a sign of life and closes it.
    """

    patience_seconds: float
    most_failures: int = 8
    first_wait_seconds: float = 0.25
    longest_wait_seconds: float = 5.0

    def __post_init__(self) -> None:
        self.open = False
        self.trying = False  # a trial is on its way
        self.next_trial = 0.0
        self._row = 0  # failures since the last answer
        self._since = 0.0
        self._wait = self.first_wait_seconds
        self._tried_until = 0.0
        self._slowest = 0.0  # seconds of the slowest answer so far

    def answered(self, seconds: float) -> None:
        self.open, self._row = False, 0
        if seconds > self._slowest:
            self._slowest = seconds

    def failed(self, now: float, *, down: bool, trial: bool) -> None:
        """A request found nobody (`down`) or got no answer; the first of the former opens, or eight of the others."""
        self._row += 1
        if self._row == 1:
            self._since = now
        if self.open:
            if trial:
                self._wait = min(2 * self._wait, self.longest_wait_seconds)
                self.next_trial = now + self._wait
        elif down or self._row >= self.most_failures:
            self.open, self._wait = True, self.first_wait_seconds
            self.next_trial = now + self._wait

    def tries(self, now: float) -> None:
        """A trial goes out; a server whose replies are slow has the time of two of them for it."""
        self.trying, self._tried_until = True, now + 2 * self._slowest

    @property
    def end(self) -> float:
        """When patience is over."""
        end = self._since + self.patience_seconds
        return max(end, self._tried_until) if self.trying else end

    def forget(self) -> None:
        """Begin with new patience: whoever asks after the end asks anew."""
        self.open, self._row = False, 0
