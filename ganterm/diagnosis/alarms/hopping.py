"""Alarm: G jumps from mode to mode while D follows."""

from __future__ import annotations

import numpy as np

from ganterm.core.findings import Remedy
from ganterm.diagnosis.remedies import add_r1, available, divide, halve_rate, slow_g, switch
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.trends import STEPS_PER_ROUND, recent

ROUNDS = 8
"""Rounds of exams that are judged together."""
HOPS = 3
"""Least number of changes of the leading mode in ROUNDS rounds; chance causes fewer."""
LEADING = 0.5
"""Least share of samples, 0..1, on the leading mode."""
VARIED = 75.0
"""Least Vendi score of points, in % of that of reals, at which they cover many modes."""
MODES = 4
"""Fewest modes of data that can be judged: one of three may lead in a healthy run."""


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
        if record.traits.plane and not recent(record, "vendi_pixels") < VARIED:
            # Points that narrowly miss most modes leave too few samples to count.
            return False
        steps, shares = trail.steps[-ROUNDS:], trail.shares[-ROUNDS:]
        if len(steps) < ROUNDS or not np.isfinite(shares).all():
            return None
        leads = shares.max(axis=1) >= LEADING
        leading = shares.argmax(axis=1)[leads]
        hops = int((np.diff(leading) != 0).sum())
        if hops < (HOPS - 1 if raised else HOPS):
            return False
        names = [modes.names[place] for place in leading]
        path = [name for at, name in enumerate(names) if not at or names[at - 1] != name]
        return Finding(
            f"G runs from {modes.kind} to {modes.kind}: most samples were "
            f"{', then '.join(path[-5:])} within {int(steps[-1] - steps[0]):,} steps.",
            {"hops": hops, "leading": names},
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
