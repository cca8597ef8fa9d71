"""The birthday test: how often G repeats itself, and so how many samples it can produce."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

from torch import Tensor

from ganterm.core.findings import Measure
from ganterm.diagnosis.clouds import (
    all_finite,
    cloud,
    distances,
    neighbour_distances,
    once_per_subject,
)
from ganterm.diagnosis.exam import Exam, ExamContext, ExamResult, Subject

CLOSE = 0.01
"""Fakes closer to each other than this quantile of the reals' nearest-neighbour distances are
near-duplicates. By this measure, one real in a hundred is one.
"""
SAME = 1e-6
"""Reals closer to each other than this share of the largest such distance are copies."""


class Closeness(NamedTuple):
    """``within``: the distance of near-duplicates. ``pairs``: closer pairs among the reals."""

    samples: int
    within: float
    pairs: int


def closeness(reals: Tensor) -> Closeness | None:
    """The closeness of reals (n, width); copies of each other are left out.

    None if there are fewer than two reals, if one is not finite, or if all are copies.
    """
    if len(reals) < 2 or not all_finite(reals):
        return None
    nearest = neighbour_distances(reals)
    nearest = nearest[nearest > SAME * nearest.max()]
    if not len(nearest):
        return None
    within = float(nearest.quantile(CLOSE))
    return Closeness(len(reals), within, close_pairs(reals, within)[0])


def close_pairs(points: Tensor, within: float) -> tuple[int, float]:
    """Number of pairs of points (n, width) closer than ``within``; share of points in one, 0..1."""
    close = (distances(points, points) < within).fill_diagonal_(False)
    return int(close.sum()) // 2, float(close.any(dim=1).double().mean())


def support(samples: int, pairs: float) -> float:
    """Number of different samples that G can produce if ``pairs`` of ``samples`` are the same.

    With N equally likely samples, each of the s (s - 1) / 2 pairs is the same with probability
    1 / N. With unequal probabilities more pairs are the same, so the result is a lower bound. Arora
    and Zhang 2018 argue in this way, with the probability of any such pair instead of the number
    of pairs. NaN if there is no pair.
    """
    return samples * (samples - 1) / (2 * pairs) if pairs > 0 else math.nan


class Duplicates(Exam):
    """Near-duplicates among fakes, in feature space; for points, in the plane."""

    measures: ClassVar = {
        "duplicates": Measure(
            "near-duplicates",
            "%",
            "fakes closer to another one than all but 1 % of as many reals are, in features",
        ),
        "support": Measure(
            "implied support",
            "",
            "number of different samples of G, implied by its near-duplicates beyond those of the"
            " data; empty if it has no more than the data",
        ),
    }

    def fits(self, subject: Subject) -> bool:
        """Fits any data."""
        return True

    def take(self, context: ExamContext) -> ExamResult:
        """Measure as many fakes as there are reals."""
        reals, fakes = _closeness_of_reals(context.subject), cloud(context.fake_features)
        if reals is None or not all_finite(fakes):
            return ExamResult(dict.fromkeys(self.measures, math.nan))
        pairs, share = close_pairs(fakes[: reals.samples], reals.within)
        return ExamResult(
            {
                "duplicates": 100 * share,
                "support": support(reals.samples, pairs - reals.pairs),
            }
        )


@once_per_subject
def _closeness_of_reals(subject: Subject) -> Closeness | None:
    return closeness(cloud(subject.real_features))


EXAMS = (Duplicates(),)
