"""Ends the processes that a library began for us where this process is killed before it can.

vLLM's engine is a process of its own and outlives a kill -9 of the one that began it, with all the memory of the GPU: the
run could not be resumed. A watcher waits at the other end of a pipe, which closes however this process ends.
"""

import subprocess
import sys
from collections.abc import Iterable

# A number may have gone to another process by then: those of ours carry these words in their command line.
_WATCH = """
import os, pathlib, sys
for number in [int(line) for line in sys.stdin]:
    try:
        words = pathlib.Path(f"/proc/{number}/cmdline").read_bytes()
    except OSError:
        continue
    if b"EngineCore" in words or b"multiprocessing" in words:
        os.kill(number, 9)
"""


class Guard:
    """Watches over processes from `over` until `dismiss`."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._watcher = subprocess.Popen(  # noqa: S603 - the words above and nothing from outside
            [sys.executable, "-I", "-S", "-c", _WATCH],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process, which then ends them itself
            text=True,
        )

    def over(self, numbers: Iterable[int]) -> None:
        """These processes end with this one."""
        assert self._watcher.stdin is not None
        for number in set(numbers) - self._known:
            self._known.add(number)
            self._watcher.stdin.write(f"{number}\n")
            self._watcher.stdin.flush()

    def dismiss(self) -> None:
        """They have ended."""
        self._watcher.kill()
        self._watcher.communicate()
