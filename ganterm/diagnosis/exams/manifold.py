"""How well fakes and reals cover each other; needs no labels."""

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
from ganterm.diagnosis.exam import EXAM_SAMPLES, Exam, ExamContext, ExamResult, Subject

K = 5
"""Number of neighbours, as in Naeem et al. 2020."""


class Manifold(NamedTuple):
    """Shares 0..1, except the density, which has no upper bound and is 1 for a perfect G."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(fakes: Tensor, reals: Tensor, radii: Tensor, k: int = K) -> Manifold:
    """Which fakes (m, width) lie in the balls around reals (n, width), and the other way round.

    A sample's ball reaches to its ``k``-th nearest other of its kind; ``radii`` (n,) are those of
    the reals; m and n > k. Precision: share of fakes in a real's ball. Recall: share of reals in a
    fake's ball (Kynkaanniemi et al. 2019). Density: mean number of reals' balls that a fake is in,
    over k. Coverage: share of reals' balls with a fake in them (Naeem et al. 2020).
    """
    between = distances(fakes, reals)
    in_real_ball = between <= radii
    in_fake_ball = between <= neighbour_distances(fakes, k)[:, None]
    return Manifold(
        float(in_real_ball.any(dim=1).double().mean()),
        float(in_fake_ball.any(dim=0).double().mean()),
        float(in_real_ball.double().sum(dim=1).mean()) / k,
        float(in_real_ball.any(dim=0).double().mean()),
    )


def expected_coverage(fakes: int, reals: int, k: int = K) -> float:
    """The mean coverage of reals by samples of the same distribution (Naeem et al. 2020).

    It is one minus the probability that the k nearest neighbours of a real, among other reals and
    fakes, are all reals: about 1 - 2^-k for as many fakes as reals.
    """
    return 1 - math.prod((reals - i) / (fakes + reals - i) for i in range(1, k + 1))


_PERFECT = 100 * expected_coverage(EXAM_SAMPLES, EXAM_SAMPLES)
"""Mean coverage, in %, of the reals by as many samples of the data themselves."""


class Covering(Exam):
    """The four shares of ``manifold``, in feature space; for points, in the plane."""

    measures: ClassVar = {
        "precision": Measure(
            "precision", "%", f"fakes within reach of a real, its {K}th nearest, in features"
        ),
        "recall": Measure(
            "recall", "%", f"reals within reach of a fake, its {K}th nearest, in features"
        ),
        "density": Measure(
            "density", "", "reals within whose reach a fake lies, in features; 1 for a perfect G"
        ),
        "coverage": Measure(
            "coverage",
            "%",
            f"reals with a fake within reach, in features; {_PERFECT:.0f} for a perfect G",
        ),
    }

    def fits(self, subject: Subject) -> bool:
        """Fits any data."""
        return True

    def comes_first(self, subject: Subject) -> bool:
        """True on pictures without a classifier: there, the alarm of collapse needs this exam."""
        return subject.classifier is None and not subject.plane

    def take(self, context: ExamContext) -> ExamResult:
        """Measure as many fakes as there are reals."""
        reals, radii = _reals(context.subject)
        fakes = cloud(context.fake_features)[: len(reals)]
        if radii is None or len(fakes) <= K or not all_finite(fakes):
            return ExamResult(dict.fromkeys(self.measures, math.nan))
        shares = manifold(fakes, reals, radii)
        return ExamResult(
            {
                "precision": 100 * shares.precision,
                "recall": 100 * shares.recall,
                "density": shares.density,
                "coverage": 100 * shares.coverage,
            }
        )


@once_per_subject
def _reals(subject: Subject) -> tuple[Tensor, Tensor | None]:
    """The reals and their radii; None if they are too few, not finite, or all the same."""
    reals = cloud(subject.real_features)
    usable = len(reals) > K and all_finite(reals) and bool((reals != reals[0]).any())
    return reals, neighbour_distances(reals, K) if usable else None


EXAMS = (Covering(),)
