"""The rows of metrics on their way from the device to the history and the run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganterm.core.findings import Remedy
from ganterm.core.history import History, HistoryView
from ganterm.core.metrics import METRICS, ON_DEVICE
from ganterm.rundir.directory import RunDirectory
from ganterm.training.game import Game
from ganterm.training.progress import Standing


class Rows:
    """One a step, on the device until the next drain; of them every ``every``-th is kept."""

    def __init__(
        self,
        standing: Standing,
        history: History,
        directory: RunDirectory,
        game: Game,
        every: int,
    ) -> None:
        self._standing = standing
        self._history = history
        self._directory = directory
        self._every = every
        self._looked_at = {network: game.refused_names(network) for network in "DG"}
        self._recorder = Recorder(game.device)

    @property
    def full(self) -> bool:
        """Whether the next row has no place before a drain."""
        return self._recorder.full

    def go_on_behind(self, history: History) -> None:
        """Add the rows to come to another history; all before must be drained."""
        self._history = history

    def write(self, scalars: list[Tensor], elapsed: float) -> None:
        """Add the row of a step: the scalars of ``metrics.ON_DEVICE``, and the training seconds."""
        self._recorder.write(scalars, elapsed)

    def drain(self) -> Refusal | None:
        """Copy the rows since the last drain out; the first update among them that was refused.

        They must all have been made with the controls that are in force.
        """
        made, elapsed = self._recorder.drain()
        if not len(made):
            return None
        standing, controls = self._standing, self._standing.controls
        rows = np.empty((len(made), len(METRICS)), np.float32)
        rows[:, : len(ON_DEVICE)] = made
        rows[:, len(ON_DEVICE) : -1] = (controls.k, controls.l, controls.lr_d, controls.lr_g)
        rows[:, -1] = elapsed
        steps = np.arange(standing.step - len(made) + 1, standing.step + 1)
        number(rows, self._looked_at)
        standing.scalars = dict(zip(METRICS, rows[-1].tolist(), strict=True))
        kept = steps % self._every == 0
        self._history.append(rows[kept])
        self._directory.rows(steps[kept], standing.branch, rows[kept])
        return first_refusal(steps, rows, self._looked_at)


# The rows of scalars that stay on the device until a whole batch of them is copied out.


class Recorder:
    """A buffer of ``capacity`` rows on the device; a row is one operation, a drain one transfer."""

    def __init__(self, device: torch.device, capacity: int = 4096) -> None:
        self._rows = torch.zeros(capacity, len(ON_DEVICE), device=device)
        self._elapsed: list[float] = []

    @property
    def full(self) -> bool:
        """Whether the next row has no place before a drain."""
        return len(self._elapsed) == len(self._rows)

    def write(self, scalars: list[Tensor], elapsed: float) -> None:
        """Add a row: the scalars of ``metrics.ON_DEVICE`` in order, and the training seconds."""
        torch.stack(scalars, out=self._rows[len(self._elapsed)])
        self._elapsed.append(elapsed)

    def drain(self) -> tuple[NDArray[np.float32], list[float]]:
        """All rows since the last drain, (n, scalars) on the host, and their training seconds."""
        elapsed, self._elapsed = self._elapsed, []
        return self._rows[: len(elapsed)].to("cpu", copy=True).numpy(), elapsed


# Updates that were not applied because something in them was not finite: which, and when first.

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
