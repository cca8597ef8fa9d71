"""How well samples cover the modes of the data, if the modes are known."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ganterm.core.findings import A_MODE, Measure, Modes
from ganterm.diagnosis.clouds import cloud
from ganterm.diagnosis.exam import EXAM_SAMPLES, Exam, ExamContext, ExamResult, Subject

FOUND = 0.1
"""A mode counts as found if its share of the fakes is at least this fraction of its share of the
data. Errors of the classifier and stray points put a few fakes into modes that G never produces.
"""
SURE = 0.5
"""Least confidence at which a picture's class counts (for stacked digits, the product of all)."""


class Coverage(NamedTuple):
    """``modes``: modes with a high-quality sample. ``high_quality``: the share of these, 0..1.

    ``reverse_kl``: in nats, from their histogram over the modes to a uniform one; inf without any.
    """

    modes: int
    high_quality: float
    reverse_kl: float


def coverage(points: Tensor, modes: Tensor, sigma: float) -> Coverage:
    """The coverage of ``modes`` (m, 2) by ``points`` (n, 2), as VEEGAN and PacGAN count it.

    A sample is of high quality within 3 ``sigma`` of its nearest mode (Srivastava et al. 2017);
    the KL is that of Lin et al. 2018. Samples of the 2-D Gaussians themselves have 1 - e^-4.5 =
    98.9 % of high quality.
    """
    counts, share = near_modes(points, modes, sigma)
    even = torch.full((len(modes),), 1 / len(modes))
    return Coverage(int((counts > 0).sum()), share, divergence(counts, even))


def near_modes(points: Tensor, modes: Tensor, sigma: float) -> tuple[Tensor, float]:
    """Numbers of points (n, 2) within 3 ``sigma`` of each mode (m, 2); their share of all, 0..1.

    The numbers are int64 (m,), in host memory.
    """
    distance, nearest = torch.cdist(cloud(points), cloud(modes)).min(dim=1)
    good = distance <= 3 * sigma
    counts = torch.bincount(nearest[good], minlength=len(modes))
    return counts, float(good.float().mean())


def divergence(counts: Tensor, prior: Tensor) -> float:
    """KL in nats from the histogram ``counts`` (m,) to ``prior`` (m,); inf without any count."""
    total = int(counts.sum())
    if not total:
        return math.inf
    share, expected = counts.cpu().double() / total, prior.cpu().double()
    positive = share > 0
    return float((share[positive] * (share[positive] / expected[positive]).log()).sum())


def floor(modes: int, samples: int) -> float:
    """The mean ``divergence`` of ``samples`` of the data themselves, in nats: (m - 1) / 2n.

    It is due to the histogram's noise: the likelihood-ratio statistic, 2n times the divergence, has
    the mean m - 1 (Wilks 1938).
    """
    return (modes - 1) / (2 * samples)


class KnownModes(Exam):
    """Modes found, and how evenly: exactly for mixtures, by the classifier for labelled data."""

    measures: ClassVar = {
        "modes": Measure(
            "modes found", "", "modes with at least a tenth of the data's share in G's samples"
        ),
        "mode_kl": Measure(
            "mode KL", "nats", "from G's histogram over the modes to the data's; 0: equal"
        ),
        "mode_kl_floor": Measure(
            "mode KL of real data", "nats", "mode KL of as many samples of the data"
        ),
        "high_quality": Measure(
            "high quality",
            "%",
            "points within 3 sigma of a mode; pictures whose class the classifier is sure of",
        ),
    }

    def fits(self, subject: Subject) -> bool:
        """Fits mixtures, and labelled data with a classifier."""
        return subject.modes is not None or subject.classifier is not None

    def comes_first(self, subject: Subject) -> bool:
        """True unless there are so many modes that thousands of samples are needed."""
        return A_MODE * len(subject.classes) <= EXAM_SAMPLES

    def take(self, context: ExamContext) -> ExamResult:
        """Count modes among EXAM_SAMPLES samples, or more if there are very many modes."""
        subject = context.subject
        more = A_MODE * len(subject.classes) - EXAM_SAMPLES
        others = context.generate(more)[0] if more > 0 else None
        if subject.modes is not None:
            fakes = context.fakes if others is None else torch.cat([context.fakes, others])
            counts, quality = near_modes(fakes, subject.modes, subject.sigma)
        else:
            assert subject.classifier is not None
            logits = context.classifier_output.logits
            if others is not None:
                logits = torch.cat([logits, subject.classifier.output(others).logits])
            classes, confidence = subject.classifier.prediction(logits)
            sure = classes[confidence >= SURE]
            counts = torch.bincount(sure, minlength=len(subject.classes))
            quality = len(sure) / len(logits)
        counts = counts.cpu()
        total = int(counts.sum())
        assert subject.prior is not None
        prior = subject.prior.cpu()
        shares = counts.float() / max(total, 1)
        found = (counts > 0) & (shares >= FOUND * prior)
        readings = {
            "modes": float(found.sum()),
            "mode_kl": divergence(counts, prior),
            "mode_kl_floor": floor(len(prior), total) if total else math.nan,
            "high_quality": 100 * quality,
        }
        kind = "mode" if subject.modes is not None else "class"
        if len(subject.classes) == 10 and all(name[:1].isdigit() for name in subject.classes):
            kind = "digit"
        modes = Modes(
            context.step,
            subject.classes,
            shares.numpy(),
            prior.numpy(),
            found.numpy(),
            total,
            kind,
        )
        return ExamResult(readings, modes)


EXAMS = (KnownModes(),)
