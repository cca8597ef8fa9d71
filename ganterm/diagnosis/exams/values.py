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
"""Largest spread of a blank picture's values: half a grey level, for a range of 2."""


class ValueSummary(NamedTuple):
    """The lowest and highest of finite values, NaN without any, and shares of samples, 0..1."""

    lowest: float
    highest: float
    blank: float
    non_finite: float


def values(samples: Tensor) -> ValueSummary:
    """Summarise samples (n, ...), n >= 1; a sample that is not finite is not blank."""
    flat = samples.flatten(1).float()
    finite = flat.isfinite()
    whole = finite.all(dim=1)
    blank = whole & (flat.amax(dim=1) - flat.amin(dim=1) <= BLANK)
    some = flat[finite]
    low, high = (float(some.min()), float(some.max())) if len(some) else (math.nan, math.nan)
    return ValueSummary(low, high, float(blank.float().mean()), float((~whole).float().mean()))


class Range(Exam):
    """The fakes' range beside that of the data, and fakes that are no pictures."""

    measures: ClassVar = {
        "value_low": Measure("lowest value", "", "the smallest value of any fake"),
        "value_high": Measure("highest value", "", "the largest value of any fake"),
        "data_low": Measure("lowest in the data", "", "the smallest of any real sample"),
        "data_high": Measure("highest in the data", "", "the largest of any real sample"),
        "blank": Measure("blank", "%", "fakes of one value throughout"),
        "non_finite": Measure("not finite", "%", "fakes with a NaN or an infinite value"),
    }

    def fits(self, subject: Subject) -> bool:
        """On any data."""
        return True

    def take(self, context: ExamContext) -> ExamResult:
        """Measure fakes as G returns them; a point cannot be blank."""
        found = values(context.generate(SAMPLES)[0])
        low, high = _range(context.subject)
        readings = {
            "value_low": found.lowest,
            "value_high": found.highest,
            "data_low": low,
            "data_high": high,
            "non_finite": 100 * found.non_finite,
        }
        if not context.subject.plane:
            readings["blank"] = 100 * found.blank
        return ExamResult(readings)


@once_per_subject
def _range(subject: Subject) -> tuple[float, float]:
    both = torch.cat([subject.reals, subject.other_reals])
    return float(both.min()), float(both.max())


EXAMS = (Range(),)
