"""What a run's samples really did, judged with hindsight; fixed before any rule was tuned.

Every 50 steps samples of the raw G (evaluation mode, the same noise for all points of a run) are
told apart: 2,500 points by the mode nearest to them, exactly; 600 digits by a classifier that the
alarms never see (``strong``). A mode is *kept* where it has at least a tenth of the data's share.
The point is *poor* where at most half of the modes are kept.

Nothing before step ``WARM_UP`` counts: until then nobody can tell a collapse from an untrained G.

- A run has **spread** once three points in a row were not poor.
- **Collapsed after it spread**: five or more poor points in a row (250 steps and up). Onset: the
  first of them.
- **Collapsed from the start**: it never spread although it had time to, four fifths of its points
  are poor, and five in a row. Onset: the first of these five.
- **Healthy**: it spread within the first half of its steps, never again had two poor points in a
  row, and kept three quarters of the modes at nine tenths of the points.
- Everything else is **mixed** (some modes lost, flickering around one half, spread late): counted
  apart, and neither for nor against an alarm.

What else is told of a run at points or rounds (every 100 steps, on as many reals and fakes), each
from where it has lasted for ``IN_A_ROW`` of them:

- **d_wins**: D's AUC is at least .995. **d_stuck**: it is at most .25.
- **d_dead**: the standard deviation of all scores is below 1e-5 of their mean's size, or of 1.
- **divergence**: the mean or the standard deviation of all scores is above 100.
- **mode_hopping**: within 800 steps the mode that half of the samples or more are on changed three
  times.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ganterm.core.json_text import parse_json

SAMPLES = 2_500
PICTURES = 600
KEPT = 0.1
WARM_UP = 500
IN_A_ROW = 5
SPREAD = 3

Fate = Literal["collapsed", "healthy", "mixed"]


@dataclass(frozen=True)
class Points:
    """Truth of a run over time: steps (t,), shares (t, modes) and the data's share (modes,).

    ``auc``, ``score_mean``, ``score_std`` (t,): of D, NaN between rounds.
    """

    steps: NDArray[np.int64]
    shares: NDArray[np.float64]
    expected: NDArray[np.float64]

    auc: NDArray[np.float64]
    score_mean: NDArray[np.float64]
    score_std: NDArray[np.float64]

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which modes are kept at each point, (t, modes)."""
        return self.shares >= KEPT * self.expected

    @property
    def poor(self) -> NDArray[np.bool_]:
        """Whether at most half of the modes are kept, (t,)."""
        return 2 * self.kept.sum(axis=1) <= len(self.expected)


def read(path: Path) -> Points:
    """What ``examine`` wrote."""
    told = parse_json(path.read_bytes())
    points = told["points"]

    def column(name: str) -> NDArray[np.float64]:
        values = [point.get(name) for point in points]
        return np.array([np.nan if value is None else value for value in values], np.float64)

    return Points(
        np.array([point["step"] for point in points], np.int64),
        np.array([point["shares"] for point in points], np.float64),
        np.array(told["expected"], np.float64),
        column("auc"),
        column("score_mean"),
        column("score_std"),
    )


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
    after = steps >= WARM_UP
    spread = stretches(~poor, SPREAD)
    if not spread:
        spans = _spans(points, poor & after)
        if spans and poor[after].mean() >= 0.8:
            return Verdict("collapsed", spans, from_start=True)
        return Verdict("mixed")
    after &= np.arange(len(steps)) >= spread[0][0]
    spans = _spans(points, poor & after)
    if spans:
        return Verdict("collapsed", spans)
    rich = 4 * points.kept.sum(axis=1) >= 3 * len(points.expected)
    soon = 2 * steps[spread[0][0]] <= steps[-1]
    if soon and not stretches(poor & after, 2) and rich[after].mean() >= 0.9:
        return Verdict("healthy")
    return Verdict("mixed")


def _spans(points: Points, poor: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    steps = points.steps
    return tuple((int(steps[a]), int(steps[b])) for a, b in stretches(poor, IN_A_ROW))


def others(points: Points) -> dict[str, int]:
    """Onsets of what else was wrong with a run, by the alarm's name."""
    rounds = np.isfinite(points.auc) | np.isfinite(points.score_mean)
    steps = points.steps[rounds]
    auc, mean, std = (c[rounds] for c in (points.auc, points.score_mean, points.score_std))
    flags = {
        "d_wins": auc >= 0.995,
        "d_stuck": auc <= 0.25,
        "d_dead": std < 1e-5 * np.maximum(1, np.abs(mean)),
        "divergence": (np.abs(mean) > 100) | (std > 100),
    }
    found = {}
    for name, flag in flags.items():
        lasting = stretches(flag, IN_A_ROW)
        if lasting:
            found[name] = int(steps[lasting[0][0]])
    hops = _hops(points)
    if hops is not None:
        found["mode_hopping"] = hops
    return found


def _hops(points: Points) -> int | None:
    """The step of the third change of the leading mode within 800 steps."""
    leads = points.shares.max(axis=1) >= 0.5
    steps, chosen = points.steps[leads], points.shares.argmax(axis=1)[leads]
    changes = steps[1:][np.diff(chosen) != 0]
    for first, third in zip(changes, changes[2:], strict=False):
        if third - first <= 800:
            return int(third)
    return None
