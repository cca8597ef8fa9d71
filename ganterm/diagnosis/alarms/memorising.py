"""Alarm: G reproduces training data."""

from __future__ import annotations

import math

from ganterm.core.findings import Remedy
from ganterm.diagnosis.remedies import available, raise_to
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.trends import STEPS_PER_ROUND, current

COPIES = 20.0
"""Least % of fakes that are copies: far closer to one training picture than to any other."""
CLEAR = 10.0
"""% of copies below which a raised alarm is cleared."""


class Memorising(Rule):
    """Many fakes are training pictures, up to noise."""

    name = "memorising"
    title = "G memorises"
    apart = STEPS_PER_ROUND
    measures = ("memorised",)

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge the share of copies among fakes; points of the plane are not judged."""
        copies = current(record, "memorised")
        if record.traits.plane or not math.isfinite(copies):
            return None
        if copies < (CLEAR if raised else COPIES):
            return False
        evidence = {"memorised": round(copies, 1)}
        ratio = current(record, "nearest_ratio")
        if math.isfinite(ratio):
            evidence["nearest_ratio"] = round(ratio, 3)
        return Finding(f"{copies:.0f} % of the fakes are copies of training pictures.", evidence)

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """Make the data harder to memorise."""
        controls = record.controls
        return available(
            raise_to(controls, "instance_noise", 0.1, "noise on all that D sees"),
            raise_to(controls, "d_input_dropout", 0.2, "D sees parts only"),
        )


RULES = (Memorising(),)
