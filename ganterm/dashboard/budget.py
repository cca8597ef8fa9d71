"""The dashboard's own cost, measured, and the frame rate that keeps it small."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ganterm.dashboard.draw.numbers import size

CHARTS_PER_S = 4.0
SAMPLES_PER_S = 2.0
LEVELS = ((4.0, 2.0), (4.0, 1.0), (2.0, 1.0), (2.0, 0.5), (1.0, 0.5), (0.5, 0.25))
"""Charts and sample pictures a second, from the best to the most frugal."""
PICTURES = (1.0, 1.0, 1.0, 1.0, 0.75, 0.75)
"""At each level, the share of its room that the sample picture takes, across and down."""
MOST_SHARE = 0.03
"""Share of one core that watching may take.

Training in the same process, which is to keep 95 % of its speed, loses more than that: the
interpreter is shared, and a frame leaves the caches cold.
"""
MOST_BYTES = 100_000
"""Bytes a second that may go to the terminal."""
BACK = 0.44
"""Share of the budget below which the rate is raised again: no level costs more than 1 / 0.44 of
the next lower one."""
LATE = 1.5
"""Intervals after which a tick counts as late: a slow link, or a busy machine."""
_WINDOW = 2.0
_ASLEEP = 1.5


@dataclass(frozen=True)
class Cost:
    """What watching costs: share of one core (0..1), bytes a second to the terminal, and level."""

    share: float = 0.0
    bytes_per_s: float = 0.0
    level: int = 0

    @property
    def picture(self) -> float:
        """The share of its room that the sample picture is to take, across and down."""
        return PICTURES[self.level]

    def __str__(self) -> str:
        charts, _ = LEVELS[self.level]
        slowed = f" at {charts:g} Hz" if self.level else ""
        return f"UI {100 * self.share:4.1f} % {size(self.bytes_per_s):>7}/s{slowed}"


class Budget:
    """Fed once a tick by the event loop's thread; draws less often while it is over budget.

    ``busy`` is the processor time in seconds that ``measured_ticks`` of all ``ticks`` took.
    """

    def __init__(self) -> None:
        self.cost = Cost()
        self.ticks = 0
        self.measured_ticks = 0
        self.busy = 0.0
        now = time.perf_counter()
        self._window = (now, time.thread_time(), 0, 0)
        self._last = now
        self._used = time.thread_time()
        self._late = 0

    @property
    def rates(self) -> tuple[float, float]:
        """Charts and sample pictures a second."""
        return LEVELS[self.cost.level]

    def due(self, per_s: float) -> bool:
        """Whether what is drawn ``per_s`` times a second is to be drawn in this tick."""
        return self.ticks % max(1, round(CHARTS_PER_S / per_s)) == 0

    def tick(self, bytes_sent: int, judged: bool = True, behind: bool = False) -> None:
        """Count a tick; ``bytes_sent`` is the total so far. What is not judged costs no rate.

        ``behind``: the terminal has not taken yet what was drawn before, as on a slow link.
        """
        now = time.perf_counter()
        self.ticks += 1
        self._late += behind or now - self._last > LATE / CHARTS_PER_S
        slept, self._last = now - self._last > _ASLEEP, now
        used = time.thread_time()
        took, self._used = used - self._used, used
        if slept or not judged:
            # Nothing can be said of a time in which the process was stopped, or still loading.
            self._window, self._late = (now, used, bytes_sent, self.ticks), 0
            return
        self.busy += took
        self.measured_ticks += 1
        since, busy, sent, ticks = self._window
        if now - since >= _WINDOW:
            late = 2 * self._late > self.ticks - ticks
            self.judge((used - busy) / (now - since), (bytes_sent - sent) / (now - since), late)
            self._window, self._late = (now, used, bytes_sent, self.ticks), 0

    def judge(self, share: float, bytes_per_s: float, late: bool) -> None:
        """Take one window's measurements and choose the rates of the next.

        A level is given back only where what it costs more would fit, so that it does not swing.
        """
        level = self.cost.level
        if share > MOST_SHARE or bytes_per_s > MOST_BYTES or late:
            level = min(level + 1, len(LEVELS) - 1)
        elif share < BACK * MOST_SHARE and bytes_per_s < BACK * MOST_BYTES:
            level = max(level - 1, 0)
        self.cost = Cost(share, bytes_per_s, level)
