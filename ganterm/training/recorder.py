"""The rows of metrics, on their way from the device to the history and the run directory."""

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
from ganterm.training.progress import Progress

CAPACITY = 4096
"""Rows that the buffer holds; the loop empties it some times a second, or when it is full."""


class RowBuffer:
    """Rows of scalars on the device. Adding a row is one operation, emptying one transfer."""

    def __init__(self, device: torch.device) -> None:
        self._rows = torch.zeros(CAPACITY, len(ON_DEVICE), device=device)
        self._elapsed: list[float] = []

    @property
    def full(self) -> bool:
        """Whether there is no room for another row."""
        return len(self._elapsed) == len(self._rows)

    def write(self, scalars: list[Tensor], elapsed: float) -> None:
        """Add a row: the scalars of ``metrics.ON_DEVICE`` in order, and the training seconds."""
        torch.stack(scalars, out=self._rows[len(self._elapsed)])
        self._elapsed.append(elapsed)

    def drain(self) -> tuple[NDArray[np.float32], list[float]]:
        """Empty the buffer: its rows on the host, (n, scalars), and their training seconds."""
        elapsed, self._elapsed = self._elapsed, []
        return self._rows[: len(elapsed)].to("cpu", copy=True).numpy(), elapsed


class Recorder:
    """Records a row a step and keeps every ``every``-th of them.

    ``checked`` gives, for D and G, the names of the tensors that an update checks, by which a
    refusal is explained.
    """

    def __init__(
        self,
        directory: RunDirectory,
        progress: Progress,
        history: History,
        every: int,
        device: torch.device,
        checked: Mapping[str, Sequence[str]],
    ) -> None:
        self.history = history
        self._directory = directory
        self._progress = progress
        self._every = every
        self._checked = checked
        self._buffer = RowBuffer(device)

    @property
    def full(self) -> bool:
        """Whether rows must be drained before the next one."""
        return self._buffer.full

    def write(self, scalars: list[Tensor]) -> None:
        """Add the row of the step just completed: the scalars of ``metrics.ON_DEVICE``."""
        self._buffer.write(scalars, self._progress.clock.seconds)

    def drain(self) -> Refusal | None:
        """Copy the rows since the last drain to the host; returns their first refused update.

        The rows get the controls in force now, so drain before a control changes.
        """
        scalars, elapsed = self._buffer.drain()
        if not len(scalars):
            return None
        progress, controls = self._progress, self._progress.controls
        rows = np.empty((len(scalars), len(METRICS)), np.float32)
        rows[:, : len(ON_DEVICE)] = scalars
        rows[:, len(ON_DEVICE) : -1] = (controls.k, controls.l, controls.lr_d, controls.lr_g)
        rows[:, -1] = elapsed
        steps = np.arange(progress.step - len(rows) + 1, progress.step + 1)
        number_refusals(rows, self._checked)
        progress.scalars = dict(zip(METRICS, rows[-1].tolist(), strict=True))
        kept = steps % self._every == 0
        self.history.append(rows[kept])
        self._directory.rows(steps[kept], progress.branch, rows[kept])
        return first_refusal(steps, rows, self._checked)


LOOK_BACK = 2048
"""Rows before a refused update that are searched for the start of the trouble."""
FAR = 100.0
TIMES = 10.0
"""A loss or gradient is far off if it is above ``FAR`` and above ``TIMES`` its usual size."""

_COLUMNS = {"D": list(METRICS).index("refused_d"), "G": list(METRICS).index("refused_g")}


@dataclass(frozen=True)
class Refusal:
    """The first refused update among some rows; ``steps`` counts the steps that had one."""

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

    def advice(self, back: Remedy | None) -> str:
        """The message, and the way out: the remedy ``back``, or a new start."""
        if back is None:
            return f"{self.message} and only a new start helps."
        return f"{self.message}: then {back.press} goes {back.does}."


def onset(history: HistoryView, step: int) -> int:
    """The step at which losses or gradients went far off before an update was refused at ``step``.

    ``step`` itself where they were not far off.
    """
    first = step
    for metric in ("d_loss", "g_loss", "grad_norm_d", "grad_norm_g"):
        steps, values = history.newest(metric, LOOK_BACK)
        steps, sizes = steps[steps < step], np.abs(values[steps < step])
        finite = sizes[np.isfinite(sizes)]
        if not len(finite):
            continue
        usual = float(np.quantile(finite, 0.25))
        near = np.flatnonzero(sizes <= max(FAR, TIMES * usual))
        first = min(first, int(steps[near[-1]]) + 1 if len(near) else int(steps[0]))
    return first


def number_refusals(rows: NDArray[np.float32], names: Mapping[str, Sequence[str]]) -> None:
    """Turn the device's backward counts into 1 + the place of the first bad tensor, in place.

    ``rows`` has the columns of ``METRICS``; ``names`` lists the checked tensors of D and G.
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
    # D is updated before G.
    network = "D" if rows[first, _COLUMNS["D"]] > 0 else "G"
    tensor = names[network][int(rows[first, _COLUMNS[network]]) - 1]
    return Refusal(int(steps[first]), network, tensor, len(bad))
