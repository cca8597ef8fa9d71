"""Updates that were not applied because something in them was not finite: which, and when first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganterm.session.metrics import METRICS

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
            "once, the weights have grown too far and only a new start helps."
        )


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
