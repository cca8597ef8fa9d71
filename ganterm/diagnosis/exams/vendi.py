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
"""Number of fakes, and of reals; the time for the eigenvalues grows with its cube."""
WIDTH = 0.5
"""The kernel's width, in median distances between reals. Two reals at the median distance have a
similarity of exp(-2) = 14 %, so that typical reals count as different samples.
"""


def vendi_score(kernel: Tensor) -> float:
    """The effective number of different samples, 1..n, of a kernel (n, n) with a diagonal of ones.

    It is exp of the entropy of the eigenvalues of kernel / n (Friedman and Dieng 2023): 1 if all
    samples are the same, n if no two are similar.
    """
    values = torch.linalg.eigvalsh(kernel / len(kernel)).clamp(min=0)
    return math.exp(float(torch.special.entr(values).sum()))


def similarities(points: Tensor, width: float) -> Tensor:
    """exp(-d^2 / 2 width^2) for all pairs of points (n, features), d apart: (n, n), in 0..1."""
    return distances(points, points).div_(width).square_().mul_(-0.5).exp_()


def median_distance(points: Tensor) -> float:
    """The median distance of all pairs of points (n, width); NaN for fewer than two points."""
    pairs = tuple(torch.triu_indices(len(points), len(points), 1))
    return float(distances(points, points)[pairs].median())


class Reference(NamedTuple):
    """The kernel's width and the Vendi score of a number of reals."""

    samples: int
    width: float
    score: float


def reference(reals: Tensor) -> Reference | None:
    """The reference of reals (n, width); None if they are too few, not finite, or mostly equal."""
    if len(reals) < 2 or not all_finite(reals):
        return None
    width = WIDTH * median_distance(reals)
    return (
        Reference(len(reals), width, vendi_score(similarities(reals, width))) if width > 0 else None
    )


def relative_vendi(fakes: Tensor, reals: Reference | None) -> float:
    """The Vendi score of fakes (n, width) in % of that of as many reals.

    NaN if there is no reference, if there are fewer fakes than reals, or if a fake is not finite.
    """
    if reals is None or len(fakes) < reals.samples or not all_finite(fakes):
        return math.nan
    return 100 * vendi_score(similarities(fakes[: reals.samples], reals.width)) / reals.score


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
        """Fits any data."""
        return True

    def take(self, context: ExamContext) -> ExamResult:
        """Measure SAMPLES fakes."""
        fakes = cloud(context.fakes[:SAMPLES])
        return ExamResult({"vendi_pixels": relative_vendi(fakes, _pixels(context.subject))})


class VendiOfFeatures(Exam):
    """The Vendi score in feature space, in % of that of reals."""

    measures: ClassVar = {
        "vendi_features": Measure(
            "Vendi score, features",
            "%",
            f"effective number of different features among {SAMPLES}, in % of that of reals",
        ),
    }

    def fits(self, subject: Subject) -> bool:
        """Fits pictures: points are their own features."""
        return not subject.plane

    def take(self, context: ExamContext) -> ExamResult:
        """Measure SAMPLES fakes."""
        fakes = cloud(context.fake_features[:SAMPLES])
        return ExamResult({"vendi_features": relative_vendi(fakes, _features(context.subject))})


EXAMS = (Vendi(), VendiOfFeatures())
