"""What a piece of the trainer's work costs, in seconds that a busy machine does not stretch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import torch

MOST_A_STEP = 1.0
"""Seconds of the clock that a step may count for: a program that was stopped for an hour has done
nothing meanwhile."""


class Effort:
    """Measures training and diagnosis in one unit, so that one is a share of the other.

    On a CPU: processor time of the calling thread. It takes its part in whatever torch spreads over
    several threads, so it is as long as the work is on an idle machine; what other programs take
    does not count. On CUDA: the device's own time between two events of its stream, which are read
    once they have passed, without waiting for them; beside it, and on other devices, the clock.
    """

    def __init__(self, device: torch.device) -> None:
        self._kind = device.type
        self._before: float | None = None
        self._coming: deque[tuple[torch.cuda.Event, torch.cuda.Event, Callable[[float], None]]]
        self._coming = deque()

    def trained(self, seconds: float) -> float:
        """The effort since the last call, the first's 0; ``seconds``: the training's clock now."""
        now = time.thread_time() if self._kind == "cpu" else seconds
        before, self._before = self._before, now
        if before is None:
            return 0.0
        return now - before if self._kind == "cpu" else min(now - before, MOST_A_STEP)

    def begin(self) -> Callable[[Callable[[float], None]], None]:
        """Begin to measure; what is returned ends it, and has the effort told to what it is given.

        That is at once, but on CUDA in a later ``settle``.
        """
        if self._kind == "cuda":
            start = _passed()
            return lambda tell: self._coming.append((start, _passed(), tell))
        clock = time.thread_time if self._kind == "cpu" else time.perf_counter
        began = clock()
        return lambda tell: tell(clock() - began)

    def settle(self) -> None:
        """Tell what has been measured by now."""
        while self._coming and self._coming[0][1].query():
            start, end, tell = self._coming.popleft()
            tell(start.elapsed_time(end) / 1000)


def _passed() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event
