"""The rows of metrics on their way from the device to the history and the run directory."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ganterm.session.history import History
from ganterm.session.metrics import METRICS, ON_DEVICE
from ganterm.training import refusals
from ganterm.training.iteration import Game
from ganterm.training.recorder import Recorder
from ganterm.training.refusals import Refusal
from ganterm.training.rundir import RunDirectory
from ganterm.training.standing import Standing


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
        refusals.number(rows, self._looked_at)
        standing.scalars = dict(zip(METRICS, rows[-1].tolist(), strict=True))
        kept = steps % self._every == 0
        self._history.append(rows[kept])
        self._directory.rows(steps[kept], standing.branch, rows[kept])
        return refusals.first_refusal(steps, rows, self._looked_at)
