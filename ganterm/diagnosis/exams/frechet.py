"""The distance of fakes as a whole from reals, in features: Frechet distance and KID."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ganterm.core.findings import Measure
from ganterm.diagnosis.classifier.features import FixedFeatures
from ganterm.diagnosis.clouds import all_finite, cloud, once_per_subject
from ganterm.diagnosis.exam import EXAM_SAMPLES, Exam, ExamContext, ExamResult, Subject

CFID = "cfid"
"""Name of the Frechet distance in the features of ganterm's own classifier."""


class Moments(NamedTuple):
    """A distribution's mean (width,), its covariance (width, width) and a root of that."""

    mean: Tensor
    covariance: Tensor
    root: Tensor


def moments(features: Tensor) -> Moments:
    """The moments of features (n, width), n >= 2, float64; the covariance over n - 1."""
    mean = features.mean(dim=0)
    away = features - mean
    covariance = away.T @ away / (len(features) - 1)
    values, vectors = torch.linalg.eigh(covariance)
    return Moments(mean, covariance, (vectors * values.clamp(min=0).sqrt()) @ vectors.T)


def frechet_distance(features: Tensor, reals: Moments) -> float:
    """The squared Frechet distance of two Gaussians with these moments (Dowson and Landau 1982).

    |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^1/2), as Heusel et al. 2017 use it; the last trace
    is the sum of the roots of the eigenvalues of C1^1/2 C2 C1^1/2, which is symmetric. ``features``
    (n, width), n >= 2. The fewer samples, the larger: compare values of the same number only.
    """
    mean = features.mean(dim=0)
    away = features - mean
    # With A the samples around their mean, C2 = A'A / (n - 1).
    product = away @ reals.root
    product = product.T @ product / (len(features) - 1)
    both = torch.linalg.eigvalsh(product).clamp(min=0).sqrt().sum()
    traces = away.square().sum() / (len(features) - 1) + reals.covariance.trace()
    return float((mean - reals.mean).square().sum() + traces - 2 * both)


def frechet(ours: Tensor, theirs: Tensor) -> float:
    """``frechet_distance`` of features (n, width) to others (m, width), wherever they are."""
    return frechet_distance(cloud(ours), moments(cloud(theirs)))


def kernel_distance(fakes: Tensor, reals: Tensor) -> float:
    """The kernel inception distance (Binkowski et al. 2018) between features (m or n, width).

    The unbiased squared maximum mean discrepancy under the kernel (x.y / width + 1)^3: 0 for the
    same distribution in the mean, also below it, whatever the number of samples; m and n >= 2.
    Its value depends on the features' scale.
    """
    return _within(fakes) + _within(reals) - 2 * float(_kernel(fakes, reals).mean())


def _within(points: Tensor) -> float:
    kernel = _kernel(points, points)
    count = len(points)
    return float((kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1)))


def _kernel(ours: Tensor, theirs: Tensor) -> Tensor:
    return (ours @ theirs.T / ours.shape[1] + 1) ** 3


class Distance(Exam):
    """Frechet distance and KID of as many fakes as there are reals, in some features."""

    names: ClassVar[tuple[str, str, str]]
    """Names of the Frechet distance, of its floor, and of the KID."""

    def take(self, context: ExamContext) -> ExamResult:
        """Measure all three; NaN with fewer than two reals, or where a feature is not finite."""
        known, fakes = _of_reals(context.subject), cloud(context.fake_features)
        if known is None or len(fakes) < 2 or not all_finite(fakes):
            return ExamResult(dict.fromkeys(self.names, math.nan))
        fakes = fakes[: len(known.reals)]
        distance = frechet_distance(fakes, known.moments)
        kernel = kernel_distance(fakes / known.scale, known.reals / known.scale)
        values = distance, known.floor, kernel
        return ExamResult(dict(zip(self.names, values, strict=True)))


class _RealStatistics(NamedTuple):
    """What the exam knows of the reals.

    ``scale``: root mean square of their features. The kernel distance divides all features by it;
    it would otherwise depend on the network's scale to the sixth power.
    """

    reals: Tensor
    moments: Moments
    floor: float
    scale: float


@once_per_subject
def _of_reals(subject: Subject) -> _RealStatistics | None:
    reals, others = cloud(subject.real_features), cloud(subject.other_features)
    if min(len(reals), len(others)) < 2 or not all_finite(reals, others):
        return None
    of_reals = moments(reals)
    scale = float(reals.square().mean().sqrt()) or 1.0
    return _RealStatistics(reals, of_reals, frechet_distance(others, of_reals), scale)


def _measures(names: tuple[str, str, str], short: str, of: str) -> Mapping[str, Measure]:
    distance, floor, kernel = names
    number = f"of {EXAM_SAMPLES} fakes, or of half as many as the data,"
    return {
        distance: Measure(
            f"{short}FID ({EXAM_SAMPLES})",
            "",
            f"Frechet distance {number} to reals in {of}; no Inception-FID",
        ),
        floor: Measure(
            f"{short}FID of real data", "", "what as many other reals come to: the least to reach"
        ),
        kernel: Measure(
            f"{short}KID ({EXAM_SAMPLES})",
            "",
            f"kernel distance {number} to reals in {of}; 0 is the data's own",
        ),
    }


class ByClassifier(Distance):
    """Distances in the features of ganterm's own classifier."""

    names = (CFID, "cfid_floor", "kid")
    measures: ClassVar = _measures(names, "c", "the features of ganterm's own classifier")

    def fits(self, subject: Subject) -> bool:
        """On pictures whose features were learnt."""
        return not subject.plane and not isinstance(subject.features, FixedFeatures)


class ByRandomNetwork(Distance):
    """Distances in the features of a fixed network of random weights."""

    names = ("rfid", "rfid_floor", "kid")
    measures: ClassVar = _measures(names, "r", "the features of a fixed network of random weights")

    def fits(self, subject: Subject) -> bool:
        """On pictures without labels to learn from."""
        return not subject.plane and isinstance(subject.features, FixedFeatures)


EXAMS = (ByClassifier(), ByRandomNetwork())
