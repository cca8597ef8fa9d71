"""Alarm: D is always right, so that G has nothing to learn from."""

from __future__ import annotations

import math

import numpy as np

from ganterm.core.findings import Remedy
from ganterm.diagnosis.medians import Values
from ganterm.diagnosis.remedies import add_r1, available, higher, lower, raise_to, switch
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.trends import STEPS_PER_ROUND, Flags, block_medians, lasting_since
from ganterm.losses import LOSSES

RIGHT = 0.995
"""Least AUC, under any loss, at which D ranks nearly every pair correctly."""
CLEAR = 0.98
"""AUC below which a raised alarm is cleared."""
ERRORS = 0.01
"""Share of errors below which D hardly errs, under losses with a threshold."""
FADED = 0.05
"""Share of its usual norm below which G's gradient has faded."""
LASTING = 12
"""Number of consecutive blocks of rows in which D must win."""


class WinningD(Rule):
    """D recognises all fakes, and G's gradient has faded or D hardly errs, for long."""

    name = "d_wins"
    title = "D is overpowering"
    apart = STEPS_PER_ROUND
    exams = False

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge the AUC, D's errors if the loss has a threshold, and G's gradient."""
        metrics = ("d_auc", "d_acc_real", "d_acc_fake", "grad_norm_g", "g_loss")
        steps, values = block_medians(record, *metrics)
        if len(steps) < LASTING or not np.isfinite(values[:, -1]).all():
            return None
        auc, gradient = values[0], values[3]
        faded = gradient < FADED * _usual(gradient)
        winning = auc >= (CLEAR if raised else RIGHT)
        if not raised:
            winning &= faded | self._hardly_errs(record, values)
        first = lasting_since(winning, LASTING)
        if first is None:
            return False
        evidence = {
            "d_auc": round(float(np.nanmedian(auc[first:])), 4),
            "grad_norm_g": _rounded(np.nanmedian(gradient[-LASTING:])),
            "grad_norm_g_usual": _rounded(_usual(gradient)),
            "g_loss": _rounded(values[4][-1]),
        }
        fading = (
            f"; G's gradient has faded from {evidence['grad_norm_g_usual']:g} to "
            f"{evidence['grad_norm_g']:g}"
            if faded[-LASTING:].mean() > 0.5
            else ""
        )
        return Finding(
            f"D ranks {100 * evidence['d_auc']:.1f} % of pairs correctly{fading}: G has next to "
            "nothing to learn from.",
            evidence,
            int(steps[first]),
        )

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """A loss whose gradient does not fade, then a weaker D."""
        controls = record.controls
        other_loss = None
        if controls.loss == "minimax":
            other_loss = switch(controls, "non_saturating", "its gradient survives while D wins")
        return available(
            other_loss,
            lower(controls, "k", "fewer D updates a step"),
            add_r1(controls, "R1 keeps D from becoming too steep"),
            lower(controls, "lr_d", "a slower D"),
            raise_to(controls, "instance_noise", 0.1, "noise on all that D sees"),
            higher(controls, "l", "more G updates a step"),
        )

    @staticmethod
    def _hardly_errs(record: Record, values: Values) -> Flags:
        """Flags of blocks in which D's errors are below ERRORS; none without a threshold."""
        if LOSSES[record.controls.loss].threshold is None:
            return np.zeros(values.shape[1], bool)
        flags: Flags = 1 - (values[1] + values[2]) / 2 < ERRORS
        return flags


def _usual(gradient: Values) -> float:
    """The usual norm of G's gradient: the upper quartile of its blocks; NaN without any."""
    finite = gradient[np.isfinite(gradient)]
    return float(np.quantile(finite, 0.75)) if len(finite) else math.nan


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


RULES = (WinningD(),)
