"""Alarm: a pattern of two or four pixels covers all pictures."""

from __future__ import annotations

import math

from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.trends import STEPS_PER_ROUND, current

VISIBLE = 4.0
"""Least strength, as a multiple of that in reals, at which a checkerboard is visible."""
CLEAR = 2.5
"""Strength below which a raised alarm is cleared."""
WARM_UP = 500
"""Steps before which the pictures of an untrained G may show its upsampling."""


class Checkerboard(Rule):
    """The pattern stands out and lasts."""

    name = "checkerboard"
    title = "Checkerboard"
    raise_after = 3
    apart = STEPS_PER_ROUND
    measures = ("checkerboard",)

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge the strength that the exam ``spectrum`` measures.

        There are no remedies: the layers of G cause the pattern, and no control changes these.
        """
        strength = current(record, "checkerboard")
        if not math.isfinite(strength) or record.step < WARM_UP:
            return None
        if strength < (CLEAR if raised else VISIBLE):
            return False
        uneven = record.traits.uneven_upsampling
        cause = f"; G's {uneven[0]} upsamples unevenly" if uneven else ""
        return Finding(
            f"A pattern of two or four pixels stands out {strength:.1f} times as much as in the "
            f"data{cause}; generator.up = bilinear or a kernel of 4 avoids it.",
            {"checkerboard": float(f"{strength:.3g}"), "layers": list(uneven)},
        )


RULES = (Checkerboard(),)
