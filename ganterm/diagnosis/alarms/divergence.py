"""Losses that grow without bound."""

from __future__ import annotations

import numpy as np

from ganterm.core.findings import Remedy, Steps
from ganterm.diagnosis.remedies import add_r1, available, divide, set_to, switch
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.trends import STEPS_PER_ROUND, block_medians, lasting_since

FAR = 100.0
"""Size that no healthy run's loss had, for any loss; a drift to 500 is on record."""
TIMES = 10.0
"""Growth over its own past from which a loss runs away."""
LASTING = 5
"""Blocks of rows in a row that must be far."""
EXTREME = 1e6
"""Size of a loss that raises the alarm whatever its past."""
AT_ONCE = 3
"""Blocks in a row of extreme size that raise the alarm at once."""


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
        found = [(lasting_since(size > far, LASTING), size) for size in sizes]
        if not raised:
            found = [
                (first if first is None or _grown(size, first) else None, size)
                for first, size in found
            ]
        firsts = [first for first, _ in found]
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
        """Smaller steps, then something that holds D's scores."""
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
    known = size[: max(first, 1)]
    known = known[np.isfinite(known)]
    return float(f"{np.median(known):.3g}") if len(known) else float("nan")


def _grown(size: np.ndarray, first: int) -> bool:
    """Whether a loss is TIMES as large as before it became far.

    A loss that is far from the start is compared with its first value.
    """
    before = _before(size, first) if first > 0 else float(size[first])
    return bool(size[-1] > TIMES * max(before, 1.0))


RULES = (Divergence(),)
