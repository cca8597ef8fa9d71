"""The thread that writes a run's files, so that a slow or full disk does not delay training."""

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
"""Seconds from a failed write to the next attempt."""
LOOK_SECONDS = 1.0
"""Least seconds between two calls of ``look_after``."""
_FULL = (errno.ENOSPC, errno.EDQUOT)

Write = Callable[[], None]


class Writer:
    """Carries out writes from several queues, called lines, each in its own order.

    After an OSError a line waits and tries again, while the others continue; ``trouble`` then says
    why it waits. The thread also calls ``look_after`` about every ``LOOK_SECONDS``.
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
        """Number of writes in the longest line, with those that are not in a line yet."""
        return self._longest + self._put.qsize()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, line: str, write: Write) -> None:
        """Call ``write`` in the thread after all earlier writes of its line."""
        self._put.put((line, write))

    def close(self) -> None:
        """Carry out all waiting writes and wait for them; those that fail now are given up."""
        self._put.put(None)
        self._thread.join()

    def _work(self) -> None:
        retry_at, look_at = 0.0, 0.0
        while True:
            try:
                entry = self._put.get(timeout=LOOK_SECONDS / 2 if self._lines else LOOK_SECONDS)
            except queue.Empty:
                pass
            else:
                if entry is None:
                    break
                line, write = entry
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
        """Carry out a line's writes; the time to try again if one fails, else None.

        ``last``: a write that fails is given up, and the next ones are still tried.
        """
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
        # The oldest trouble, so that the message stays the same while its line waits.
        self.trouble = next(iter(self._troubles.values()), None)
        return again


def _waits(error: OSError) -> str:
    full = error.errno in _FULL
    return f"recording waits: {clean(error.strerror if full else in_words(error))}"
