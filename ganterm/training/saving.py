"""The checkpoints of a run: copies of all its future depends on, and what becomes of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from msgspec import structs
from torch import Tensor

from ganterm.diagnosis.rule import illnesses
from ganterm.sections import RunSection
from ganterm.session.findings import Diagnosis
from ganterm.session.protocol import Command, SetControl
from ganterm.training import checkpoint
from ganterm.training import state as states
from ganterm.training.best import Best
from ganterm.training.healthy import Healthy
from ganterm.training.iteration import Game
from ganterm.training.keeper import RETRY_SECONDS, Keeper, News, Wish
from ganterm.training.pace import Pace
from ganterm.training.retention import best_cfid
from ganterm.training.rundir import Place, RunDirectory
from ganterm.training.sampler import Sampler
from ganterm.training.standing import Standing
from ganterm.training.teller import Teller

WARM_UP = 500
"""Steps after which a run that is well is worth a first way back, once diagnosis has seen it, or
after twice as many without it. From then on the automatic checkpoints are that."""
WORTH_KEEPING = 100
"""Steps of which a first way back is kept before a control is changed: what comes to grief is
changed more often than left alone, and of fewer steps a new start is as good."""


class Saving:
    """Has copies of the state written where they are due, and tells of them.

    ``facts``: what every checkpoint of the run says, as fields of ``RunState``; ``commands``: those
    that were not yet obeyed.
    """

    def __init__(
        self,
        directory: RunDirectory,
        standing: Standing,
        game: Game,
        sampler: Sampler,
        pace: Pace,
        teller: Teller,
        healthy: Healthy,
        commands: deque[Command],
        run: RunSection,
        facts: Mapping[str, Any],
    ) -> None:
        self._directory = directory
        self._standing = standing
        self._game = game
        self._sampler = sampler
        self._pace = pace
        self._teller = teller
        self._healthy = healthy
        self._commands = commands
        self._facts = facts
        self._keeper = Keeper(directory.folder, run.checkpoint_minutes, run.checkpoint_mb)
        self._keeper.healthy = healthy.newest
        with directory.folder.folder("checkpoints", make=True) as folder:
            self._best = Best(best_cfid(folder), run.checkpoint_minutes)
        self._automatic = run.checkpoint_minutes > 0
        self._judged_at = 0 if run.diagnosis else WARM_UP
        self._first_not_before = 0.0

    def ask(self, wish: Wish) -> None:
        """Have a checkpoint written at the next occasion."""
        self._keeper.ask(wish)

    def examined(self, found: Diagnosis) -> None:
        """Have a checkpoint written at once if the round ``found``, just over, was the best."""
        self._tell()
        self._judged_at = found.step
        value = self._best.value(found)
        if value is not None and self._keeper.free:
            self._best.asked()
            self._keeper.ask(Wish(cfid=value))

    def due(self) -> bool:
        """Tell of checkpoints that were written; whether one should be taken now."""
        self._tell()
        return self._keeper.due(self._standing.step) or self._first_is_due()

    def _first_is_due(self) -> bool:
        """Whether a run that is well, and past its warm-up, has no way back yet."""
        step = self._standing.step
        seen = self._judged_at >= WARM_UP or step >= 2 * WARM_UP
        return step >= WARM_UP and seen and self._lacks_way_back()

    def _lacks_way_back(self) -> bool:
        """Whether a first healthy checkpoint is wanted and can be had now."""
        return (
            self._automatic
            and self._healthy.newest is None
            and self._keeper.free
            and time.monotonic() >= self._first_not_before
            and not any(name in illnesses() for name in self._teller.raised)
        )

    def before_change(self) -> None:
        """Keep a way back before a control is changed, where there is none yet and it is worth it;
        all rows must be drained."""
        if self._standing.step >= WORTH_KEEPING and self._lacks_way_back():
            self.take()

    def take(self) -> None:
        """Have one written beside the training; all rows must be drained."""
        self._first_not_before = time.monotonic() + RETRY_SECONDS
        self._keeper.healthy = self._healthy.newest
        self._keeper.take(*self._copies(), self._directory.settled())

    def last(self) -> tuple[str | None, str | None]:
        """The last checkpoint of a sitting: its path, or why the disk took nothing."""
        self._keeper.wait()
        self._tell()
        news = self._keeper.last(*self._copies(), self._directory.settled())
        if news.name is None:
            return None, news.trouble
        self._note(news)
        path = f"checkpoints/{news.name}"
        if news.wish.cfid is not None:
            # The event of the end names it as well, but not as the best one.
            self._tell_written(path, news.wish)
        self._teller.clear("checkpoint")
        return path, None

    @property
    def room(self) -> int:
        """Bytes that a checkpoint takes, about."""
        return states.size(self._game, self._sampler)

    def into(self, place: Place) -> str:
        """Write a checkpoint into another place of the run; its path there. OSError where the disk
        does not take it."""
        tensors, state = self._copies()
        state = structs.replace(state, run=place.about["id"])
        with place.folder.folder("checkpoints") as folder:
            return f"checkpoints/{checkpoint.save(folder, tensors, state)}"

    def wait(self) -> None:
        """Let what is being written be finished."""
        self._keeper.wait()

    def settle(self) -> None:
        """The same, and tell of it."""
        self._keeper.wait()
        self._tell()

    def _tell(self) -> None:
        while (news := self._keeper.news()) is not None:
            self._note(news)
            if news.name is not None:
                self._tell_written(f"checkpoints/{news.name}", news.wish)
            if news.trouble is not None:
                message = f"no checkpoint could be written: {news.trouble}; tried again later"
                if news.name is not None:
                    message = f"old checkpoints cannot be removed: {news.trouble}"
                self._teller.alarm("checkpoint", "No checkpoint", message)
            else:
                self._teller.clear("checkpoint")

    def _note(self, news: News) -> None:
        """Have a checkpoint that was taken in health be one to go back to."""
        if news.name is not None and news.well:
            self._healthy.saved(news.name)
        if news.removed:
            self._healthy.removed(list(news.removed))
        self._keeper.healthy = self._healthy.newest

    def _tell_written(self, path: str, wish: Wish) -> None:
        told: dict[str, Any] = {"path": path, "own": wish.own}
        if wish.cfid is not None:
            self._best.kept(wish.cfid)
            told["cfid"] = wish.cfid
        self._teller.event("checkpoint", **told)

    def _copies(self) -> tuple[dict[str, Tensor], states.RunState]:
        """All that the run's future depends on, as it is between two iterations."""
        standing = self._standing
        tensors = states.taken(self._game, self._sampler)
        pending = [c for c in tuple(self._commands) if isinstance(c, SetControl)]
        state = states.RunState(
            **self._facts,
            step=standing.step,
            branch=standing.branch,
            controls=standing.controls.table(),
            pending=pending,
            scheduled=standing.scheduled,
            counters=replace(standing.counters, elapsed=self._pace.seconds),
            d_updates=self._game.d_updates,
            position=self._game.batches.position.at,
            alarms=list(self._teller.raised.values()),
            streaks=self._teller.streaks,
            architecture=states.architecture(tensors),
        )
        return tensors, state
