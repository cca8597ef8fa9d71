"""Alarm: gradients grow out of proportion."""

from __future__ import annotations

import numpy as np

from ganterm.core.findings import Remedy
from ganterm.diagnosis.remedies import add_r1, available, halve_rate, set_to
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.trends import STEPS_PER_ROUND, block_medians, lasting_since

LARGE = 100.0
"""Gradient norm above which training is likely to fail (Chintala et al., ganhacks)."""
TIMES = 10.0
"""Growth over its own past above which a large gradient explodes."""
HUGE = 1000.0
"""Gradient norm above which, if it lasts, the alarm is raised whatever its past."""
LASTING = 8
"""Number of consecutive blocks of rows that must be above LARGE."""
EXTREME = 1e6
"""Gradient norm above which AT_ONCE blocks are enough, and the alarm is raised at once."""
AT_ONCE = 3
"""Number of consecutive blocks above EXTREME that raise the alarm."""


class Exploding(Rule):
    """D's or G's gradient stays above 100 and ten times its past, or above 1,000."""

    name = "exploding"
    title = "Exploding gradients"
    apart = STEPS_PER_ROUND
    exams = False

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge the norms of the whole gradients of D and G, before clipping."""
        steps, norms = block_medians(record, "grad_norm_d", "grad_norm_g")
        if len(steps) < AT_ONCE or not np.isfinite(norms[:, -1]).all():
            return None
        if record.controls.grad_clip:
            return False
        extreme = any(lasting_since(norm > EXTREME, AT_ONCE) is not None for norm in norms)
        if len(steps) < LASTING and not extreme:
            return None
        least = AT_ONCE if extreme else LASTING
        findings = {}
        for name, norm in zip("DG", norms, strict=True):
            first = lasting_since(norm > (LARGE / 2 if raised else LARGE), least)
            if first is None:
                continue
            now = float(np.nanmedian(norm[-least:]))
            before = float(np.nanmedian(norm[:first])) if first else float("nan")
            if raised or now > HUGE or now > TIMES * before:
                findings[name] = (int(steps[first]), now, before)
        if not findings:
            return False
        name, (since, now, before) = max(findings.items(), key=lambda item: item[1][1])
        was = f"; it was {before:.3g}" if np.isfinite(before) else ""
        return Finding(
            f"{name}'s gradient norm stays at {now:.3g}{was}.",
            {f"grad_norm_{n.lower()}": float(f"{v:.3g}") for n, (_, v, _) in findings.items()},
            since,
            extreme,
        )

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """A limit, then smaller steps, those of the worse network first, then a less steep D."""
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
