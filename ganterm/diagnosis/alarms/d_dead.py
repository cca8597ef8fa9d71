"""Alarm: D gives all samples the same score, so that G learns nothing."""

from __future__ import annotations

import numpy as np

from ganterm.core.findings import Remedy
from ganterm.diagnosis.remedies import add_r1, available, divide
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.trends import STEPS_PER_ROUND, block_medians, lasting_since

FLAT = 1e-5
"""Scores are flat if their standard deviation is below this share of their mean's size, or of 1."""
LASTING = 5
"""Number of consecutive blocks of rows in which scores must be flat."""
CHANCE = 1e-4
"""Largest distance of a frozen AUC from 0.5; runs with a dead D show 0.5000 exactly."""


class DeadD(Rule):
    """The scores of reals and fakes have no variance, and D ranks by chance."""

    name = "d_dead"
    title = "D is dead"
    apart = STEPS_PER_ROUND
    exams = False

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge the medians of blocks of rows."""
        steps, (auc, std_real, std_fake, real) = block_medians(
            record, "d_auc", "score_real_std", "score_fake_std", "score_real"
        )
        if len(steps) < LASTING or not np.isfinite([auc[-1], std_real[-1], std_fake[-1]]).all():
            return None
        size = FLAT * np.maximum(1, np.abs(real))
        dead = (std_real < size) & (std_fake < size) & (np.abs(auc - 0.5) < CHANCE)
        first = lasting_since(dead, LASTING)
        if first is None:
            return False
        return Finding(
            f"D scores every sample the same, {real[-1]:.4g}, real or fake: G learns nothing "
            "from it.",
            {
                "d_auc": round(float(auc[-1]), 4),
                "score_real_std": float(std_real[-1]),
                "score_fake_std": float(std_fake[-1]),
                "score": float(real[-1]),
            },
            int(steps[first]),
        )

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """Try to revive D; units that are dead only come back with an earlier state."""
        controls = record.controls
        return available(
            divide(controls, "lr_d", 4, "a quarter of D's rate: large steps kill units"),
            divide(controls, "r1", 10, "a tenth of R1, which flattens D"),
            add_r1(controls, "R1 keeps D's scores from running off"),
        )


RULES = (DeadD(),)
