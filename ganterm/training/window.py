"""What can be seen of G: pictures for the run directory, and what watchers asked to look at."""

from __future__ import annotations

import time
from collections.abc import Callable

from ganterm.session.board import Board
from ganterm.session.protocol import Sample, View
from ganterm.text import clean
from ganterm.training.device import free_memory, is_of_memory
from ganterm.training.iteration import Game
from ganterm.training.rundir import RunDirectory
from ganterm.training.sampler import Sampler
from ganterm.training.standing import Standing

PICTURE_STEPS = 250
PICTURE_SECONDS = 10.0
NEAREST_PER_S = 0.2
"""Looks at nearest pictures a second, at most: each goes through the whole data set."""
LOOK_SHARE = 0.05
"""Share of the time that looking may take from training."""

_AT_ONCE = float("-inf")


class Window:
    """Looks at G through the sampler, no more often than is wanted and can be afforded.

    ``trouble`` says why the last look or picture failed, "" where it did not.
    """

    def __init__(
        self,
        board: Board,
        directory: RunDirectory,
        standing: Standing,
        game: Game,
        sampler: Sampler,
    ) -> None:
        self.trouble = ""
        self._board = board
        self._directory = directory
        self._standing = standing
        self._game = game
        self._sampler = sampler
        self._pictured_step = -1
        self._pictured_at = _AT_ONCE
        self._seen_at = _AT_ONCE
        self._look_seconds = 0.0
        self._answered: tuple[View, bool] | None = None

    def picture(self) -> None:
        """Have the sample picture of this step written, once."""
        step = self._standing.step
        if self._pictured_step != step:
            self._pictured_step, self._pictured_at = step, time.perf_counter()
            sample = self._tried(lambda: self._sampler.picture(self._game.generator, step))
            if sample is not None:
                self._directory.sample(sample, self._standing.branch)

    def picture_now_and_then(self) -> None:
        """The same where it is time for one."""
        due = self._standing.step % PICTURE_STEPS == 0
        if due and time.perf_counter() - self._pictured_at >= PICTURE_SECONDS:
            self.picture()

    def picture_all(self) -> None:
        """The same, and of what a watcher asked to see, if that is something else."""
        self.picture()
        seen = self._look()
        if seen is not None and seen.view != View(self._sampler.views[0]):
            self._directory.sample(seen, self._standing.branch, seen.view)

    def renew_noise(self) -> None:
        """Draw another fixed noise; the next look and picture show it."""
        self._sampler.renew()
        self._pictured_step = -1
        self.renew()

    def go_back(self) -> None:
        """The networks are others now: whatever was seen or pictured of this step is not theirs."""
        self._pictured_step = -1
        self.renew()

    def renew(self) -> None:
        """Look anew at the next occasion, whenever the last look was."""
        self._seen_at = _AT_ONCE

    def seen(self, before: Sample | None) -> Sample | None:
        """What a watcher is to see now: a new look where it is time for one, else ``before``."""
        wanted, clock = self._board.samples_per_s, time.perf_counter()
        wish = (self._board.view, self._standing.controls.ema > 0)
        if wish != self._answered:
            self.renew()
        stale = self._seen_at == _AT_ONCE or before is None or before.step != self._standing.step
        if before is not None and before.view.name == "nearest":
            wanted = min(wanted, NEAREST_PER_S)
        if wanted and self._standing.state == "running":
            wanted = min(wanted, LOOK_SHARE / max(self._look_seconds, 1e-6))
        if not wanted or not stale or clock - self._seen_at < 0.9 / wanted:
            return before
        self._seen_at, self._answered = clock, wish
        seen = self._look()
        self._look_seconds = time.perf_counter() - clock
        return before if seen is None else seen

    def _look(self) -> Sample | None:
        """What a watcher last asked to see; None where that failed."""
        averaged = self._game.average.module if self._standing.controls.ema else None
        step, view = self._standing.step, self._board.view
        return self._tried(lambda: self._sampler.look(self._game.generator, step, view, averaged))

    def _tried(self, look: Callable[[], Sample]) -> Sample | None:
        """What a look gives; where it fails, None and ``trouble``: the run goes on without."""
        try:
            sample = look()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a view, the run is not
            if is_of_memory(error):
                free_memory(self._game.device)
            self.trouble = f"the samples cannot be shown: {type(error).__name__}: {clean(error)}"
            return None
        self.trouble = ""
        return sample
