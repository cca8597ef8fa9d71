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
from typing import Any, Protocol

from msgspec import structs
from torch import Tensor

from ganterm.core.events import CheckpointEvent
from ganterm.core.findings import Diagnosis
from ganterm.core.snapshot import Command, Failure, SetControl
from ganterm.core.text import clean
from ganterm.diagnosis.rule import network_alarms
from ganterm.rundir.directory import Place, RunDirectory
from ganterm.rundir.find import CheckpointName, point
from ganterm.sections import RunSection
from ganterm.system.files import Folder, in_words
from ganterm.training.checkpoints import storage
from ganterm.training.checkpoints.contents import RunState, architecture
from ganterm.training.checkpoints.retention import (
    BEST,
    BestCheckpoint,
    HealthyCheckpoints,
    best_cfid,
    prune,
)
from ganterm.training.journal import Journal
from ganterm.training.progress import Progress

RETRY_SECONDS = 30.0
"""Wait after a checkpoint that could not be written, before the next attempt."""
ROWS_SECONDS = 5.0
"""Longest wait until the rows before a checkpoint are written. A disk that does not take them in
that time will not take the checkpoint either."""


@dataclass(frozen=True)
class Request:
    """Why a checkpoint is asked for.

    ``own``: the user asked. ``cfid``: it is the best by this classifier-FID, None where it is not.
    ``rest``: the run pauses for an unknown time.
    """

    own: bool = False
    cfid: float | None = None
    rest: bool = False


@dataclass(frozen=True)
class Outcome:
    """The result of writing a checkpoint: its ``name`` if it is on the disk, and any ``trouble``.

    ``request``: what was fulfilled, or what a later attempt can still fulfil. ``healthy``: no alarm
    about the training was raised when it was taken. ``removed``: older ones that made room for it.
    """

    name: CheckpointName | None
    trouble: str | None
    request: Request = Request()
    healthy: bool = False
    removed: tuple[CheckpointName, ...] = ()


class CheckpointThread:
    """Says when a checkpoint is due, and writes one at a time in a thread of its own.

    All methods belong to the trainer's thread. Requests that come while a checkpoint is being
    written are merged into the next one. ``healthy`` is the newest healthy checkpoint, which is
    never removed.
    """

    def __init__(self, run: Folder, minutes: float, megabytes: int) -> None:
        self._run = run
        self._every = 60 * minutes
        self._megabytes = megabytes
        self.healthy: CheckpointName | None = None
        self._request = Request()
        self._next_at = time.monotonic() + self._every
        self._not_before = 0.0
        self._taken_at_step = 0
        self._thread: threading.Thread | None = None
        self._outcomes: deque[Outcome] = deque()

    def ask(self, request: Request) -> None:
        """Ask for a checkpoint at the next occasion."""
        cfid = self._request.cfid if request.cfid is None else request.cfid
        self._request = Request(
            self._request.own or request.own, cfid, self._request.rest or request.rest
        )
        self._not_before = 0.0

    @property
    def free(self) -> bool:
        """Whether a request would be fulfilled at once."""
        waits = time.monotonic() < self._not_before
        return not waits and (self._thread is None or not self._thread.is_alive())

    def due(self, step: int) -> bool:
        """Whether a copy of the state should be taken now, at ``step``."""
        if not self.free:
            return False
        late = time.monotonic() >= self._next_at
        timely = bool(self._every) and late and step != self._taken_at_step
        return timely or self._request != Request()

    def take(
        self, tensors: Mapping[str, Tensor], state: RunState, rows_written: threading.Event
    ) -> None:
        """Begin to write a checkpoint; the thread waits for ``rows_written`` first."""
        request, self._request = self._request, Request()
        self._taken_at_step = state.step
        self._next_at = time.monotonic() + self._every
        self._thread = threading.Thread(
            target=self._write,
            args=(tensors, state, rows_written, request),
            name="ganterm-checkpoint",
            daemon=True,
        )
        self._thread.start()

    def outcome(self) -> Outcome | None:
        """The next result, None where there is none; a failed checkpoint is tried again later."""
        if not self._outcomes:
            return None
        outcome = self._outcomes.popleft()
        if outcome.name is None:
            later = time.monotonic() + RETRY_SECONDS
            self.ask(outcome.request)
            self._not_before = self._next_at = later
            self._taken_at_step = -1
        return outcome

    def wait(self) -> None:
        """Wait for the checkpoint that is being written."""
        if self._thread is not None:
            self._thread.join()

    def last(
        self, tensors: Mapping[str, Tensor], state: RunState, rows_written: threading.Event
    ) -> Outcome:
        """Write the last checkpoint of a sitting and wait for it."""
        self.wait()
        self._write(tensors, state, rows_written, self._request)
        return self._outcomes.pop()

    def _write(
        self,
        tensors: Mapping[str, Tensor],
        state: RunState,
        rows_written: threading.Event,
        request: Request,
    ) -> None:
        rows_written.wait(ROWS_SECONDS)
        # If writing fails, the best state is lost with its copy; the user's request can wait.
        name, fulfilled = None, Request(request.own)
        removed: tuple[CheckpointName, ...] = ()
        healthy = not any(alarm.name in network_alarms() for alarm in state.alarms)
        try:
            with self._run.folder("checkpoints", make=True) as folder:
                name = storage.save(folder, tensors, state, request.own, request.cfid)
                if request.cfid is not None:
                    point(folder, name, BEST)
                    fulfilled = request
                removed = tuple(prune(folder, self._megabytes, self.healthy))
        except Exception as error:  # noqa: BLE001 - a failure in here must not end the training
            words = f"{type(error).__name__}: {error}"
            if isinstance(error, OSError) and error.strerror:
                words = in_words(error)
            self._outcomes.append(Outcome(name, words, fulfilled, healthy))
        else:
            self._outcomes.append(Outcome(name, None, fulfilled, healthy, removed))


