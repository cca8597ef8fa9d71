"""Gradients that grow out of proportion."""

from __future__ import annotations

import numpy as np

from ganterm.core.findings import Remedy
from ganterm.diagnosis.remedies import add_r1, available, halve_rate, set_to
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.trends import STEPS_PER_ROUND, block_medians, lasting_since

LARGE = 100.0
"""Gradient norm above which training is likely to go wrong (ganhacks)."""
TIMES = 10.0
"""Growth over its own past from which a large gradient explodes."""
HUGE = 1000.0
"""Gradient norm that, if it lasts, raises the alarm whatever its past."""
LASTING = 8
"""Blocks of rows in a row that must be large."""
EXTREME = 1e6
"""Gradient norm that raises the alarm at once after AT_ONCE blocks of rows."""
AT_ONCE = 3


class Exploding(Rule):
    """D's or G's gradient stays above 100 and ten times its past, or above 1,000."""

    name = "exploding"
    title = "Exploding gradients"
    apart = STEPS_PER_ROUND
    exams = False

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge the norms of both whole gradients, before clipping."""
        steps, norms = block_medians(record, "grad_norm_d", "grad_norm_g")
        if len(steps) < AT_ONCE or not np.isfinite(norms[:, -1]).all():
            return None
        if record.controls.grad_clip:
            return False
        extreme = any(lasting_since(norm > EXTREME, AT_ONCE) is not None for norm in norms)
        if len(steps) < LASTING and not extreme:
            return None
        least = AT_ONCE if extreme else LASTING
        found = {}
        for name, norm in zip("DG", norms, strict=True):
            first = lasting_since(norm > (LARGE / 2 if raised else LARGE), least)
            if first is None:
                continue
            now = float(np.nanmedian(norm[-least:]))
            before = float(np.nanmedian(norm[:first])) if first else float("nan")
            if raised or now > HUGE or now > TIMES * before:
                found[name] = (int(steps[first]), now, before)
        if not found:
            return False
        name, (since, now, before) = max(found.items(), key=lambda item: item[1][1])
        was = f"; it was {before:.3g}" if np.isfinite(before) else ""
        return Finding(
            f"{name}'s gradient norm stays at {now:.3g}{was}.",
            {f"grad_norm_{n.lower()}": float(f"{v:.3g}") for n, (_, v, _) in found.items()},
            since,
            extreme,
        )

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """A limit, then smaller steps of the worse side first, then a less steep D."""
        controls = record.controls
        slower = [
            halve_rate(controls, "D"),
            halve_rate(controls, "G"),
        ]
        _, norms = block_medians(record, "grad_norm_d", "grad_norm_g")
        if norms.size and norms[1, -1] > norms[0, -1]:
            slower.reverse()
        return available(
            set_to(controls, "grad_clip", 10, "no gradient longer than 10"),
            *slower,
            add_r1(controls, "R1 keeps D from becoming too steep"),
        )


RULES = (Exploding(),)
