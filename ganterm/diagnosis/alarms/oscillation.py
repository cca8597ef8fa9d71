"""Alarm: losses swing instead of settling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganterm.core.findings import Remedy
from ganterm.diagnosis.medians import BLOCK, BLOCKS
from ganterm.diagnosis.remedies import add_r1, available, halve_rate, slow_g
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.trends import STEPS_PER_ROUND, block_medians

REGULAR = 0.6
"""Least share of a loss's variance that lies in one regular swing."""
WIDE = 0.3
"""Least standard deviation of a swinging loss, as a share of its mean's size or of 1."""
FEWEST = 32
"""Fewest values in which a swing is distinguishable from chance."""
TURNS = 3
"""Fewest full swings; fewer are a trend or a bend in one."""


class Oscillation(Rule):
    """D's or G's loss goes up and down, regularly and widely."""

    name = "oscillation"
    title = "Losses oscillate"
    severity = "warning"
    raise_after = 3
    apart = STEPS_PER_ROUND
    exams = False

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge the medians of blocks of rows over the newest 2,000 steps."""
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
        """Smaller steps, then a D that pushes less."""
        controls = record.controls
        return available(
            slow_g(controls) if controls.l > controls.k else None,
            halve_rate(controls, "G"),
            halve_rate(controls, "D"),
            add_r1(controls, "R1 makes D push less"),
        )


def oscillation(values: NDArray[Any]) -> float:
    """The share of the variance that lies in one regular swing, 0..1.

    ``values`` (t,) are evenly spaced; those that are not finite are left out, and the linear trend
    is removed. The result is the power of the strongest frequency and its two neighbours in the
    periodogram, as a share of all power; frequencies with fewer than TURNS full swings are not
    considered. A sine gives nearly 1, noise at most about 3 ln(t / 2) / (t / 2), a random walk
    little. Values without variance give 0; fewer than FEWEST values give NaN.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    count = len(finite)
    if count < FEWEST:
        return math.nan
    place = np.linspace(-1.0, 1.0, count)
    residual = finite - finite.mean()
    residual -= place * (residual @ place) / (place @ place)
    if np.abs(residual).max() <= 1e-9 * max(1.0, float(np.abs(finite).max())):
        return 0.0
    power = np.abs(np.fft.rfft(residual / np.abs(residual).max())) ** 2
    power[0] = 0
    at = TURNS + int(power[TURNS:].argmax())
    return float(power[max(TURNS, at - 1) : at + 2].sum() / power.sum())


RULES = (Oscillation(),)
