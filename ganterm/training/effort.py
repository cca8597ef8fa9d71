"""The cost of training and diagnosis, in seconds that do not depend on the machine's load."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import torch

MOST_A_STEP = 1.0
"""Most seconds that a step counts for by the clock; a suspended program does no work meanwhile."""


class Effort:
    """Measures training and diagnosis in the same unit, so that one is a share of the other.

    On a CPU the unit is processor time of the calling thread, which takes its part in work that
    torch spreads over several threads; other programs do not count. On CUDA, diagnosis is measured
    by events of the device's stream, read without waiting for them. Training on CUDA, and both on
    other devices, are measured by the clock.
    """

    def __init__(self, device: torch.device) -> None:
        self._kind = device.type
        self._before: float | None = None
        self._coming: deque[tuple[torch.cuda.Event, torch.cuda.Event, Callable[[float], None]]]
        self._coming = deque()

    def trained(self, seconds: float) -> float:
        """The effort since the last call, 0 at first; ``seconds`` is the training clock now."""
        now = time.thread_time() if self._kind == "cpu" else seconds
        before, self._before = self._before, now
        if before is None:
            return 0.0
        return now - before if self._kind == "cpu" else min(now - before, MOST_A_STEP)

    def begin(self) -> Callable[[Callable[[float], None]], None]:
        """Start a measurement; returns a function that ends it and passes the effort to a callback.

        The callback is called at once, on CUDA in a later ``settle``.
        """
        if self._kind == "cuda":
            start = _passed()
            return lambda tell: self._coming.append((start, _passed(), tell))
        clock = time.thread_time if self._kind == "cpu" else time.perf_counter
        began = clock()
        return lambda tell: tell(clock() - began)

    def settle(self) -> None:
        """Call the callbacks of measurements that are complete."""
        while self._coming and self._coming[0][1].query():
            start, end, tell = self._coming.popleft()
            tell(start.elapsed_time(end) / 1000)


def _passed() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event
