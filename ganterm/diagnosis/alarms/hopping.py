"""A G that jumps from mode to mode while D follows."""

from __future__ import annotations

import numpy as np

from ganterm.core.findings import Remedy
from ganterm.diagnosis.remedies import add_r1, available, divide, halve_rate, slow_g, switch
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.trends import STEPS_PER_ROUND, recent

ROUNDS = 8
"""Rounds of exams that are judged together."""
HOPS = 3
"""Changes of the leading mode in ROUNDS rounds that chance does not explain."""
LEADING = 0.5
"""Share of the samples on one mode that makes it the leading one."""
ALIKE = 75.0
"""Vendi score of points, in % of that of reals, from which they cover many modes."""
MODES = 4
"""Fewest modes of data that are judged: one of three may lead in a healthy run."""


class Hopping(Rule):
    """Most samples are on one mode, and it changes every few rounds."""

    name = "mode_hopping"
    title = "Mode hopping"
    severity = "warning"
    apart = STEPS_PER_ROUND

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge the shares of the modes in the newest rounds."""
        trail, modes = record.diagnosis.mode_trail, record.diagnosis.modes
        if trail is None or modes is None or trail.shares.shape[1] < MODES:
            return None
        if record.traits.plane and not recent(record, "vendi_pixels") < ALIKE:
            # Where points narrowly miss most modes, too few samples are left to count.
            return False
        steps, shares = trail.steps[-ROUNDS:], trail.shares[-ROUNDS:]
        if len(steps) < ROUNDS or not np.isfinite(shares).all():
            return None
        leads = shares.max(axis=1) >= LEADING
        chosen = shares.argmax(axis=1)[leads]
        hops = int((np.diff(chosen) != 0).sum())
        if hops < (HOPS - 1 if raised else HOPS):
            return False
        ways = [modes.names[place] for place in chosen]
        kept = [name for at, name in enumerate(ways) if not at or ways[at - 1] != name]
        return Finding(
            f"G runs from {modes.kind} to {modes.kind}: most samples were "
            f"{', then '.join(kept[-5:])} within {int(steps[-1] - steps[0]):,} steps.",
            {"hops": hops, "leading": ways},
            int(steps[0]),
        )

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """Smaller steps, and a less steep D."""
        controls = record.controls
        return available(
            slow_g(controls),
            divide(controls, "lr_g", 2, "half of G's rate: it outruns D"),
            add_r1(controls, "R1 makes D push less"),
            halve_rate(controls, "D"),
            switch(controls, "rpgan_r1_r2", "pairs each fake with a real"),
        )


RULES = (Hopping(),)
