"""Whether a run goes round in circles: losses that swing, modes that come and go."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST = 32
"""Values from which a swing can be told from chance."""
TURNS = 3
"""Full swings that must fit: fewer are a trend, or a bend of it."""


def oscillation(values: NDArray[Any]) -> float:
    """The share of the variance that is in one regular swing, 0..1.

    ``values`` (t,), evenly apart, those that are not finite left out; their straight trend is taken
    off. The share of the strongest frequency of the periodogram with its two neighbours, among
    those with at least TURNS full swings. Near 1 for a sine; for noise near 3 ln(t / 2) / (t / 2)
    at most; small for a random walk, whose variance is in fewer turns. 0 without any variance, NaN
    for fewer than FEWEST values.
    """
    known = values[np.isfinite(values)].astype(np.float64)
    count = len(known)
    if count < FEWEST:
        return math.nan
    place = np.linspace(-1.0, 1.0, count)
    away = known - known.mean()
    away -= place * (away @ place) / (place @ place)
    if np.abs(away).max() <= 1e-9 * max(1.0, float(np.abs(known).max())):
        return 0.0
    power = np.abs(np.fft.rfft(away / np.abs(away).max())) ** 2
    power[0] = 0
    at = TURNS + int(power[TURNS:].argmax())
    return float(power[max(TURNS, at - 1) : at + 2].sum() / power.sum())


def hopping(shares: NDArray[Any], samples: int) -> float:
    """How much of its samples G moves to other modes from one round to the next, 0..1.

    ``shares`` (t, m): of each mode, a row a round, each of ``samples`` samples. The mean total
    variation between successive rounds less what chance alone gives. That of two histograms of n
    samples of one distribution p is the sum of sqrt(p (1 - p) / (pi n)) in the mean, by the normal
    distribution, with p the mean of the two. Rounds without any sample on a mode are left out; NaN
    with fewer than two.
    """
    known = shares[shares.sum(axis=1) > 0].astype(np.float64)
    if len(known) < 2:
        return math.nan
    before, after = known[:-1], known[1:]
    moved = 0.5 * np.abs(after - before).sum(axis=1)
    even = 0.5 * (before + after)
    chance = np.sqrt(even * (1 - even).clip(0) / (math.pi * samples)).sum(axis=1)
    return max(0.0, float((moved - chance).mean()))
