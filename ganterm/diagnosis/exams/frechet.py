"""Distances between the distributions of fakes and reals in features: Frechet distance, KID."""

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
    """A distribution's mean (width,), its covariance (width, width) and the root of that."""

    mean: Tensor
    covariance: Tensor
    root: Tensor


def moments(features: Tensor) -> Moments:
    """The moments of features (n, width), n >= 2, float64; the covariance is over n - 1."""
    mean = features.mean(dim=0)
    centred = features - mean
    covariance = centred.T @ centred / (len(features) - 1)
    values, vectors = torch.linalg.eigh(covariance)
    return Moments(mean, covariance, (vectors * values.clamp(min=0).sqrt()) @ vectors.T)


def frechet_distance(features: Tensor, reals: Moments) -> float:
    """The squared Frechet distance of two Gaussians with these moments (Dowson and Landau 1982).

    |m1 - m2|^2 + tr(C1) + tr(C2) - 2 tr((C1 C2)^1/2), as Heusel et al. 2017 use it. The last trace
    is the sum of the roots of the eigenvalues of C1^1/2 C2 C1^1/2, which is symmetric. ``features``
    (n, width), n >= 2. The distance grows as n shrinks: compare only values with the same n.
    """
    mean = features.mean(dim=0)
    centred = features - mean
    # C2 = A'A / (n - 1), where A is ``centred``.
    product = centred @ reals.root
    product = product.T @ product / (len(features) - 1)
    both = torch.linalg.eigvalsh(product).clamp(min=0).sqrt().sum()
    traces = centred.square().sum() / (len(features) - 1) + reals.covariance.trace()
    return float((mean - reals.mean).square().sum() + traces - 2 * both)


def frechet(ours: Tensor, theirs: Tensor) -> float:
    """``frechet_distance`` of features (n, width) to others (m, width), on any device."""
    return frechet_distance(cloud(ours), moments(cloud(theirs)))


def kernel_distance(fakes: Tensor, reals: Tensor) -> float:
    """The kernel inception distance (Binkowski et al. 2018) of features (m, width) and (n, width).

    This is the unbiased squared maximum mean discrepancy under the kernel (x.y / width + 1)^3. Its
    mean for equal distributions is 0 at any number of samples, so it can be negative. It depends on
    the scale of the features. m and n >= 2.
    """
    return _within(fakes) + _within(reals) - 2 * float(_kernel(fakes, reals).mean())


def _within(points: Tensor) -> float:
    kernel = _kernel(points, points)
    count = len(points)
    return float((kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1)))


def _kernel(ours: Tensor, theirs: Tensor) -> Tensor:
    return (ours @ theirs.T / ours.shape[1] + 1) ** 3


class Distance(Exam):
    """Frechet distance and KID of as many fakes as there are reals."""

    names: ClassVar[tuple[str, str, str]]
    """Names of the Frechet distance, of its floor, and of the KID."""

    def take(self, context: ExamContext) -> ExamResult:
        """Measure all three; NaN with fewer than two reals, or if a feature is not finite."""
        reals, fakes = _statistics(context.subject), cloud(context.fake_features)
        if reals is None or len(fakes) < 2 or not all_finite(fakes):
            return ExamResult(dict.fromkeys(self.names, math.nan))
        fakes = fakes[: len(reals.features)]
        distance = frechet_distance(fakes, reals.moments)
        kernel = kernel_distance(fakes / reals.scale, reals.features / reals.scale)
        values = distance, reals.floor, kernel
        return ExamResult(dict(zip(self.names, values, strict=True)))


class _RealStatistics(NamedTuple):
    """The features of reals (n, width) and what is computed from them once.

    ``floor``: the Frechet distance of as many other reals. ``scale``: root mean square of the
    features. The kernel distance divides all features by it; otherwise it would depend on the
    network's scale to the sixth power.
    """

    features: Tensor
    moments: Moments
    floor: float
    scale: float


@once_per_subject
def _statistics(subject: Subject) -> _RealStatistics | None:
    reals, others = cloud(subject.real_features), cloud(subject.other_features)
    if min(len(reals), len(others)) < 2 or not all_finite(reals, others):
        return None
    real_moments = moments(reals)
    scale = float(reals.square().mean().sqrt()) or 1.0
    return _RealStatistics(reals, real_moments, frechet_distance(others, real_moments), scale)


def _measures(names: tuple[str, str, str], short: str, of: str) -> Mapping[str, Measure]:
    distance, floor, kernel = names
    number = f"of {EXAM_SAMPLES} fakes, or of half as many as the data,"
    return {
        distance: Measure(
            f"{short}FID ({EXAM_SAMPLES})",
            "",
            f"Frechet distance {number} to reals in {of}; not the Inception-FID",
        ),
        floor: Measure(
            f"{short}FID of real data", "", "that of as many other reals: G's best possible value"
        ),
        kernel: Measure(
            f"{short}KID ({EXAM_SAMPLES})",
            "",
            f"kernel distance {number} to reals in {of}; 0 for a perfect G",
        ),
    }


class ByClassifier(Distance):
    """Distances in the features of ganterm's own classifier."""

    names = (CFID, "cfid_floor", "kid")
    measures: ClassVar = _measures(names, "c", "the features of ganterm's own classifier")

    def fits(self, subject: Subject) -> bool:
        """Fits pictures whose features were learnt."""
        return not subject.plane and not isinstance(subject.features, FixedFeatures)


class ByRandomNetwork(Distance):
    """Distances in the features of a fixed network of random weights."""

    names = ("rfid", "rfid_floor", "kid")
    measures: ClassVar = _measures(names, "r", "the features of a fixed network of random weights")

    def fits(self, subject: Subject) -> bool:
        """Fits pictures without labels to learn from."""
        return not subject.plane and isinstance(subject.features, FixedFeatures)


EXAMS = (ByClassifier(), ByRandomNetwork())
