"""Where a run stands between two iterations."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from ganterm.core.controls import Controls
from ganterm.core.snapshot import Counters, State


@dataclass
class Standing:
    """What the loop changes and the rest of the trainer's room reads; all in one thread.

    ``scheduled``: the last step whose scheduled changes are in ``controls``; ``scalars``: the
    newest row that was copied out.
    """

    step: int
    branch: int
    controls: Controls
    counters: Counters
    scheduled: int
    scalars: Mapping[str, float]
    state: State = "running"


# Training time without pauses, and the speed over the last few seconds.

RATE_SECONDS = 3.0


class Pace:
    """A clock that stands while the run rests; ``seconds`` were trained before."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._before = seconds
        self._since: float | None = None
        self._marks: deque[tuple[float, int]] = deque()
        self._rate = 0.0

    @property
    def seconds(self) -> float:
        """Training time so far, pauses left out."""
        if self._since is None:
            return self._before
        return self._before + time.perf_counter() - self._since

    @property
    def going(self) -> bool:
        """Whether the clock runs."""
        return self._since is not None

    def go(self) -> None:
        """Let the clock run."""
        if self._since is None:
            self._since = time.perf_counter()
            self._marks.clear()

    def rest(self) -> None:
        """Stop the clock."""
        self._before, self._since = self.seconds, None

    def go_back(self, seconds: float) -> None:
        """Stop the clock where ``seconds`` were trained."""
        self._before, self._since = seconds, None
        self._marks.clear()

    def steps_per_s(self, step: int) -> float:
        """Note that ``step`` is reached now; the speed over the last seconds of training."""
        now = self.seconds
        if not self._marks or self._marks[-1][1] != step:
            self._marks.append((now, step))
        while len(self._marks) > 2 and now - self._marks[0][0] > RATE_SECONDS:
            self._marks.popleft()
        (since, first), (until, last) = self._marks[0], self._marks[-1]
        if until > since:
            self._rate = (last - first) / (until - since)
        return self._rate
