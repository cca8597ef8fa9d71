"""The range of G's samples, and samples that are blank or not finite."""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from ganterm.core.findings import Measure
from ganterm.diagnosis.clouds import once_per_subject
from ganterm.diagnosis.exam import Exam, ExamContext, ExamResult, Subject

SAMPLES = 128
"""Number of fakes."""
BLANK = 1 / 255
"""Largest difference of values in a blank picture: half of one of 256 grey levels over -1..1."""


class ValueSummary(NamedTuple):
    """Lowest and highest finite value, NaN without any; shares, 0..1, of blank and bad samples."""

    lowest: float
    highest: float
    blank: float
    non_finite: float


def values(samples: Tensor) -> ValueSummary:
    """Summarise samples (n, ...), n >= 1; a sample that is not finite is never blank."""
    flat = samples.flatten(1).float()
    finite = flat.isfinite()
    good = finite.all(dim=1)
    blank = good & (flat.amax(dim=1) - flat.amin(dim=1) <= BLANK)
    valid = flat[finite]
    low, high = (float(valid.min()), float(valid.max())) if len(valid) else (math.nan, math.nan)
    return ValueSummary(low, high, float(blank.float().mean()), float((~good).float().mean()))


class Range(Exam):
    """The range of the fakes and of the data, and fakes that are blank or not finite."""

    measures: ClassVar = {
        "value_low": Measure("lowest value", "", "the smallest value of any fake"),
        "value_high": Measure("highest value", "", "the largest value of any fake"),
        "data_low": Measure("lowest in the data", "", "the smallest value of any real"),
        "data_high": Measure("highest in the data", "", "the largest value of any real"),
        "blank": Measure("blank", "%", "fakes with one value in all pixels"),
        "non_finite": Measure("not finite", "%", "fakes with a NaN or an infinite value"),
    }

    def fits(self, subject: Subject) -> bool:
        """Fits any data."""
        return True

    def take(self, context: ExamContext) -> ExamResult:
        """Measure fakes as G returns them; a point cannot be blank."""
        summary = values(context.generate(SAMPLES)[0])
        low, high = _range(context.subject)
        readings = {
            "value_low": summary.lowest,
            "value_high": summary.highest,
            "data_low": low,
            "data_high": high,
            "non_finite": 100 * summary.non_finite,
        }
        if not context.subject.plane:
            readings["blank"] = 100 * summary.blank
        return ExamResult(readings)


@once_per_subject
def _range(subject: Subject) -> tuple[float, float]:
    both = torch.cat([subject.reals, subject.other_reals])
    return float(both.min()), float(both.max())


EXAMS = (Range(),)
