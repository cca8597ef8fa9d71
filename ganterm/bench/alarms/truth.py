"""What really happened in a run, with hindsight. The definitions predate the tuning of any rule.

Every 50 steps is a *point*: the modes of samples of the raw G (in evaluation mode, from the same
noise) are counted. Each of 2,500 points of the plane counts for its nearest mode, exactly; each of
600 digits for its class by a classifier that the alarms never use (``strong``). A mode is *kept* at
a point if its share is at least a tenth of its share of the data. The point is *poor* if at most
half of the modes are kept.

Nothing before step ``WARM_UP`` counts: until then a collapse cannot be told from an untrained G.

- A run has **spread** once three points in a row were not poor.
- **Collapsed after it spread**: five or more poor points in a row (at least 250 steps). The onset
  is the first of them.
- **Collapsed from the start**: it never spread, although it had time to; four fifths of its points
  are poor, and at least five in a row. The onset is the first of these.
- **Healthy**: it spread within the first half of its steps, never again had two poor points in a
  row, and kept three quarters of the modes at nine tenths of its points.
- All other runs are **mixed** (some modes lost, flickering around one half, spread late). They
  count neither for nor against an alarm.

Other illnesses are found at points or at rounds (every 100 steps, from as many reals as fakes).
The onset is the first of ``IN_A_ROW`` of these in a row:

- **d_wins**: D's AUC is at least .995. **d_stuck**: it is at most .25.
- **d_dead**: the standard deviation of all scores is below 1e-5 of their mean's size, or of 1.
- **divergence**: the mean or the standard deviation of all scores is above 100.
- **mode_hopping**: within 800 steps, the mode of at least half of the samples changed three times.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ganterm.core.json_text import parse_json

SAMPLES = 2_500
"""Number of points of the plane that are sampled at each point of a run."""
PICTURES = 600
"""Number of pictures that are sampled at each point of a run."""
KEPT = 0.1
"""Least share of a mode that is kept, as a fraction of its share of the data."""
WARM_UP = 500
"""Steps before which nothing counts."""
IN_A_ROW = 5
"""Number of consecutive points, or rounds, that make an illness."""
SPREAD = 3
"""Number of consecutive points that are not poor after which a run has spread."""

Fate = Literal["collapsed", "healthy", "mixed"]


@dataclass(frozen=True)
class Points:
    """The points of a run: steps (t,), shares of the modes (t, modes), and in the data (modes,).

    ``auc``, ``score_mean``, ``score_std`` (t,): of D's scores; NaN between rounds.
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
        poor: NDArray[np.bool_] = 2 * self.kept.sum(axis=1) <= len(self.expected)
        return poor


def read(path: Path) -> Points:
    """Read the file that ``examine`` wrote."""
    truth = parse_json(path.read_bytes())
    points = truth["points"]

    def column(name: str) -> NDArray[np.float64]:
        values = [point.get(name) for point in points]
        return np.array([np.nan if value is None else value for value in values], np.float64)

    return Points(
        np.array([point["step"] for point in points], np.int64),
        np.array([point["shares"] for point in points], np.float64),
        np.array(truth["expected"], np.float64),
        column("auc"),
        column("score_mean"),
        column("score_std"),
    )


@dataclass(frozen=True)
class Verdict:
    """What became of a run. ``spans``: (onset, last poor step) of each collapse."""

    fate: Fate
    spans: tuple[tuple[int, int], ...] = ()
    from_start: bool = False


def stretches(flags: NDArray[np.bool_], least: int) -> list[tuple[int, int]]:
    """First and last place of each stretch of at least ``least`` true flags in a row."""
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
    """Onsets of a run's other illnesses, by the names of their alarms."""
    rounds = np.isfinite(points.auc) | np.isfinite(points.score_mean)
    steps = points.steps[rounds]
    auc, mean, std = (c[rounds] for c in (points.auc, points.score_mean, points.score_std))
    flags = {
        "d_wins": auc >= 0.995,
        "d_stuck": auc <= 0.25,
        "d_dead": std < 1e-5 * np.maximum(1, np.abs(mean)),
        "divergence": (np.abs(mean) > 100) | (std > 100),
    }
    onsets = {}
    for name, flag in flags.items():
        lasting = stretches(flag, IN_A_ROW)
        if lasting:
            onsets[name] = int(steps[lasting[0][0]])
    hops = _hops(points)
    if hops is not None:
        onsets["mode_hopping"] = hops
    return onsets


def _hops(points: Points) -> int | None:
    """The step of the third change of the leading mode within 800 steps, or None."""
    leads = points.shares.max(axis=1) >= 0.5
    steps, leading = points.steps[leads], points.shares.argmax(axis=1)[leads]
    changes = steps[1:][np.diff(leading) != 0]
    for first, third in zip(changes, changes[2:], strict=False):
        if third - first <= 800:
            return int(third)
    return None
