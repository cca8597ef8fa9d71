"""D's raw scores: how they differ between reals and fakes, and whether D memorises reals."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ganterm.core.findings import Measure, Scores
from ganterm.diagnosis.exam import Exam, ExamContext, ExamResult, Subject
from ganterm.diagnosis.ranking import auc
from ganterm.losses import LOSSES

SCORED = 256
"""Number of samples of each kind that D scores: as many as are held out."""
BINS = 24
"""Bins of a histogram."""
TAILS = (0.01, 0.99)
"""Quantiles at which a histogram ends, so that a stray score does not flatten all others."""
SURE = 2.0
"""Standard errors by which reals must score above fakes for ``held_out_gap`` to be meaningful."""


class ScoreExam(Exam):
    """Histograms of D's raw scores, and readings from them."""

    measures: ClassVar = {
        "sign_rate": Measure(
            "sign rate r_t", "", "mean sign of D on reals, -1..1; above 0.6 D begins to overfit"
        ),
        "d_error": Measure(
            "D error", "%", "reals and fakes that D classifies wrongly; 50 is chance"
        ),
        "held_out_gap": Measure(
            "held-out gap r_v",
            "",
            "how far new reals score below training reals: 0 not at all, 1 as far as fakes",
        ),
    }

    def fits(self, subject: Subject) -> bool:
        """Fits any data."""
        return True

    def take(self, context: ExamContext) -> ExamResult:
        """Score at most SCORED samples of each kind."""
        subject, loss = context.subject, LOSSES[context.controls.loss]
        real = context.score(subject.reals[:SCORED], _first(subject.real_labels)).float()
        fake = context.score(context.fakes[:SCORED], _first(context.labels)).float()
        held_out = None
        if subject.held_out is not None:
            held_out = context.score(
                subject.held_out[:SCORED], _first(subject.held_out_labels)
            ).float()
        rank = auc(real, fake)
        accuracies = torch.stack(loss.accuracy(real, fake, rank))
        finite = bool(torch.isfinite(real).all() and torch.isfinite(fake).all())
        readings = {
            "sign_rate": sign_rate(real, fake, loss.boundary(real, fake)),
            "d_error": 100 * float(1 - accuracies.mean()) if finite else math.nan,
        }
        if held_out is not None:
            readings["held_out_gap"] = held_out_gap(real, held_out, fake)
        return ExamResult(readings, scores=histograms(context.step, real, fake, held_out))


def sign_rate(real: Tensor, fake: Tensor, boundary: float | None) -> float:
    """ADA's r_t = E[sign(D(real) - boundary)] (Karras et al. 2020), -1..1; scores (n,), (m,).

    Without a boundary, E[sign(D(real) - D(fake))] over all pairs, as R3GAN logs it (Huang et al.
    2024). Both are 0 by chance and 1 for a D that is always right. NaN if a score is not finite.
    """
    if not (torch.isfinite(real).all() and torch.isfinite(fake).all()) or not len(real):
        return math.nan
    if boundary is None:
        return 2 * float(auc(real, fake)) - 1
    return float((real - boundary).sign().mean())


def held_out_gap(real: Tensor, held_out: Tensor, fake: Tensor) -> float:
    """ADA's r_v = (E D(real) - E D(held out)) / (E D(real) - E D(fake)) (Karras et al. 2020).

    0: held-out reals score like those that D trains on; 1: they score like fakes. Chance can take
    it a little outside 0..1. NaN if training reals do not score above fakes by SURE standard
    errors, since the gap is measured against that lead.
    """
    if min(len(real), len(fake)) < 2:
        return math.nan
    lead = float(real.mean() - fake.mean())
    error = float((real.var() / len(real) + fake.var() / len(fake)).sqrt())
    if not lead > SURE * error:
        return math.nan
    return float(real.mean() - held_out.mean()) / lead


def histograms(step: int, real: Tensor, fake: Tensor, held_out: Tensor | None) -> Scores | None:
    """Counts of scores in BINS equal bins between the TAILS of all scores.

    Scores beyond the tails count in the first and last bin. Scores that are not finite do not
    count; the result is None if no score is finite.
    """
    parts = [_finite(part) for part in (real, fake, held_out) if part is not None]
    pooled = np.concatenate(parts)
    if not len(pooled):
        return None
    low, high = np.quantile(pooled, TAILS)
    # In float32 the edges of narrower bins would be equal.
    least = 1e-4 * max(abs(low), abs(high)) or 1.0
    if high - low < least:
        low, high = low - least / 2, high + least / 2
    edges = np.linspace(low, high, BINS + 1).astype(np.float32)
    counts = [np.histogram(part.clip(edges[0], edges[-1]), edges)[0] for part in parts]
    return Scores(step, edges, counts[0], counts[1], counts[2] if held_out is not None else None)


def _finite(scores: Tensor) -> np.ndarray:
    # Not every accelerator has float64.
    values: np.ndarray = scores.cpu().double().numpy()
    finite: np.ndarray = values[np.isfinite(values)]
    return finite


def _first(labels: Tensor | None) -> Tensor | None:
    return None if labels is None else labels[:SCORED]


EXAMS = (ScoreExam(),)
