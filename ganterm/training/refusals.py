"""Updates that were not applied because something in them was not finite: which, and when first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganterm.session.findings import Remedy
from ganterm.session.history import HistoryView
from ganterm.session.metrics import METRICS

LOOKED_BACK = 2048
"""Rows before a refused update in which what led to it is looked for."""
FAR = 100.0
TIMES = 10.0
"""A loss or gradient is far off where it is above FAR and above so many times what it was."""

_COLUMNS = {"D": list(METRICS).index("refused_d"), "G": list(METRICS).index("refused_g")}


@dataclass(frozen=True)
class Refusal:
    """The first refused update of some rows, and how many steps had one."""

    step: int
    network: str
    tensor: str
    steps: int

    @property
    def message(self) -> str:
        """What happened and what to do, in plain words."""
        return (
            f"step {self.step:,}: {self.tensor} was not finite; {self.network}'s update was not "
            "applied. Lower the learning rates or change the loss and go on; where it is back at "
            "once, the weights have grown too far"
        )

    def told(self, back: Remedy | None) -> str:
        """The message, with what is left then: ``back``, or a new start."""
        if back is None:
            return f"{self.message} and only a new start helps."
        return f"{self.message}: then {back.press} goes {back.does}."


def onset(history: HistoryView, step: int) -> int:
    """The step from which on losses or gradients were far off until an update was refused at
    ``step``; that step itself where they were not."""
    first = step
    for metric in ("d_loss", "g_loss", "grad_norm_d", "grad_norm_g"):
        steps, values = history.newest(metric, LOOKED_BACK)
        steps, sizes = steps[steps < step], np.abs(values[steps < step])
        finite = sizes[np.isfinite(sizes)]
        if not len(finite):
            continue
        usual = float(np.quantile(finite, 0.25))
        near = np.flatnonzero(sizes <= max(FAR, TIMES * usual))
        first = min(first, int(steps[near[-1]]) + 1 if len(near) else int(steps[0]))
    return first


def number(rows: NDArray[np.float32], names: Mapping[str, Sequence[str]]) -> None:
    """Turn the device's backward counts into 1 + the place of the first tensor, in place.

    ``rows`` has the columns of ``METRICS``; ``names`` gives, for D and G, what was looked at.
    """
    for network, column in _COLUMNS.items():
        refused = rows[:, column] > 0
        rows[refused, column] = len(names[network]) + 1 - rows[refused, column]


def first_refusal(
    steps: NDArray[np.int64], rows: NDArray[np.float32], names: Mapping[str, Sequence[str]]
) -> Refusal | None:
    """The first refused update among numbered rows, None where all were applied."""
    bad = np.flatnonzero((rows[:, list(_COLUMNS.values())] > 0).any(axis=1))
    if not len(bad):
        return None
    first = bad[0]
    # D moves first in an iteration.
    network = "D" if rows[first, _COLUMNS["D"]] > 0 else "G"
    tensor = names[network][int(rows[first, _COLUMNS[network]]) - 1]
    return Refusal(int(steps[first]), network, tensor, len(bad))
