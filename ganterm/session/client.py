"""A session with a trainer in another process: the news by a socket, the past from files."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganterm.errors import UserError
from ganterm.session import lock, runs, wire
from ganterm.session.findings import Diagnosis
from ganterm.session.follow import Follower
from ganterm.session.history import HistoryView
from ganterm.session.peers import is_stopped, my_terminal, silence, trusted
from ganterm.session.pointer import Pointer, connected, pointers
from ganterm.session.protocol import (
    DEFAULT_VIEW,
    EMPTY,
    ENDED,
    Command,
    Event,
    Failure,
    Link,
    Sample,
    Snapshot,
    View,
)
from ganterm.session.wire import PROTOCOL, Answer
from ganterm.text import clean

LOOK_SECONDS = 0.2
STALE_SECONDS = 6.0
"""Three beats of the server's."""
WELCOME_SECONDS = 10.0
SEARCH_SECONDS = 1.0


class RemoteSession:
    """Watches and steers a live run; a thread of its own keeps up with it.

    ``link`` tells how good the connection is. A run whose process is gone without a word is shown
    as failed. A connection that breaks while the process lives is made anew.
    """

    def __init__(self, pointer: Pointer, readonly: bool = False) -> None:
        self.snapshot: Snapshot = EMPTY
        self.ended = threading.Event()
        self._pointer = pointer
        self._pid = pointer.pid
        self._run = Path(pointer.directory)
        self._readonly = readonly
        self._follower = Follower(self._run)
        self._connection: socket.socket | None = None
        self._received = bytearray()
        self._heard_at = time.monotonic()
        self._wish: wire.Watch | None = None
        self._sample: Sample | None = None
        self._diagnosis = Diagnosis()
        self._numbers = itertools.count(1)
        self._answers: dict[int, Answer] = {}
        self._trouble = ""
        self._news = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep_up, name="ganterm-client", daemon=True)

    @property
    def history(self) -> HistoryView:
        """All that is on the disk so far, of the newest branch."""
        return self._follower.history

    @property
    def link(self) -> Link:
        """Whether the trainer still speaks, and since when it does not."""
        age = time.monotonic() - self._heard_at
        if self.ended.is_set():
            return Link("ended", self._readonly)
        stale = self._connection is None or age > STALE_SECONDS
        return Link("stale" if stale else "attached", self._readonly, age)

    def events(self, after: int = 0) -> tuple[Event, ...]:
        """The events from number ``after`` on, oldest first."""
        return self._follower.events[after:]

    def connect(self) -> None:
        """Begin to talk and to read; UserError where there is nobody to talk to."""
        try:
            self._connect(self._pointer)
        except OSError as error:
            raise self._unreachable(clean(error)) from None
        self._thread.start()

    def start(self, seconds: float = WELCOME_SECONDS) -> None:
        """Wait for the first news, connected first where it is not; UserError where none come.

        ``seconds`` bounds the waiting. A process that is stopped is not waited for.
        """
        if not self._thread.ident:
            self.connect()
        with self._news:
            self._news.wait_for(
                lambda: self.snapshot is not EMPTY or self._trouble,
                0 if is_stopped(self._pid) else min(seconds, WELCOME_SECONDS),
            )
        if self.snapshot is EMPTY:
            self.close()
            raise self._unreachable(self._trouble or silence(self._pid))

    def _unreachable(self, why: str) -> UserError:
        return UserError(f"run '{clean(self._run.name)}' cannot be reached: {why}")

    def close(self) -> None:
        """Leave; the run goes on."""
        self._closing.set()
        self._drop()

    def ask(self, command: Command) -> int:
        """Hand a command over; the number that its answer will have."""
        number = next(self._numbers)
        self._say(wire.Do(number, command))
        return number

    def answer(self, number: int, seconds: float) -> Answer | None:
        """The answer to a command, None where none came in time."""
        with self._news:
            self._news.wait_for(lambda: number in self._answers, seconds)
            return self._answers.pop(number, None)

    def submit(self, command: Command) -> None:
        """Hand a command to the trainer, which obeys between two iterations."""
        self.ask(command)

    def watch(self, samples_per_s: float, view: View = DEFAULT_VIEW) -> None:
        """Say how often sample pictures are wanted, and of what; said once."""
        wish = wire.Watch(samples_per_s, view)
        if wish != self._wish:
            self._wish = wish
            self._say(wish)

    def note(self, kind: str, **data: Any) -> None:
        """Have it noted that this watcher comes or goes."""
        if kind in ("attach", "detach"):
            self._say(wire.Note(kind, data))  # type: ignore[arg-type]

    def _say(self, message: wire.Asked) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            connection.sendall(wire.line(message))
        except OSError:
            # Half a line may be gone; the thread makes another connection.
            self._drop()

    def _connect(self, pointer: Pointer) -> None:
        connection = connected(pointer)
        if trusted(connection) is None:
            connection.close()
            raise UserError(f"{clean(pointer.socket)} is served by another user")
        connection.settimeout(LOOK_SECONDS)
        self._received.clear()
        self._connection = connection
        self._say(wire.Hello(PROTOCOL, self._readonly, my_terminal()))
        if self._wish is not None:
            self._say(self._wish)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _keep_up(self) -> None:
        looked_at = 0.0
        while not (self._closing.is_set() or self.ended.is_set()):
            if time.monotonic() - looked_at >= LOOK_SECONDS:
                self._follow()
                looked_at = time.monotonic()
            try:
                self._hear()
            except (OSError, wire.WireError) as error:
                self._drop()
                with self._news:
                    self._trouble = clean(error)
                    self._news.notify_all()
            if self._connection is None and not self.ended.is_set():
                self._search()
        self._follow()

    def _follow(self) -> None:
        """Read on in the run directory; a disk that is away for a moment is no reason to leave."""
        try:
            self._follower.look()
        except (OSError, UserError):
            self._closing.wait(LOOK_SECONDS)

    def _hear(self) -> None:
        """Take what comes within ``LOOK_SECONDS``."""
        connection = self._connection
        if connection is None:
            raise ConnectionResetError("gone")
        try:
            content = connection.recv(1 << 20)
        except TimeoutError:
            return
        if not content:
            raise ConnectionResetError("the run's process hung up")
        self._received += content
        *lines, rest = self._received.split(b"\n")
        self._received = rest
        if len(rest) > wire.LONGEST_TOLD:
            raise wire.WireError("a line that does not end")
        for line in lines:
            self._take(wire.told(bytes(line)))

    def _take(self, message: wire.Told) -> None:
        self._heard_at = time.monotonic()
        match message:
            case wire.Welcome(pid=pid):
                self._pid = pid
            case wire.Picture(sample):
                self._sample = sample
            case wire.Found(diagnosis):
                self._diagnosis = diagnosis
            case wire.News(snapshot):
                # What is relative is so to a folder of the trainer's; absolute, it was moved.
                if Path(snapshot.info.directory).is_absolute():
                    self._run = Path(snapshot.info.directory)
                info = replace(snapshot.info, directory=str(self._run))
                with self._news:
                    self.snapshot = replace(
                        snapshot, info=info, sample=self._sample, diagnosis=self._diagnosis
                    )
                    self._news.notify_all()
            case Answer(number):
                with self._news:
                    self._answers[number] = message
                    self._news.notify_all()
            case wire.Goodbye(ended, why):
                if not ended:
                    raise ConnectionResetError(why)
                self._end()

    def _search(self) -> None:
        """Find the run's process again after a rest, or find that there is none."""
        if not lock.is_live(self._run):
            self._end()
            return
        self._closing.wait(SEARCH_SECONDS)
        for pointer in pointers():
            if pointer.id == self._pointer.id:
                with suppress(OSError, UserError):
                    self._connect(pointer)

    def _end(self) -> None:
        """The run is over: as it said last, or as run.json says, or else it has crashed."""
        if self.snapshot.state not in ENDED:
            try:
                state = runs.about(self._run).state
            except UserError:
                state = "unreadable"
            if state in ENDED:
                self.snapshot = replace(self.snapshot, state=state)
            else:
                message = f"crashed: process {self._pid} ended without a word"
                failure = Failure(message)
                self.snapshot = replace(self.snapshot, state="failed", failure=failure)
        self._follow()
        self.ended.set()
        self._drop()
        with self._news:
            self._news.notify_all()
