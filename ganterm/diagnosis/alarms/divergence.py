"""Alarm: losses grow without bound."""

from __future__ import annotations

import numpy as np

from ganterm.core.findings import Remedy, Steps
from ganterm.diagnosis.remedies import add_r1, available, divide, set_to, switch
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.trends import STEPS_PER_ROUND, block_medians, lasting_since

FAR = 100.0
"""Size of a loss above which it may run away. Healthy losses are smaller, but for slow drifts: one
to 500 is on record.
"""
TIMES = 10.0
"""Growth over its own past above which a large loss runs away."""
LASTING = 5
"""Number of consecutive blocks of rows that must be above FAR."""
EXTREME = 1e6
"""Size of a loss above which the alarm is raised, whatever its past."""
AT_ONCE = 3
"""Number of consecutive blocks above EXTREME that raise the alarm at once."""


class Divergence(Rule):
    """D's or G's loss is far larger than before, and larger than any healthy loss."""

    name = "divergence"
    title = "Losses run away"
    apart = STEPS_PER_ROUND
    exams = False

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge the size of both losses against their own past."""
        steps, losses = block_medians(record, "d_loss", "g_loss")
        extreme = [lasting_since(np.abs(loss) > EXTREME, AT_ONCE) for loss in losses]
        if any(first is not None for first in extreme):
            return self._finding(steps, losses, _earliest(extreme), certain=True)
        if len(steps) < 2 * LASTING or not np.isfinite(losses[:, -1]).all():
            return None
        sizes = np.abs(losses)
        far = FAR / 2 if raised else FAR
        firsts = [lasting_since(size > far, LASTING) for size in sizes]
        if not raised:
            firsts = [
                None if first is None or not _grown(size, first) else first
                for first, size in zip(firsts, sizes, strict=True)
            ]
        if firsts == [None, None]:
            return False
        return self._finding(steps, losses, _earliest(firsts), certain=False)

    @staticmethod
    def _finding(steps: Steps, losses: np.ndarray, first: int, certain: bool) -> Finding:
        d, g = (float(f"{loss[-1]:.3g}") for loss in losses)
        return Finding(
            f"The losses run away: D's is {d:g}, G's is {g:g}.",
            {"d_loss": d, "g_loss": g, "before": [_before(np.abs(loss), first) for loss in losses]},
            int(steps[first]),
            certain,
        )

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """Smaller steps, then a bound on D's scores."""
        controls = record.controls
        clip = None
        if controls.loss == "wgan":
            clip = set_to(controls, "clip", min(0.01, controls.clip), "hold D's weights closer")
        return available(
            divide(controls, "lr_d", 4, "a quarter of D's rate"),
            divide(controls, "lr_g", 4, "a quarter of G's rate"),
            clip,
            switch(controls, "wgan_gp", "a critic held by a penalty")
            if controls.loss == "wgan"
            else add_r1(controls, "R1 keeps D's scores from running off"),
        )


def _earliest(places: list[int | None]) -> int:
    return min(place for place in places if place is not None)


def _before(size: np.ndarray, first: int) -> float:
    """The median of a loss's size before the block ``first``; NaN if it was never finite."""
    past = size[: max(first, 1)]
    past = past[np.isfinite(past)]
    return float(f"{np.median(past):.3g}") if len(past) else float("nan")


def _grown(size: np.ndarray, first: int) -> bool:
    """Whether a loss is more than TIMES as large as before it rose above FAR.

    A loss that is above FAR from the start is compared with its first value.
    """
    before = _before(size, first) if first > 0 else float(size[first])
    return bool(size[-1] > TIMES * max(before, 1.0))


RULES = (Divergence(),)
