"""When checkpoints are taken, and the thread that writes them while the training goes on."""

from __future__ import annotations

import shlex
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from msgspec import structs
from torch import Tensor

from ganterm.core.events import CheckpointEvent
from ganterm.core.findings import Diagnosis
from ganterm.core.snapshot import Command, Failure, SetControl
from ganterm.core.text import clean
from ganterm.diagnosis.rule import illnesses
from ganterm.rundir.directory import Place, RunDirectory
from ganterm.rundir.find import CheckpointName, point
from ganterm.sections import RunSection
from ganterm.system.files import Folder, in_words
from ganterm.training.checkpoints import contents as states
from ganterm.training.checkpoints import storage
from ganterm.training.checkpoints.contents import RunState
from ganterm.training.checkpoints.retention import BEST, Best, Healthy, best_cfid, prune
from ganterm.training.game import Game
from ganterm.training.journal import Teller
from ganterm.training.progress import Pace, Standing
from ganterm.training.sampler import Sampler

RETRY_SECONDS = 30.0
ROWS_SECONDS = 5.0
"""How long a checkpoint waits for the rows before it; a disk that takes none takes it neither."""


@dataclass(frozen=True)
class Wish:
    """Why a checkpoint is taken: the user's ``own``, the best one so far, or because it is time.

    ``cfid``: what it is the best by, or None. ``rest``: the run rests, and nobody knows how long.
    """

    own: bool = False
    cfid: float | None = None
    rest: bool = False


@dataclass(frozen=True)
class News:
    """A checkpoint that is on the disk, or None, and what went wrong, or None.

    ``wish``: of what was wished for, what came true or can still do so. ``well``: whether no alarm
    spoke against the training when it was taken. ``removed``: older ones that made room for it.
    """

    name: CheckpointName | None
    trouble: str | None
    wish: Wish = Wish()
    well: bool = False
    removed: tuple[CheckpointName, ...] = ()


class Keeper:
    """Says when a copy of a run's state is due, and has it written; one at a time.

    All methods are for the thread that trains. What is wished for while one is being written is
    taken once that is done: several wishes become one checkpoint. ``healthy`` is one to go back to,
    which stays.
    """

    def __init__(self, run: Folder, minutes: float, megabytes: int) -> None:
        self._run = run
        self._every = 60 * minutes
        self._megabytes = megabytes
        self.healthy: CheckpointName | None = None
        self._wish = Wish()
        self._next_at = time.monotonic() + self._every
        self._not_before = 0.0
        self._taken_at_step = 0
        self._thread: threading.Thread | None = None
        self._news: deque[News] = deque()

    def ask(self, wish: Wish) -> None:
        """Have a checkpoint taken at the next occasion."""
        cfid = self._wish.cfid if wish.cfid is None else wish.cfid
        self._wish = Wish(self._wish.own or wish.own, cfid, self._wish.rest or wish.rest)
        self._not_before = 0.0

    @property
    def free(self) -> bool:
        """Whether what is wished for now is taken now."""
        waits = time.monotonic() < self._not_before
        return not waits and (self._thread is None or not self._thread.is_alive())

    def due(self, step: int) -> bool:
        """Whether a copy of the state should be taken now, at ``step``."""
        if not self.free:
            return False
        late = time.monotonic() >= self._next_at
        timely = bool(self._every) and late and step != self._taken_at_step
        return timely or self._wish != Wish()

    def take(
        self, tensors: Mapping[str, Tensor], state: RunState, rows_written: threading.Event
    ) -> None:
        """Have a copy written by a thread of its own, once ``rows_written`` is set."""
        wish, self._wish = self._wish, Wish()
        self._taken_at_step = state.step
        self._next_at = time.monotonic() + self._every
        self._thread = threading.Thread(
            target=self._write,
            args=(tensors, state, rows_written, wish),
            name="ganterm-checkpoint",
            daemon=True,
        )
        self._thread.start()

    def news(self) -> News | None:
        """What became of a checkpoint, once; a failed one is tried again later."""
        if not self._news:
            return None
        told = self._news.popleft()
        if told.name is None:
            later = time.monotonic() + RETRY_SECONDS
            self.ask(told.wish)
            self._not_before = self._next_at = later
            self._taken_at_step = -1
        return told

    def wait(self) -> None:
        """Let what is being written be finished."""
        if self._thread is not None:
            self._thread.join()

    def last(
        self, tensors: Mapping[str, Tensor], state: RunState, rows_written: threading.Event
    ) -> News:
        """Write the last checkpoint of a run, waiting for it."""
        self.wait()
        self._write(tensors, state, rows_written, self._wish)
        return self._news.pop()

    def _write(
        self,
        tensors: Mapping[str, Tensor],
        state: RunState,
        rows_written: threading.Event,
        wish: Wish,
    ) -> None:
        rows_written.wait(ROWS_SECONDS)
        # The best is gone with the copy of it; all else can be had later as well.
        name, told = None, Wish(wish.own)
        removed: tuple[CheckpointName, ...] = ()
        well = not any(alarm.name in illnesses() for alarm in state.alarms)
        try:
            with self._run.folder("checkpoints", make=True) as folder:
                name = storage.save(folder, tensors, state, wish.own, wish.cfid)
                if wish.cfid is not None:
                    point(folder, name, BEST)
                    told = wish
                removed = tuple(prune(folder, self._megabytes, self.healthy))
        except Exception as error:  # noqa: BLE001 - no trouble in here may end the training
            words = f"{type(error).__name__}: {error}"
            if isinstance(error, OSError) and error.strerror:
                words = in_words(error)
            self._news.append(News(name, words, told, well))
        else:
            self._news.append(News(name, None, told, well, removed))