WARM_UP = 500
"""Step from which a healthy run gets a first checkpoint to go back to, once a round of exams has
seen it; without one, at twice as many steps. Later the automatic checkpoints serve."""
WORTH_KEEPING = 100
"""Step from which a first checkpoint is taken before a control changes, because runs fail after a
change more often than without one. Before it, a new start costs no more than going back."""


class Checkpoints:
    """Takes a run's checkpoints where they are due, and reports them in the journal.

    ``facts`` are the fields of ``RunState`` that never change; ``commands`` those still waiting.
    """

    def __init__(
        self,
        directory: RunDirectory,
        progress: Progress,
        contents: Contents,
        journal: Journal,
        healthy: HealthyCheckpoints,
        commands: deque[Command],
        run: RunSection,
        facts: Mapping[str, Any],
    ) -> None:
        self._directory = directory
        self._progress = progress
        self._contents = contents
        self._journal = journal
        self._healthy = healthy
        self._commands = commands
        self._facts = facts
        self._thread = CheckpointThread(directory.folder, run.checkpoint_minutes, run.checkpoint_mb)
        self._thread.healthy = healthy.newest
        with directory.folder.folder("checkpoints", make=True) as folder:
            self._best = BestCheckpoint(best_cfid(folder), run.checkpoint_minutes)
        self._automatic = run.checkpoint_minutes > 0
        self._examined_at = 0 if run.diagnosis else WARM_UP
        self._first_not_before = 0.0

    def ask(self, request: Request) -> None:
        """Ask for a checkpoint at the next occasion."""
        self._thread.ask(request)

    def examined(self, found: Diagnosis) -> None:
        """Ask for a checkpoint at once if the round of exams just over was the best."""
        self._report()
        self._examined_at = found.step
        value = self._best.value(found)
        if value is not None and self._thread.free:
            self._best.asked()
            self._thread.ask(Request(cfid=value))

    def due(self) -> bool:
        """Report those that were written; returns whether one should be taken now."""
        self._report()
        return self._thread.due(self._progress.step) or self._first_is_due()

    def _first_is_due(self) -> bool:
        """Whether a healthy run past its warm-up has no checkpoint to go back to."""
        step = self._progress.step
        examined = self._examined_at >= WARM_UP or step >= 2 * WARM_UP
        return step >= WARM_UP and examined and self._lacks_healthy()

    def _lacks_healthy(self) -> bool:
        """Whether a first healthy checkpoint is wanted and can be taken now."""
        return (
            self._automatic
            and self._healthy.newest is None
            and self._thread.free
            and time.monotonic() >= self._first_not_before
            and not any(name in network_alarms() for name in self._journal.raised)
        )

    def before_change(self) -> None:
        """Take a first checkpoint before a control changes, where one is wanted.

        All rows must be drained.
        """
        if self._progress.step >= WORTH_KEEPING and self._lacks_healthy():
            self.take()

    def take(self) -> None:
        """Begin to write a checkpoint; all rows must be drained."""
        self._first_not_before = time.monotonic() + RETRY_SECONDS
        self._thread.healthy = self._healthy.newest
        self._thread.take(*self._copies(), self._directory.settled())

    def last(self) -> tuple[str | None, str | None]:
        """Write the last checkpoint of a sitting: its path, or why the disk did not take it."""
        self.finish_writing()
        outcome = self._thread.last(*self._copies(), self._directory.settled())
        if outcome.name is None:
            return None, outcome.trouble
        self._note(outcome)
        path = f"checkpoints/{outcome.name}"
        if outcome.request.cfid is not None:
            # The stop event names the checkpoint too, but not as the best one.
            self._log(path, outcome.request)
        self._journal.clear("checkpoint")
        return path, None

    @property
    def bytes(self) -> int:
        """The size of a checkpoint, about."""
        return self._contents.bytes

    def save_into(self, place: Place) -> str:
        """Write a checkpoint into another place; returns its path there.

        OSError where the disk does not take it.
        """
        tensors, state = self._copies()
        state = structs.replace(state, run=place.about["id"])
        with place.folder.folder("checkpoints") as folder:
            return f"checkpoints/{storage.save(folder, tensors, state)}"

    def wait(self) -> None:
        """Wait for the checkpoint that is being written."""
        self._thread.wait()

    def finish_writing(self) -> None:
        """Wait for it and report it."""
        self._thread.wait()
        self._report()

    def _report(self) -> None:
        while (outcome := self._thread.outcome()) is not None:
            self._note(outcome)
            if outcome.name is not None:
                self._log(f"checkpoints/{outcome.name}", outcome.request)
            if outcome.trouble is not None:
                message = f"no checkpoint could be written: {outcome.trouble}; tried again later"
                if outcome.name is not None:
                    message = f"old checkpoints cannot be removed: {outcome.trouble}"
                self._journal.alarm("checkpoint", "No checkpoint", message)
            else:
                self._journal.clear("checkpoint")

    def _note(self, outcome: Outcome) -> None:
        """Keep the list of healthy checkpoints up to date."""
        if outcome.name is not None and outcome.healthy:
            self._healthy.saved(outcome.name)
        if outcome.removed:
            self._healthy.removed(list(outcome.removed))
        self._thread.healthy = self._healthy.newest

    def _log(self, path: str, request: Request) -> None:
        if request.cfid is not None:
            self._best.kept(request.cfid)
        self._journal.log(CheckpointEvent(path=path, own=request.own, cfid=request.cfid))

    def _copies(self) -> tuple[dict[str, Tensor], RunState]:
        """Copies of everything that the run's future depends on, between two iterations."""
        progress = self._progress
        tensors, (d_updates, position) = self._contents.tensors(), self._contents.counts()
        pending = [c for c in tuple(self._commands) if isinstance(c, SetControl)]
        state = RunState(
            **self._facts,
            step=progress.step,
            branch=progress.branch,
            controls=progress.controls.table(),
            pending=pending,
            scheduled=progress.scheduled,
            counters=replace(progress.counters, elapsed=progress.clock.seconds),
            alarms=list(self._journal.raised.values()),
            streaks=self._journal.streaks,
            d_updates=d_updates,
            position=position,
            architecture=architecture(tensors),
        )
        return tensors, state


