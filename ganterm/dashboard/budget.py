"""The dashboard's own cost, measured, and the frame rate that keeps it small."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ganterm.dashboard.draw.numbers import size

CHARTS_PER_S = 4.0
SAMPLES_PER_S = 2.0
"""Charts and sample pictures drawn per second while the dashboard is within its budget."""
LEVELS = ((4.0, 2.0), (4.0, 1.0), (2.0, 1.0), (2.0, 0.5), (1.0, 0.5), (0.5, 0.25))
"""Charts and sample pictures per second at each level, from the best to the most frugal."""
PICTURES = (1.0, 1.0, 1.0, 1.0, 0.75, 0.75)
"""Share of its room that the sample picture takes, across and down, at each level."""
MOST_SHARE = 0.03
"""Largest share of one core that watching may take.

Training in the same process must keep 95 % of its speed. It loses more than this share, because
the interpreter is shared and each frame evicts the trainer's data from the caches.
"""
MOST_BYTES = 100_000
"""Most bytes per second that may go to the terminal."""
BACK = 0.44
"""Share of the budget below which the rate is raised again. Each level costs at most 1 / 0.44 of
the next lower one, so the higher rate stays within the budget."""
LATE = 1.5
"""Intervals after which a tick counts as late, because of a slow link or a busy machine."""
_WINDOW = 2.0
"""Seconds over which the cost is measured before the rates are chosen again."""
_ASLEEP = 1.5
"""Seconds without a tick after which the process is taken to have been suspended."""


@dataclass(frozen=True)
class Cost:
    """The cost of watching: share of one core (0..1), bytes per second, and place in ``LEVELS``."""

    share: float = 0.0
    bytes_per_s: float = 0.0
    level: int = 0

    @property
    def picture(self) -> float:
        """Share of its room that the sample picture may take, across and down."""
        return PICTURES[self.level]

    def __str__(self) -> str:
        charts, _ = LEVELS[self.level]
        slowed = f" at {charts:g} Hz" if self.level else ""
        return f"UI {100 * self.share:4.1f} % {size(self.bytes_per_s):>7}/s{slowed}"


class Budget:
    """Chooses how often to draw, from what drawing has cost; the event loop feeds it once a tick.

    ``busy`` is the processor time, in seconds, that ``measured_ticks`` of all ``ticks`` took.
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
        """Charts and sample pictures to draw per second."""
        return LEVELS[self.cost.level]

    def due(self, per_s: float) -> bool:
        """Whether something that is drawn ``per_s`` times per second is due in this tick."""
        return self.ticks % max(1, round(CHARTS_PER_S / per_s)) == 0

    def tick(self, bytes_sent: int, counts: bool = True, behind: bool = False) -> None:
        """Count a tick; ``bytes_sent`` is the total so far.

        ``counts`` is False where the tick must not lower the rates. ``behind``: the terminal has
        not read the last frame yet, as on a slow link.
        """
        now = time.perf_counter()
        self.ticks += 1
        self._late += behind or now - self._last > LATE / CHARTS_PER_S
        slept, self._last = now - self._last > _ASLEEP, now
        used = time.thread_time()
        took, self._used = used - self._used, used
        if slept or not counts:
            # The time while the process was suspended or loading says nothing about the cost.
            self._window, self._late = (now, used, bytes_sent, self.ticks), 0
            return
        self.busy += took
        self.measured_ticks += 1
        since, busy, sent, ticks = self._window
        if now - since >= _WINDOW:
            late = 2 * self._late > self.ticks - ticks
            self.adjust((used - busy) / (now - since), (bytes_sent - sent) / (now - since), late)
            self._window, self._late = (now, used, bytes_sent, self.ticks), 0

    def adjust(self, share: float, bytes_per_s: float, late: bool) -> None:
        """Choose the rates of the next window from the measurements of the last one.

        The rate rises only where the higher cost would fit too, so that it does not oscillate.
        """
        level = self.cost.level
        if share > MOST_SHARE or bytes_per_s > MOST_BYTES or late:
            level = min(level + 1, len(LEVELS) - 1)
        elif share < BACK * MOST_SHARE and bytes_per_s < BACK * MOST_BYTES:
            level = max(level - 1, 0)
        self.cost = Cost(share, bytes_per_s, level)
