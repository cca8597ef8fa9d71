"""The birthday test: how often G repeats itself, and how many samples it can produce at all."""

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
"""Quantile of the reals' distances to their nearest others below which fakes are near-duplicates;
by it one real in a hundred is one.
"""
SAME = 1e-6
"""Share of the largest nearest-neighbour distance below which reals are copies of each other."""


class Closeness(NamedTuple):
    """How close n reals come: the distance of near-duplicates, and the number of closer pairs."""

    samples: int
    within: float
    pairs: int


def closeness(reals: Tensor) -> Closeness | None:
    """The closeness of reals (n, width), in which copies of one another are skipped.

    None for fewer than two reals, for one that is not finite, and where all are copies.
    """
    if len(reals) < 2 or not all_finite(reals):
        return None
    apart = neighbour_distances(reals)
    own = apart[apart > SAME * apart.max()]
    if not len(own):
        return None
    within = float(own.quantile(CLOSE))
    return Closeness(len(reals), within, close_pairs(reals, within)[0])


def close_pairs(points: Tensor, within: float) -> tuple[int, float]:
    """Pairs of points (n, width) closer than ``within``, and the share of points in any, 0..1."""
    close = (distances(points, points) < within).fill_diagonal_(False)
    return int(close.sum()) // 2, float(close.any(dim=1).double().mean())


def support(samples: int, pairs: float) -> float:
    """The number of different samples if so many ``pairs`` of ``samples`` are the same.

    Each of the s (s - 1) / 2 pairs collides with a chance of 1 / N for N equally likely samples.
    Unequal chances collide more often, so the result is a lower bound. This is the argument of
    Arora and Zhang 2018, by the number of collisions instead of the chance of any. NaN without any
    pair.
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
            " data; empty where it has no more of them than the data",
        ),
    }

    def fits(self, subject: Subject) -> bool:
        """On any data."""
        return True

    def take(self, context: ExamContext) -> ExamResult:
        """Measure as many fakes as there are reals."""
        known, fakes = _known(context.subject), cloud(context.fake_features)
        if known is None or not all_finite(fakes):
            return ExamResult(dict.fromkeys(self.measures, math.nan))
        pairs, share = close_pairs(fakes[: known.samples], known.within)
        return ExamResult(
            {
                "duplicates": 100 * share,
                "support": support(known.samples, pairs - known.pairs),
            }
        )


@once_per_subject
def _known(subject: Subject) -> Closeness | None:
    return closeness(cloud(subject.real_features))


EXAMS = (Duplicates(),)
