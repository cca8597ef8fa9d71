"""How well samples cover the modes of the data, where the modes are known."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ganterm.core.findings import A_MODE, Measure, Modes
from ganterm.diagnosis.clouds import cloud
from ganterm.diagnosis.exam import EXAM_SAMPLES, Exam, ExamContext, ExamResult, Subject

FOUND = 0.1
"""Share of the data's share from which a mode counts as found.

Errors of the classifier and stray points put a sample or two into modes that G never produces.
"""
SURE = 0.5
"""Least confidence at which the classifier's class counts (joint, for stacked digits)."""


class Coverage(NamedTuple):
    """Modes with at least one high-quality sample; the share of high-quality samples, 0..1; and
    the reverse KL in nats from their histogram over the modes to an even one (inf without any)."""

    modes: int
    high_quality: float
    reverse_kl: float


def coverage(points: Tensor, modes: Tensor, sigma: float) -> Coverage:
    """The coverage of ``modes`` (m, 2) by ``points`` (n, 2), as VEEGAN and PacGAN count it.

    A sample is of high quality within 3 ``sigma`` of its nearest mode (Srivastava et al. 2017);
    the KL is that of Lin et al. 2018. Real data of 2-D Gaussians reach 1 - e^-4.5 = 98.9 %.
    """
    counts, share = near_modes(points, modes, sigma)
    even = torch.full((len(modes),), 1 / len(modes))
    return Coverage(int((counts > 0).sum()), share, divergence(counts, even))


def near_modes(points: Tensor, modes: Tensor, sigma: float) -> tuple[Tensor, float]:
    """Points (n, 2) within 3 ``sigma`` of each mode, int64 (m,), and their share of all, 0..1.

    The counts are in host memory.
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
    some = share > 0
    return float((share[some] * (share[some] / expected[some]).log()).sum())


def floor(modes: int, samples: int) -> float:
    """The ``divergence`` of samples of the data themselves, in nats: (m - 1) / 2n.

    It comes from the histogram's noise: the mean of the likelihood-ratio statistic (Wilks 1938)
    over 2n.
    """
    return (modes - 1) / (2 * samples)


class KnownModes(Exam):
    """Modes found, and how evenly: exactly for mixtures, by the classifier for labelled data."""

    measures: ClassVar = {
        "modes": Measure(
            "modes found", "", "modes G makes at least a tenth of the data's share of"
        ),
        "mode_kl": Measure(
            "mode KL", "nats", "from G's histogram over the modes to the data's; 0 is equal"
        ),
        "mode_kl_floor": Measure(
            "mode KL of real data", "nats", "what so many samples of the data would show"
        ),
        "high_quality": Measure(
            "high quality",
            "%",
            "points within 3 sigma of a mode; for pictures, those the classifier is sure of",
        ),
    }

    def fits(self, subject: Subject) -> bool:
        """Where the modes are known and can be told apart."""
        return subject.modes is not None or subject.classifier is not None

    def comes_first(self, subject: Subject) -> bool:
        """Not where thousands of samples are needed."""
        return A_MODE * len(subject.classes) <= EXAM_SAMPLES

    def take(self, context: ExamContext) -> ExamResult:
        """Count modes among EXAM_SAMPLES samples; more samples are drawn for very many modes."""
        subject = context.subject
        more = A_MODE * len(subject.classes) - EXAM_SAMPLES
        others = context.generate(more)[0] if more > 0 else None
        if subject.modes is not None:
            fakes = context.fakes if others is None else torch.cat([context.fakes, others])
            counts, sure = near_modes(fakes, subject.modes, subject.sigma)
        else:
            assert subject.classifier is not None
            logits = context.classifier_output.logits
            if others is not None:
                logits = torch.cat([logits, subject.classifier.output(others).logits])
            classes, confidence = subject.classifier.prediction(logits)
            counted = classes[confidence >= SURE]
            counts = torch.bincount(counted, minlength=len(subject.classes))
            sure = len(counted) / len(logits)
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
            "high_quality": 100 * sure,
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
