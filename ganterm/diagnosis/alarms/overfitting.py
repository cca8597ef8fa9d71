"""Alarm: D memorises its training data."""

from __future__ import annotations

import math

from ganterm.core.findings import Remedy
from ganterm.diagnosis.remedies import available, lower, raise_to
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.trends import STEPS_PER_ROUND, current

GAP = 0.6
"""Least gap of a D that overfits: the target of ADA's heuristics (Karras et al. 2020)."""
CLEAR = 0.4
"""Gap below which a raised alarm is cleared."""


class OverfittingD(Rule):
    """Held-out reals score nearly as low as fakes."""

    name = "d_overfits"
    title = "D overfits"
    severity = "warning"
    raise_after = 3
    apart = STEPS_PER_ROUND
    measures = ("held_out_gap",)

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge r_v, the gap between training and held-out reals."""
        gap = current(record, "held_out_gap")
        if not math.isfinite(gap):
            return None
        if gap < (CLEAR if raised else GAP):
            return False
        return Finding(
            f"D scores held-out reals {100 * min(gap, 1):.0f} % of the way from its training "
            "data to the fakes: it has memorised the data.",
            {"held_out_gap": round(gap, 3)},
        )

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """Make the data harder to memorise, then D weaker."""
        controls = record.controls
        return available(
            raise_to(controls, "d_input_dropout", 0.2, "D sees parts only"),
            raise_to(controls, "instance_noise", 0.1, "noise on all that D sees"),
            lower(controls, "lr_d", "a slower D"),
            lower(controls, "k", "fewer D updates a step"),
        )


RULES = (OverfittingD(),)