# The checkpoints of a run: copies of all its future depends on, and what becomes of them.

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
            return f"checkpoints/{storage.save(folder, tensors, state)}"

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
        if wish.cfid is not None:
            self._best.kept(wish.cfid)
        self._teller.log(CheckpointEvent(path=path, own=wish.own, cfid=wish.cfid))

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


# The last save of a run: where its directory takes nothing, in another place.

WAIT_SECONDS = 20.0
"""How long the run directory is tried again; less than a batch system gives a job to end."""
TRY_SECONDS = 1.0


class LastSave:
    """Saves the networks at the end of a sitting, whatever became of the run directory.

    Where it takes nothing, they are at once put into another place, so that a kill loses nothing,
    and the directory is tried again for ``WAIT_SECONDS``; then the run moves to the other place.
    ``runs``: where that is made, or else in the folder for temporary files. ``publish`` shows the
    alarm that tells of all this.
    """

    def __init__(
        self,
        directory: RunDirectory,
        standing: Standing,
        saving: Saving,
        teller: Teller,
        runs: Path,
        publish: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._standing = standing
        self._saving = saving
        self._teller = teller
        self._runs = runs
        self._publish = publish

    def save(self) -> tuple[str | None, Failure | None]:
        """The path of the last checkpoint in the directory that the run has now, None where none
        could be written; and the failure, where it is not where it should be."""
        saved, trouble = self._saving.last()
        if trouble is None:
            return saved, None
        where = clean(self._directory.path)
        if self._directory.gone:
            trouble = f"{where} was deleted"
        place, elsewhere = self._elsewhere()
        lie = f"; they lie in {_path(place)} for now" if place else ""
        end = time.monotonic() + WAIT_SECONDS
        while trouble is not None and not self._directory.gone and time.monotonic() < end:
            waits = f"{trouble}{lie}; it is tried again for {WAIT_SECONDS:.0f} s"
            self._teller.warn("save", "Not saved yet", f"the networks cannot be saved: {waits}")
            self._publish()
            time.sleep(TRY_SECONDS)
            saved, trouble = self._saving.last()
        if trouble is None:
            if place is not None:
                place.remove()
            self._teller.clear("save")
            return saved, None
        if place is None:
            failure = Failure(f"the networks could not be saved: {trouble}")
        else:
            self._directory.move(place)
            failure = Failure(
                f"the networks could not be saved in {where}: {trouble}; they are in another "
                f"place, to go on with them: ganterm resume {shlex.quote(_path(place))}"
            )
        self._teller.warn("save", "Not saved", failure.message)
        return elsewhere, failure

    def _elsewhere(self) -> tuple[Place | None, str | None]:
        """Another place with a checkpoint in it, and the checkpoint's path; None where none is."""
        try:
            return self._in(self._runs)
        except OSError:
            pass
        temporary = None
        try:
            temporary = Path(tempfile.mkdtemp(prefix="ganterm-"))
            return self._in(temporary)
        except OSError:
            # What is wrong with the run directory is told; that there is no other place, as well.
            if temporary is not None:
                temporary.rmdir()
        return None, None

    def _in(self, parent: Path) -> tuple[Place, str]:
        standing = self._standing
        place = self._directory.second(
            parent.absolute(), self._saving.room, standing.step, standing.branch
        )
        try:
            return place, self._saving.into(place)
        except OSError:
            place.remove()
            raise


def _path(place: Place) -> str:
    return clean(place.folder.path, 4096)
