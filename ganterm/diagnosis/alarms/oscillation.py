"""Losses that swing instead of settling."""

from __future__ import annotations

import numpy as np

from ganterm.core.findings import Remedy
from ganterm.diagnosis.exams.oscillation import oscillation
from ganterm.diagnosis.medians import BLOCK, BLOCKS
from ganterm.diagnosis.remedies import add_r1, available, divide, slow_g
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.trends import STEPS_PER_ROUND, block_medians

REGULAR = 0.6
"""Share of a loss's variance in one regular swing."""
WIDE = 0.3
"""Standard deviation of the swinging loss in shares of its mean's size, or of 1."""


class Oscillation(Rule):
    """D's or G's loss goes up and down regularly, and far."""

    name = "oscillation"
    title = "Losses oscillate"
    severity = "warning"
    raise_after = 3
    apart = STEPS_PER_ROUND
    exams = False

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """By the rows, in blocks, of the newest 2,000 steps."""
        steps, losses = block_medians(record, "d_loss", "g_loss")
        if len(steps) < BLOCKS // 2 or not np.isfinite(losses).all():
            return None
        for name, loss in zip("DG", losses, strict=True):
            share = oscillation(loss)
            wide = float(loss.std() / max(1.0, abs(loss.mean())))
            if share >= (REGULAR - 0.1 if raised else REGULAR) and wide >= WIDE:
                return Finding(
                    f"{name}'s loss swings regularly, by {loss.std():.2g} around "
                    f"{loss.mean():.2g}: {100 * share:.0f} % of its changes in "
                    f"{len(steps) * BLOCK:,} steps are one swing.",
                    {"loss": name, "share": round(share, 2), "spread": round(wide, 2)},
                    int(steps[0]),
                )
        return False

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """Smaller steps; a D that pushes less."""
        controls = record.controls
        return available(
            slow_g(controls) if controls.l > controls.k else None,
            divide(controls, "lr_g", 2, "half of G's rate"),
            divide(controls, "lr_d", 2, "half of D's rate"),
            add_r1(controls, "R1 takes the push out of D"),
        )


RULES = (Oscillation(),)
