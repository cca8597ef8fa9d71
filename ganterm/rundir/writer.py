"""The thread that writes a run's files, so that no slow or full disk holds a training step up."""

from __future__ import annotations

import errno
import queue
import threading
import time
from collections import deque
from collections.abc import Callable

from ganterm.core.text import clean
from ganterm.system.files import in_words

RETRY_SECONDS = 2.0
LOOK_SECONDS = 1.0
_FULL = (errno.ENOSPC, errno.EDQUOT)

Write = Callable[[], None]


class Writer:
    """Writes what is put in lines, each line in its order. OSError of one makes its line wait and
    try again, the others go on; ``trouble`` says what waits, and why.

    ``look_after`` is called in the same thread now and then, whatever waits.
    """

    def __init__(self, look_after: Write) -> None:
        self.trouble: str | None = None
        self._longest = 0
        self._look_after = look_after
        self._put: queue.Queue[tuple[str, Write] | None] = queue.Queue()
        self._lines: dict[str, deque[Write]] = {}
        self._troubles: dict[str, str] = {}
        self._thread = threading.Thread(target=self._work, name="ganterm-writer", daemon=True)

    @property
    def waiting(self) -> int:
        """Writes in the longest line, and those that came since."""
        return self._longest + self._put.qsize()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, line: str, write: Write) -> None:
        """Have ``write`` called once all that is in its line has been written."""
        self._put.put((line, write))

    def close(self) -> None:
        """Write what is in line, waiting for it; what the disk refuses now is given up."""
        self._put.put(None)
        self._thread.join()

    def _work(self) -> None:
        retry_at, look_at = 0.0, 0.0
        while True:
            try:
                found = self._put.get(timeout=LOOK_SECONDS / 2 if self._lines else LOOK_SECONDS)
            except queue.Empty:
                pass
            else:
                if found is None:
                    break
                line, write = found
                self._lines.setdefault(line, deque()).append(write)
                if line not in self._troubles:
                    retry_at = self._try(line) or retry_at
            clock = time.monotonic()
            if clock >= look_at:
                self._look_after()
                look_at = clock + LOOK_SECONDS
            if self._lines and clock >= retry_at:
                for line in tuple(self._lines):
                    retry_at = self._try(line) or retry_at
        for line in tuple(self._lines):
            self._try(line, last=True)

    def _try(self, line: str, last: bool = False) -> float | None:
        """Write what is in a line; when to try again if that fails."""
        writes, again, failed = self._lines[line], None, False
        while writes:
            try:
                writes[0]()
            except OSError as error:
                self._troubles[line] = _waits(error)
                again, failed = time.monotonic() + RETRY_SECONDS, True
                if not last:
                    break
            else:
                if not failed:
                    self._troubles.pop(line, None)
            writes.popleft()
        if not writes:
            del self._lines[line]
        self._longest = max(map(len, self._lines.values()), default=0)
        # The first that waits, so that the words stay the same while it does.
        self.trouble = next(iter(self._troubles.values()), None)
        return again


def _waits(error: OSError) -> str:
    full = error.errno in _FULL
    return f"recording waits: {clean(error.strerror if full else in_words(error))}"
