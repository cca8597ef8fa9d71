"""The checkpoints of a run: copies of all its future depends on, and what becomes of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from msgspec import structs
from torch import Tensor

from ganterm.sections import RunSection
from ganterm.session.findings import Diagnosis
from ganterm.session.protocol import Command, SetControl
from ganterm.training import checkpoint
from ganterm.training import state as states
from ganterm.training.best import Best
from ganterm.training.iteration import Game
from ganterm.training.keeper import Keeper, Wish
from ganterm.training.pace import Pace
from ganterm.training.retention import best_cfid
from ganterm.training.rundir import Place, RunDirectory
from ganterm.training.sampler import Sampler
from ganterm.training.standing import Standing
from ganterm.training.teller import Teller


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
        self._commands = commands
        self._facts = facts
        self._keeper = Keeper(directory.folder, run.checkpoint_minutes, run.checkpoint_mb)
        with directory.folder.folder("checkpoints", make=True) as folder:
            self._best = Best(best_cfid(folder), run.checkpoint_minutes)

    def ask(self, wish: Wish) -> None:
        """Have a checkpoint written at the next occasion."""
        self._keeper.ask(wish)

    def examined(self, found: Diagnosis) -> None:
        """Have a checkpoint written at once if the round ``found``, just over, was the best."""
        self._tell()
        value = self._best.value(found)
        if value is not None and self._keeper.free:
            self._best.asked()
            self._keeper.ask(Wish(cfid=value))

    def due(self) -> bool:
        """Tell of checkpoints that were written; whether one should be taken now."""
        self._tell()
        return self._keeper.due(self._standing.step)

    def take(self) -> None:
        """Have one written beside the training; all rows must be drained."""
        self._keeper.take(*self._copies(), self._directory.settled())

    def last(self) -> tuple[str | None, str | None]:
        """The last checkpoint of a sitting: its path, or why the disk took nothing."""
        self._keeper.wait()
        self._tell()
        news = self._keeper.last(*self._copies(), self._directory.settled())
        if news.name is None:
            return None, news.trouble
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

    def _tell(self) -> None:
        while (news := self._keeper.news()) is not None:
            if news.name is not None:
                self._tell_written(f"checkpoints/{news.name}", news.wish)
            if news.trouble is not None:
                message = f"no checkpoint could be written: {news.trouble}; tried again later"
                if news.name is not None:
                    message = f"old checkpoints cannot be removed: {news.trouble}"
                self._teller.alarm("checkpoint", "No checkpoint", message)
            else:
                self._teller.clear("checkpoint")

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
