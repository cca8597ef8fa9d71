"""The effective number of different samples: the Vendi score."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ganterm.core.findings import Measure
from ganterm.diagnosis.clouds import all_finite, cloud, distances, once_per_subject
from ganterm.diagnosis.exam import Exam, ExamContext, ExamResult, Subject

SAMPLES = 192
"""Number of fakes, and of reals: the eigenvalues cost its cube."""
NEAR = 0.5
"""The kernel's width in median distances of the reals.

Two reals at the median distance are then exp(-2) = 14 % alike, so samples count as different where
reals do.
"""


def vendi_score(kernel: Tensor) -> float:
    """The effective number of different samples, 1..n, of a kernel (n, n) with ones as diagonal.

    exp of the entropy of the eigenvalues of kernel / n (Friedman and Dieng 2023): 1 where all are
    alike, n where no two are.
    """
    values = torch.linalg.eigvalsh(kernel / len(kernel)).clamp(min=0)
    return math.exp(float(torch.special.entr(values).sum()))


def alike(points: Tensor, width: float) -> Tensor:
    """exp(-d^2 / 2 width^2) of all pairs of points (n, d): 1 for the same, 0 far away."""
    return distances(points, points).div_(width).square_().mul_(-0.5).exp_()


def median_distance(points: Tensor) -> float:
    """The median distance of all pairs of two or more points; NaN of fewer."""
    apart = distances(points, points)
    return float(apart[tuple(torch.triu_indices(len(points), len(points), 1))].median())


class Reference(NamedTuple):
    """What is known of n reals: the kernel's width, and their own score."""

    samples: int
    width: float
    score: float


def reference(reals: Tensor) -> Reference | None:
    """The reference of reals (n, width); None for fewer than two, not finite, or mostly equal."""
    if len(reals) < 2 or not all_finite(reals):
        return None
    width = NEAR * median_distance(reals)
    return Reference(len(reals), width, vendi_score(alike(reals, width))) if width > 0 else None


def relative_vendi(fakes: Tensor, reals: Reference | None) -> float:
    """The Vendi score of fakes (n, width) in % of that of as many reals.

    The kernel has the width of the reals. NaN where the reals give no reference, where there are
    fewer fakes than reals, and where a fake is not finite.
    """
    if reals is None or len(fakes) < reals.samples or not all_finite(fakes):
        return math.nan
    return 100 * vendi_score(alike(fakes[: reals.samples], reals.width)) / reals.score


@once_per_subject
def _pixels(subject: Subject) -> Reference | None:
    return reference(cloud(subject.reals[:SAMPLES]))


@once_per_subject
def _features(subject: Subject) -> Reference | None:
    return reference(cloud(subject.real_features[:SAMPLES]))


class Vendi(Exam):
    """The Vendi score in data space, in % of that of reals."""

    first = True
    measures: ClassVar = {
        "vendi_pixels": Measure(
            "Vendi score",
            "%",
            f"effective number of different samples among {SAMPLES}, in % of that of reals",
        ),
    }

    def fits(self, subject: Subject) -> bool:
        """On any data."""
        return True

    def take(self, context: ExamContext) -> ExamResult:
        """Measure SAMPLES fakes."""
        fakes = cloud(context.fakes[:SAMPLES])
        return ExamResult({"vendi_pixels": relative_vendi(fakes, _pixels(context.subject))})


class VendiOfFeatures(Exam):
    """The Vendi score in feature space, in % of that of reals."""

    measures: ClassVar = {
        "vendi_features": Measure(
            "Vendi score, features", "%", "the same of their features in a fixed network"
        ),
    }

    def fits(self, subject: Subject) -> bool:
        """On pictures: points are their own features."""
        return not subject.plane

    def take(self, context: ExamContext) -> ExamResult:
        """Measure SAMPLES fakes."""
        fakes = cloud(context.fake_features[:SAMPLES])
        return ExamResult({"vendi_features": relative_vendi(fakes, _features(context.subject))})


EXAMS = (Vendi(), VendiOfFeatures())
