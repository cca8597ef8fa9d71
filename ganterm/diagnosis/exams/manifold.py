"""How well fakes and reals cover each other, without labels."""

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

K = 5
"""Number of neighbours, as Naeem et al. 2020 choose it."""


class Manifold(NamedTuple):
    """Shares 0..1, except the density, which has no upper bound and is 1 for the data's own."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(fakes: Tensor, reals: Tensor, radii: Tensor, k: int = K) -> Manifold:
    """How fakes (m, width) lie in the balls around reals (n, width), and the other way round.

    ``radii`` (n,): each real's distance to its ``k``-th nearest other, m and n > k. Precision and
    recall: share of the one in any ball of the other (Kynkaanniemi et al. 2019); density: balls
    of reals that a fake lies in, in k; coverage: share of reals' balls with a fake in it (Naeem et
    al. 2020).
    """
    apart = distances(fakes, reals)
    of_reals = apart <= radii
    of_fakes = apart <= neighbour_distances(fakes, k)[:, None]
    return Manifold(
        float(of_reals.any(dim=1).double().mean()),
        float(of_fakes.any(dim=0).double().mean()),
        float(of_reals.double().sum(dim=1).mean()) / k,
        float(of_reals.any(dim=0).double().mean()),
    )


def expected_coverage(fakes: int, reals: int, k: int = K) -> float:
    """The mean coverage of reals by samples of the same distribution (Naeem et al. 2020).

    It is one minus the chance that all k nearest neighbours of a real, among the other reals and
    the fakes, are reals; near 1 - 2^-k for as many fakes as reals.
    """
    return 1 - math.prod((reals - i) / (fakes + reals - i) for i in range(1, k + 1))


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
            "density", "", "reals within whose reach a fake lies, in features; 1 is as the data"
        ),
        "coverage": Measure(
            "coverage", "%", "reals with a fake within their reach, in features; the data have 97"
        ),
    }

    def fits(self, subject: Subject) -> bool:
        """On any data."""
        return True

    def comes_first(self, subject: Subject) -> bool:
        """On pictures without a classifier, where the alarm of collapse judges by it."""
        return subject.classifier is None and not subject.plane

    def take(self, context: ExamContext) -> ExamResult:
        """Measure as many fakes as there are reals."""
        reals, radii = _reals(context.subject)
        fakes = cloud(context.fake_features)[: len(reals)]
        if radii is None or len(fakes) <= K or not all_finite(fakes):
            return ExamResult(dict.fromkeys(self.measures, math.nan))
        found = manifold(fakes, reals, radii)
        return ExamResult(
            {
                "precision": 100 * found.precision,
                "recall": 100 * found.recall,
                "density": found.density,
                "coverage": 100 * found.coverage,
            }
        )


@once_per_subject
def _reals(subject: Subject) -> tuple[Tensor, Tensor | None]:
    """The reals and their radii; None for too few, not finite, or identical ones."""
    reals = cloud(subject.real_features)
    usable = len(reals) > K and all_finite(reals) and bool((reals != reals[0]).any())
    return reals, neighbour_distances(reals, K) if usable else None


EXAMS = (Covering(),)
