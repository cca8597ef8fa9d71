"""Checkerboards: a pattern with the period of an upsampling, found in the pictures' spectrum."""

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
"""Fewest pixels a side: with fewer a peak cannot be told from its neighbours."""
FREQUENCIES = (1 / 8, 1 / 4, 3 / 8, 1 / 2)
"""Frequencies in cycles a pixel: 1/4 and 1/2 have periods of four and two pixels, which upsampling
by 2 leaves (Odena et al. 2016); 1/8 and 3/8 are compared with them.
"""
ROUNDING = (2 / 255) ** 2 / 12
"""Power of rounding to 8 bits at every frequency; less is invisible in any picture."""


def line_spectrum(pictures: Tensor) -> Tensor:
    """Mean power at FREQUENCIES along columns and along rows of pictures (n, c, h, w), (2, 4).

    Each line counts by itself, so a pattern counts wherever it is, at any side. A Hann window keeps
    the jump between a line's ends from leaking into all frequencies. White noise of variance v has
    power v.
    """
    return torch.stack([_along_rows(pictures.mT), _along_rows(pictures)])


def _along_rows(pictures: Tensor) -> Tensor:
    side = pictures.shape[-1]
    lines = pictures.flatten(0, -2).cpu().double()
    window = torch.hann_window(side + 2, periodic=False, dtype=torch.float64)[1:-1]
    window /= window.square().sum().sqrt()
    place = torch.arange(side, dtype=torch.float64)
    turns = 2 * math.pi * place[:, None] * torch.tensor(FREQUENCIES, dtype=torch.float64)
    waves = torch.cat([turns.cos(), turns.sin()], dim=1)
    # The window's own mean is no pattern: without it a bright line leaks where the window is short.
    waves = window[:, None] * (waves - window @ waves / window.sum())
    parts = (lines @ waves).square().mean(dim=0)
    return parts[: len(FREQUENCIES)] + parts[len(FREQUENCIES) :]


class Pattern(NamedTuple):
    """How strong patterns of four and of two pixels are down and across, each (2, 2).

    ``beside``: their power in that of the frequencies beside; 1 for noise, which has all alike.
    ``whole``: in the power of all frequencies.
    """

    beside: Tensor
    whole: Tensor


def pattern(pictures: Tensor) -> Pattern:
    """The patterns of pictures (n, c, h, w) in -1..1 that are not blank."""
    eighth, quarter, between, half = (line_spectrum(pictures) + ROUNDING).unbind(dim=1)
    beside = torch.stack([quarter / (eighth * between).sqrt(), half / between], dim=1)
    variance = pictures.cpu().double().flatten(2).var(dim=2, unbiased=False).mean()
    return Pattern(beside, torch.stack([quarter, half], dim=1) / (variance + ROUNDING))


def usable(pictures: Tensor) -> bool:
    """Whether pictures (n, c, h, w) are finite and not blank."""
    flat = pictures.flatten(2)
    return bool(len(flat)) and all_finite(flat) and bool((flat != flat[..., :1]).any())


def checkerboard(fakes: Tensor, reals: Pattern) -> float:
    """How much the strongest pattern of fakes (n, c, h, w) exceeds that of reals; 1 is as the data.

    The smaller excess counts, over the neighbouring frequencies or over the whole: noise raises all
    frequencies alike, and blur may lower only the neighbours. NaN for blank pictures.
    """
    if not usable(fakes):
        return math.nan
    ours = pattern(fakes)
    return float(torch.minimum(ours.beside / reals.beside, ours.whole / reals.whole).max())


class CheckerboardStrength(Exam):
    """How much a pattern of two or four pixels stands out in the fakes' spectrum."""

    measures: ClassVar = {
        "checkerboard": Measure(
            "checkerboard",
            "",
            "how much patterns that repeat every 2 or 4 pixels stand out in fakes, by how much they"
            " do in reals: 1 is as the data, from about 4 on a checkerboard can be seen",
        ),
    }

    def fits(self, subject: Subject) -> bool:
        """On pictures that are not tiny."""
        return not subject.plane and min(subject.reals.shape[-2:]) >= LEAST

    def take(self, context: ExamContext) -> ExamResult:
        """Measure the first fakes."""
        reals = _of_reals(context.subject)
        # A screen clamps in the same way.
        fakes = context.fakes[:SAMPLES].clamp(-1, 1)
        value = math.nan if reals is None else checkerboard(fakes, reals)
        return ExamResult({"checkerboard": value})


@once_per_subject
def _of_reals(subject: Subject) -> Pattern | None:
    reals = subject.reals[:SAMPLES]
    return pattern(reals) if usable(reals) else None


EXAMS = (CheckerboardStrength(),)