class Contents(Protocol):
    """What a checkpoint holds of the networks and the data, whatever makes the iterations."""

    @property
    def bytes(self) -> int:
        """The size of the tensors, about."""

    def tensors(self) -> dict[str, Tensor]:
        """Copies of all tensors by dotted name, on the host."""

    def counts(self) -> tuple[int, int]:
        """D's updates so far, and the samples drawn in this epoch of the data."""


WAIT_SECONDS = 20.0
"""How long saving into the run directory is retried; less than batch systems give a job to end."""
TRY_SECONDS = 1.0
"""Time between two attempts."""


class LastSave:
    """Saves the networks at the end of a sitting, even if the run directory takes nothing.

    Then they are saved in another place at once, so that a kill loses nothing, and the run
    directory is tried for ``WAIT_SECONDS`` more. If that fails, the run moves to the other place:
    a new directory under ``runs``, or else in the folder for temporary files. ``publish`` shows the
    alarm about it on the board.
    """

    def __init__(
        self,
        directory: RunDirectory,
        progress: Progress,
        checkpoints: Checkpoints,
        journal: Journal,
        runs: Path,
        publish: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._progress = progress
        self._checkpoints = checkpoints
        self._journal = journal
        self._runs = runs
        self._publish = publish

    def save(self) -> tuple[str | None, Failure | None]:
        """The path of the last checkpoint, None where none could be written, and any failure.

        The path is relative to the directory that the run has now. There is a failure where that is
        not the directory it had.
        """
        saved, trouble = self._checkpoints.last()
        if trouble is None:
            return saved, None
        where = clean(self._directory.path)
        if self._directory.gone:
            trouble = f"{where} was deleted"
        place, elsewhere = self._elsewhere()
        where_now = f"; they lie in {_path(place)} for now" if place else ""
        end = time.monotonic() + WAIT_SECONDS
        while trouble is not None and not self._directory.gone and time.monotonic() < end:
            waits = f"{trouble}{where_now}; it is tried again for {WAIT_SECONDS:.0f} s"
            self._journal.warn("save", "Not saved yet", f"the networks cannot be saved: {waits}")
            self._publish()
            time.sleep(TRY_SECONDS)
            saved, trouble = self._checkpoints.last()
        if trouble is None:
            if place is not None:
                place.remove()
            self._journal.clear("save")
            return saved, None
        if place is None:
            failure = Failure(f"the networks could not be saved: {trouble}")
        else:
            self._directory.move(place)
            failure = Failure(
                f"the networks could not be saved in {where}: {trouble}; they are in another "
                f"place, to go on with them: ganterm resume {shlex.quote(_path(place))}"
            )
        self._journal.warn("save", "Not saved", failure.message)
        return elsewhere, failure

    def _elsewhere(self) -> tuple[Place | None, str | None]:
        """Another place and the path of a checkpoint in it; None where there is no such place."""
        try:
            return self._in(self._runs)
        except OSError:
            pass
        temporary = None
        try:
            temporary = Path(tempfile.mkdtemp(prefix="ganterm-"))
            return self._in(temporary)
        except OSError:
            # The caller reports why the run directory failed, and that there is no other place.
            if temporary is not None:
                temporary.rmdir()
        return None, None

    def _in(self, parent: Path) -> tuple[Place, str]:
        progress = self._progress
        place = self._directory.second(
            parent.absolute(), self._checkpoints.bytes, progress.step, progress.branch
        )
        try:
            return place, self._checkpoints.save_into(place)
        except OSError:
            place.remove()
            raise


def _path(place: Place) -> str:
    return clean(place.folder.path, 4096)
