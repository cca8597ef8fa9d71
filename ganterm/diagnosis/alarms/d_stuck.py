"""Alarm: D scores fakes above reals and does not improve."""

from __future__ import annotations

import numpy as np

from ganterm.core.findings import Remedy
from ganterm.diagnosis.remedies import available, higher, lower, set_to, slow_g
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.trends import STEPS_PER_ROUND, block_medians, lasting_since

FOOLED = 0.25
"""AUC below which fakes score above reals in most pairs."""
CLEAR = 0.4
"""AUC from which a raised alarm is cleared."""
LASTING = 8
"""Number of consecutive blocks of rows that must be below the bound."""


class StuckD(Rule):
    """D ranks fakes above reals for long."""

    name = "d_stuck"
    title = "G fools a stuck D"
    apart = STEPS_PER_ROUND
    exams = False

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge the AUC, which means the same for every loss."""
        steps, (auc, g_loss) = block_medians(record, "d_auc", "g_loss")
        if len(steps) < LASTING or not np.isfinite(auc[-1]):
            return None
        first = lasting_since(auc < (CLEAR if raised else FOOLED), LASTING)
        if first is None:
            return False
        recent_auc = float(np.nanmedian(auc[first:]))
        return Finding(
            f"D scores fakes above reals in {100 * (1 - recent_auc):.0f} % of pairs and does not "
            "learn better: G fools it with whatever it makes.",
            {"d_auc": round(recent_auc, 4), "g_loss": round(float(g_loss[-1]), 4)},
            int(steps[first]),
        )

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """Stop G from running ahead, speed D up, then slow G down."""
        controls = record.controls
        g_ahead = controls.l > controls.k
        catch_up = None
        if controls.lr_d < controls.lr_g:
            catch_up = set_to(controls, "lr_d", controls.lr_g, "D's rate as large as G's")
        return available(
            slow_g(controls) if g_ahead else None,
            catch_up or higher(controls, "lr_d", "D must learn faster"),
            higher(controls, "k", "more D updates a step"),
            lower(controls, "lr_g", "D catches up with a slower G"),
            None if g_ahead else slow_g(controls),
        )


RULES = (StuckD(),)
