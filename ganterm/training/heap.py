"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import cache

SECONDS = 10.0


class Heap:
    """Gives what is free of the C heap back, every ``SECONDS``.

    glibc gives back the end of its heap alone. What exams and looks take and free, up to 100 MB by
    now and then, stays below what they leave behind, so a run that is watched seems to grow for
    hours. It takes some 2 ms; other libraries of C have no such call, or no such need.
    """

    def __init__(self) -> None:
        self._next_at = time.monotonic() + SECONDS

    def tend(self) -> None:
        """Do it where it is time to."""
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + SECONDS
            give_back()


def give_back() -> None:
    """Give whole free pages back now, wherever in the heap they lie."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
