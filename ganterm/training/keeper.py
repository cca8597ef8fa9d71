"""When checkpoints are taken, and the thread that writes them while the training goes on."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ganterm.diagnosis.rule import illnesses
from ganterm.files import Folder, in_words
from ganterm.session.runs import CheckpointName
from ganterm.training import checkpoint
from ganterm.training.retention import BEST, prune
from ganterm.training.state import RunState

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
                name = checkpoint.save(folder, tensors, state, wish.own, wish.cfid)
                if wish.cfid is not None:
                    checkpoint.point(folder, name, BEST)
                    told = wish
                removed = tuple(prune(folder, self._megabytes, self.healthy))
        except Exception as error:  # noqa: BLE001 - no trouble in here may end the training
            words = f"{type(error).__name__}: {error}"
            if isinstance(error, OSError) and error.strerror:
                words = in_words(error)
            self._news.append(News(name, words, told, well))
        else:
            self._news.append(News(name, None, told, well, removed))
