"""What a run's samples really did, judged with hindsight; fixed before any rule was tuned.

Every 50 steps 2,500 samples of the raw G (evaluation mode, the same noise for all points of a run)
are told apart: points by the mode nearest to them, exactly; digits by a classifier that the alarms
never see (``strong``). A mode is *kept* at a point where it has at least a tenth of the data's
share. The point is *poor* where at most half of the modes are kept.

- A run has **spread** once three points in a row were not poor.
- **Collapse after it spread**: five or more poor points in a row (250 steps and up). Onset: the
  first of them.
- **Collapse from the start**: the run never spread although it had time to, and four fifths of the
  points after ``WARM_UP`` steps are poor. Onset: the first point from ``WARM_UP`` on that begins
  five poor ones in a row, since before that nobody can tell a collapse from an untrained G.
- **Healthy**: it spread within the first half of its steps and never again had two poor points in
  a row.
- Everything else is **mixed** (it flickers around one half, or spread late): counted apart, and
  neither for nor against an alarm.

Lost modes: at least ten points in a row (500 steps), after it spread, without a mode that was kept
in three points in a row before. D's state is judged at every round on 2,500 reals and fakes:
*winning* is an AUC of at least .995, *fooled* one of at most .25, *dead* a standard deviation of all
scores below 1e-4 of their mean's size (or 1e-6); what lasts for five rounds counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SAMPLES = 2_500
KEPT = 0.1
WARM_UP = 500
IN_A_ROW = 5
SPREAD = 3
LASTING = 10

Fate = Literal["collapsed", "healthy", "mixed"]


@dataclass(frozen=True)
class Points:
    """Truth of a run over time: steps (t,), shares (t, modes) and the data's share (modes,)."""

    steps: NDArray[np.int64]
    shares: NDArray[np.float64]
    expected: NDArray[np.float64]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which modes are kept at each point, (t, modes)."""
        return self.shares >= KEPT * self.expected

    @property
    def poor(self) -> NDArray[np.bool_]:
        """Whether at most half of the modes are kept, (t,)."""
        return 2 * self.kept.sum(axis=1) <= len(self.expected)


@dataclass(frozen=True)
class Verdict:
    """What became of a run; ``spans``: (onset, last poor step) of each collapse."""

    fate: Fate
    spans: tuple[tuple[int, int], ...] = ()
    from_start: bool = False


def stretches(flags: NDArray[np.bool_], least: int) -> list[tuple[int, int]]:
    """(first, last) places of all stretches of at least ``least`` true flags in a row."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    pairs = zip(edges[::2], edges[1::2] - 1, strict=True)
    return [(int(a), int(b)) for a, b in pairs if b - a + 1 >= least]


def verdict(points: Points) -> Verdict:
    """Whether and when a run collapsed, as the module's docstring defines it."""
    steps, poor = points.steps, points.poor
    spread = stretches(~poor, SPREAD)
    after = steps >= WARM_UP
    if not spread:
        spans = [
            (int(steps[a]), int(steps[b]))
            for a, b in stretches(poor & after, IN_A_ROW)
        ]
        if spans and poor[after].mean() >= 0.8:
            return Verdict("collapsed", tuple(spans), from_start=True)
        return Verdict("mixed")
    begun = spread[0][0]
    later = poor.copy()
    later[:begun] = False
    spans = [(int(steps[a]), int(steps[b])) for a, b in stretches(later, IN_A_ROW)]
    if spans:
        return Verdict("collapsed", tuple(spans))
    if not stretches(later, 2) and 2 * steps[begun] <= steps[-1]:
        return Verdict("healthy")
    return Verdict("mixed")
