"""Samples that are all alike, or of few of the data's modes only."""

from __future__ import annotations

import math

from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.signs import first_fresh
from ganterm.session.findings import Remedy

ALIKE = 60.0
"""Variety, in % of that of reals, below which samples have collapsed."""
VARIED = 75.0


class Collapse(Rule):
    """."""

    name = "collapse"
    title = "Mode collapse"

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        variety = first_fresh(record, "vendi_features", "vendi_pixels")
        if not math.isfinite(variety):
            return None
        if record.step < 400:
            return None
        if variety >= (VARIED if raised else ALIKE):
            return False
        return Finding(f"variety {variety:.0f} %", {"variety": variety})

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        return ()


RULES = (Collapse(),)
