"""The dashboard's own cost, measured, and the frame rate that keeps it small."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ganterm.dashboard.draw.numbers import size

CHARTS_PER_S = 4.0
SAMPLES_PER_S = 2.0
MOST = 0.06
"""Share of one core above which frames are drawn less often."""
LATE = 1.5
"""Intervals after which a tick counts as late: a slow link, or a busy machine."""
_WINDOW = 2.0
_SLOWEST = 8


@dataclass(frozen=True)
class Cost:
    """What watching costs: share of one core (0..1), bytes a second to the terminal, slow-down."""

    share: float = 0.0
    bytes_per_s: float = 0.0
    divisor: int = 1

    def __str__(self) -> str:
        slower = f" ÷{self.divisor}" if self.divisor > 1 else ""
        return f"UI {100 * self.share:4.1f} % {size(self.bytes_per_s):>7}/s{slower}"


class Budget:
    """Fed once a tick by the event loop's thread; halves the rates while over budget."""

    def __init__(self) -> None:
        self.cost = Cost()
        self.ticks = 0
        self.busy = 0.0
        self._began = time.perf_counter()
        self._window = (self._began, time.thread_time(), 0)
        self._last = self._began
        self._late = 0

    @property
    def divisor(self) -> int:
        """By how much frames are drawn less often than at best: 1, 2, 4 or 8."""
        return self.cost.divisor

    def due(self, per_s: float) -> bool:
        """Whether something drawn ``per_s`` times a second at best is to be drawn in this tick."""
        every = max(1, round(CHARTS_PER_S / per_s)) * self.divisor
        return self.ticks % every == 0

    def tick(self, bytes_sent: int) -> None:
        """Count a tick; ``bytes_sent`` is the total so far."""
        now = time.perf_counter()
        self.ticks += 1
        if now - self._last > LATE / CHARTS_PER_S:
            self._late += 1
        self._last = now
        since, busy, sent = self._window
        if now - since >= _WINDOW:
            used = time.thread_time()
            self.judge((used - busy) / (now - since), (bytes_sent - sent) / (now - since))
            self._window, self._late = (now, used, bytes_sent), 0

    def judge(self, share: float, bytes_per_s: float) -> None:
        """Take one window's measurements and choose the rates of the next."""
        divisor = self.divisor
        if share > MOST or self._late >= 2:
            divisor = min(_SLOWEST, 2 * divisor)
        elif share < MOST / 3 and not self._late:
            divisor = max(1, divisor // 2)
        self.cost = Cost(share, bytes_per_s, divisor)
