"""Checkerboards: patterns with the period of an upsampling, measured in the pictures' spectrum."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ganterm.core.findings import Measure
from ganterm.diagnosis.clouds import all_finite, once_per_subject
from ganterm.diagnosis.exam import Exam, ExamContext, ExamResult, Subject

SAMPLES = 128
"""Number of fakes, and of reals."""
LEAST = 8
"""Fewest pixels a side: with fewer, a peak in the spectrum overlaps its neighbours."""
FREQUENCIES = (1 / 8, 1 / 4, 3 / 8, 1 / 2)
"""Frequencies in cycles a pixel: 1/4 and 1/2 have periods of four and two pixels, those of the
patterns that upsampling by 2 leaves (Odena et al. 2016); 1/8 and 3/8 are for comparison.
"""
ROUNDING = (2 / 255) ** 2 / 12
"""Power, at every frequency, of the error of rounding to 8 bits; less is invisible."""


def line_spectrum(pictures: Tensor) -> Tensor:
    """Mean power at FREQUENCIES along columns and along rows of pictures (n, c, h, w), (2, 4).

    Each line is transformed by itself, so a pattern counts wherever it is, in pictures of any size.
    A Hann window keeps the jump between a line's ends from leaking into all frequencies. White
    noise of variance v has power v.
    """
    return torch.stack([_along_rows(pictures.mT), _along_rows(pictures)])


def _along_rows(pictures: Tensor) -> Tensor:
    side = pictures.shape[-1]
    lines = pictures.flatten(0, -2).cpu().double()
    window = torch.hann_window(side + 2, periodic=False, dtype=torch.float64)[1:-1]
    window /= window.square().sum().sqrt()
    place = torch.arange(side, dtype=torch.float64)
    phases = 2 * math.pi * place[:, None] * torch.tensor(FREQUENCIES, dtype=torch.float64)
    waves = torch.cat([phases.cos(), phases.sin()], dim=1)
    # Subtract the window's share of each wave: otherwise a short window lets brightness leak in.
    waves = window[:, None] * (waves - window @ waves / window.sum())
    parts = (lines @ waves).square().mean(dim=0)
    return parts[: len(FREQUENCIES)] + parts[len(FREQUENCIES) :]


class Pattern(NamedTuple):
    """Strength of patterns of four and of two pixels, along columns and along rows; each (2, 2).

    ``contrast``: power over that of neighbouring frequencies; 1 for white noise. ``share``: power
    over the variance of the pictures.
    """

    contrast: Tensor
    share: Tensor


def pattern(pictures: Tensor) -> Pattern:
    """The patterns of pictures (n, c, h, w) in -1..1 that are not blank."""
    eighth, quarter, between, half = (line_spectrum(pictures) + ROUNDING).unbind(dim=1)
    contrast = torch.stack([quarter / (eighth * between).sqrt(), half / between], dim=1)
    variance = pictures.cpu().double().flatten(2).var(dim=2, unbiased=False).mean()
    return Pattern(contrast, torch.stack([quarter, half], dim=1) / (variance + ROUNDING))


def usable(pictures: Tensor) -> bool:
    """Whether pictures (n, c, h, w) are finite and not blank."""
    flat = pictures.flatten(2)
    return bool(len(flat)) and all_finite(flat) and bool((flat != flat[..., :1]).any())


def checkerboard(fakes: Tensor, reals: Pattern) -> float:
    """Strength of the strongest pattern of fakes (n, c, h, w) over that of reals; 1 is as in reals.

    The smaller of the ratios of ``contrast`` and of ``share`` counts, since noise raises the share
    alone, and blur may raise the contrast alone. NaN for blank pictures.
    """
    if not usable(fakes):
        return math.nan
    ours = pattern(fakes)
    return float(torch.minimum(ours.contrast / reals.contrast, ours.share / reals.share).max())


class CheckerboardStrength(Exam):
    """How much a pattern of two or four pixels stands out in the fakes' spectrum."""

    measures: ClassVar = {
        "checkerboard": Measure(
            "checkerboard",
            "",
            "how much patterns that repeat every 2 or 4 pixels stand out in fakes, over how much"
            " they do in reals: 1 for a perfect G, visible from about 4 on",
        ),
    }

    def fits(self, subject: Subject) -> bool:
        """Fits pictures that are not tiny."""
        return not subject.plane and min(subject.reals.shape[-2:]) >= LEAST

    def take(self, context: ExamContext) -> ExamResult:
        """Measure the first fakes."""
        reals = _of_reals(context.subject)
        # Clamp as a screen does: what no screen shows does not count.
        fakes = context.fakes[:SAMPLES].clamp(-1, 1)
        value = math.nan if reals is None else checkerboard(fakes, reals)
        return ExamResult({"checkerboard": value})


@once_per_subject
def _of_reals(subject: Subject) -> Pattern | None:
    reals = subject.reals[:SAMPLES]
    return pattern(reals) if usable(reals) else None


EXAMS = (CheckerboardStrength(),)
