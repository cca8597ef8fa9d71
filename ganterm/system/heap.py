"""The heap of the C library: its free memory goes back to the system. No torch."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import cache

TRIM_SECONDS = 10.0
"""Time between two returns of free heap memory; each takes some 2 ms."""


class Heap:
    """Returns free memory of the C heap to the system, every ``TRIM_SECONDS``.

    glibc itself returns only the end of its heap. Exams and samples now and then take and free up
    to 100 MB below small objects that stay, so a watched run would seem to grow for hours. Other C
    libraries have no such call, or no need of it.
    """

    def __init__(self) -> None:
        self._next_at = time.monotonic() + TRIM_SECONDS

    def tend(self) -> None:
        """Return free memory if it is time to."""
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + TRIM_SECONDS
            give_back()


def give_back() -> None:
    """Return whole free pages now, wherever in the heap they lie."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
