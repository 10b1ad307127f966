"""One family of errors; each sentence names its cure.

FactoryError
 |- WrongRequest      the person asked for something that cannot be done       exit 2, nothing written
 |- Stopped           the run cannot go on now, and can be resumed             exit 3
 |- Interrupted       the person or the system asked it to stop                exit 130
 |- BadReply          one reply is unusable: data, never the end of a run      read by the stage driver
 '- EngineFault       the engine gave no reply
     |- Transient         worth asking again, a stated number of times
     |   |- Busy           the server asks for fewer requests (429)
     |   '- Down           nobody took the request: waited for, with patience
     |- Refused           this request will never be answered: rejects its unit
     '- Unreachable       nobody answers at all: ends the run as Stopped
"""


class FactoryError(Exception):
    """Root of the family; `exit_code` is what the command line ends with."""

    exit_code = 2


class WrongRequest(FactoryError):
    """The request is wrong as a whole; the sentence names the cure and nothing was written."""


class Stopped(FactoryError):
    """A limit, a full disk or a dead engine: what is done is kept, the same command goes on."""

    exit_code = 3


class Interrupted(FactoryError):
    """Ctrl-C or SIGTERM: what is done is kept, the same command goes on."""

    exit_code = 130


class BadReply(FactoryError):
    """One reply that cannot be used; `reason` is a stable word, `detail` is for people and for the repair."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class EngineFault(FactoryError):
    """The engine gave no reply to one request."""

    exit_code = 3


class Transient(EngineFault):
    """A fault that may pass (a 503, a reset): asked again a stated number of times."""


class Busy(Transient):
    """Too many requests at once; `retry_after_seconds` is what the server asked for, if it did."""

    def __init__(self, sentence: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(sentence)
        self.retry_after_seconds = retry_after_seconds


class Down(Transient):
    """No connection came about, so nothing was asked: waiting for the server costs no try."""


class Refused(EngineFault):
    """The server read this request and will never answer it; `reason` is a stable word, as with BadReply."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Unreachable(EngineFault):
    """The engine does not answer anybody; the run stops and can be resumed."""
