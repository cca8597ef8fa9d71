"""What a run has reached, and the clock of its training time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from ganterm.core.controls import Controls
from ganterm.core.snapshot import Counters, State

RATE_SECONDS = 3.0
"""Training time over which the speed in steps a second is averaged."""


class Clock:
    """Training time in seconds; it stands while the run is paused.

    ``seconds`` is the training time of earlier sittings.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._before = seconds
        self._since: float | None = None
        self._marks: deque[tuple[float, int]] = deque()
        self._rate = 0.0

    @property
    def seconds(self) -> float:
        """Training time so far, without pauses."""
        if self._since is None:
            return self._before
        return self._before + time.perf_counter() - self._since

    def start(self) -> None:
        """Let the clock run."""
        if self._since is None:
            self._since = time.perf_counter()
            self._marks.clear()

    def stop(self) -> None:
        """Stop the clock."""
        self._before, self._since = self.seconds, None

    def go_back(self, seconds: float) -> None:
        """Stop the clock and set it to ``seconds``."""
        self._before, self._since = seconds, None
        self._marks.clear()

    def steps_per_s(self, step: int) -> float:
        """The speed over the last ``RATE_SECONDS``; ``step`` is the newest completed step."""
        now = self.seconds
        if not self._marks or self._marks[-1][1] != step:
            self._marks.append((now, step))
        while len(self._marks) > 2 and now - self._marks[0][0] > RATE_SECONDS:
            self._marks.popleft()
        (since, first), (until, last) = self._marks[0], self._marks[-1]
        if until > since:
            self._rate = (last - first) / (until - since)
        return self._rate


@dataclass
class Progress:
    """What a run has reached. The loop changes it; everything else in its thread reads it.

    ``controls`` contain the scheduled changes up to and including the step ``scheduled``.
    ``scalars`` is the newest row that was copied to the host.
    """

    step: int
    branch: int
    controls: Controls
    counters: Counters
    scheduled: int
    scalars: Mapping[str, float]
    clock: Clock
    state: State = "running"
