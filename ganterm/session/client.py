"""A session with a trainer in another process: the present by a socket, the past from files."""

from __future__ import annotations

import itertools
import math
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganterm.core.errors import UserError
from ganterm.core.events import Event
from ganterm.core.findings import Diagnosis
from ganterm.core.history import HistoryView
from ganterm.core.metrics import METRICS
from ganterm.core.snapshot import (
    DEFAULT_VIEW,
    EMPTY,
    ENDED,
    Command,
    Failure,
    Link,
    Refusal,
    Sample,
    Snapshot,
    View,
)
from ganterm.core.text import clean
from ganterm.rundir import find, lock, reader
from ganterm.rundir.follow import Follower
from ganterm.session import bounds, wire
from ganterm.session.address import Pointer, connect_to, pointers
from ganterm.session.peers import is_stopped, my_terminal, own_peer, silence
from ganterm.session.wire import PROTOCOL, Answer

LOOK_SECONDS = 0.2
"""Time between two looks at the run's files; the socket is read in between."""
STALE_SECONDS = 6.0
"""Silence after which the connection counts as stale: three of the server's heartbeats."""
WELCOME_SECONDS = 10.0
"""Longest time to wait for the first snapshot."""
SEARCH_SECONDS = 1.0
"""Time between two attempts to find the run's process again."""
MOST_BYTES_A_LOOK = 1 << 25
MOST_MESSAGES_A_LOOK = 100
"""Bytes and messages taken in one look. A trainer sends some pictures and a few dozen messages in
that time; the rest of a flood waits in the socket, so that the screen has time to draw."""
MOST_UNANSWERED = 1024
"""Commands whose answers are waited for; the oldest are forgotten."""
_UNREACHED = "the trainer could not be reached; the command may be lost"


class RemoteSession:
    """Watches and steers a live run; a thread of its own keeps up with it.

    ``link`` tells how good the connection is. A connection that breaks while the process lives is
    made again. A run whose process ended without saying so is shown as failed.
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
        self._received = wire.FrameReader(wire.LONGEST_SERVER_MESSAGE)
        self._heard_at = time.monotonic()
        self._watch: wire.Watch | None = None
        self._sample: Sample | None = None
        self._diagnosis = Diagnosis()
        self._numbers = itertools.count(1)
        self._answers: dict[int, Answer | None] = {}
        """Answers that ``answer`` will fetch, by number; None until they come."""
        self._submitted: dict[int, Command] = {}
        """Commands that are sent and not answered yet, by number."""
        self._refusals: deque[Refusal] = deque(maxlen=MOST_UNANSWERED)
        self._trouble = ""
        self._misread = ""
        self._misread_files = ""
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep_up, name="ganterm-client", daemon=True)

    @property
    def history(self) -> HistoryView:
        """All rows of the newest branch that are on disk so far."""
        return self._follower.history

    @property
    def link(self) -> Link:
        """The state of the connection, with the seconds since the trainer last answered."""
        age = time.monotonic() - self._heard_at
        if self.ended.is_set():
            return Link("ended", self._readonly)
        stale = self._connection is None or age > STALE_SECONDS
        trouble = self._misread or self._misread_files
        return Link("stale" if stale else "attached", self._readonly, age, trouble)

    def events(self, after: int = 0) -> tuple[Event, ...]:
        """The events from number ``after`` on, oldest first."""
        follower = self._follower
        return follower.events[max(0, after - follower.forgotten) :]

    def connect(self) -> None:
        """Connect and start to read; UserError where no process listens."""
        try:
            self._connect(self._pointer)
        except OSError as error:
            raise self._unreachable(clean(error)) from None
        self._thread.start()

    def start(self, seconds: float = WELCOME_SECONDS) -> None:
        """Connect if need be, and wait up to ``seconds`` for the first snapshot.

        UserError where none comes. A process that is stopped is not waited for.
        """
        if not self._thread.ident:
            self.connect()
        with self._changed:
            self._changed.wait_for(
                lambda: self.snapshot is not EMPTY or self._trouble,
                0 if is_stopped(self._pid) else min(seconds, WELCOME_SECONDS),
            )
        if self.snapshot is EMPTY:
            self.close()
            raise self._unreachable(self._trouble or silence(self._pid))

    def _unreachable(self, why: str) -> UserError:
        return UserError(f"run '{clean(self._run.name)}' cannot be reached: {why}")

    def close(self) -> None:
        """Disconnect; the run goes on."""
        self._closing.set()
        self._drop()

    def ask(self, command: Command) -> int:
        """Send a command; returns the number by which ``answer`` finds its answer."""
        number = next(self._numbers)
        with self._changed:
            self._answers[number] = None
            _forget_oldest(self._answers)
        self._say(wire.Do(number, command))
        return number

    def answer(self, number: int, seconds: float) -> Answer | None:
        """Wait for the answer to a command, then forget it; None where none came in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._answers.get(number) is not None, seconds)
            return self._answers.pop(number, None)

    def submit(self, command: Command) -> None:
        """Hand a command to the trainer, which obeys between two iterations."""
        number = next(self._numbers)
        with self._changed:
            self._submitted[number] = command
            _forget_oldest(self._submitted)
        self._say(wire.Do(number, command))

    def take_refusals(self) -> tuple[Refusal, ...]:
        """The commands refused since the last call, and those that may never have arrived.

        They include the trainer's own refusals, which are events too.
        """
        if not self._refusals:
            return ()
        with self._changed:
            refusals = tuple(self._refusals)
            self._refusals.clear()
        return refusals

    def watch(self, samples_per_s: float, view: View = DEFAULT_VIEW) -> None:
        """Request a rate and a view of sample pictures; an equal request is not sent again."""
        message = wire.Watch(samples_per_s, view)
        if message != self._watch:
            self._watch = message
            self._say(message)

    def note(self, kind: str, **data: Any) -> None:
        """Log in the run's events that this watcher comes or goes."""
        if kind in ("attach", "detach"):
            self._say(wire.Note(kind, data))  # type: ignore[arg-type]

    def _say(self, message: wire.ClientMessage) -> None:
        connection = self._connection
        if connection is None:
            self._give_up()
            return
        try:
            connection.sendall(wire.frame(message))
        except OSError:
            # Part of a message may be sent already; the thread connects again.
            self._drop()

    def _connect(self, pointer: Pointer) -> None:
        if pointer.protocol != PROTOCOL:
            raise UserError(
                f"run '{clean(self._run.name)}' speaks protocol {pointer.protocol}, this ganterm "
                f"{PROTOCOL}; attach with the ganterm that trains it"
            )
        connection = connect_to(pointer)
        peer = own_peer(connection)
        if peer is None:
            connection.close()
            raise UserError(f"{clean(pointer.socket)} is served by another user")
        connection.settimeout(LOOK_SECONDS)
        # The kernel's word counts, not what the process says of itself.
        self._pid = peer.pid
        self._received.clear()
        self._connection = connection
        self._say(wire.Hello(PROTOCOL, self._readonly, my_terminal()))
        if self._watch is not None:
            self._say(self._watch)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._give_up()

    def _give_up(self) -> None:
        """Count the unanswered commands as refused: their answers will not come."""
        with self._changed:
            given_up = [Refusal(command, _UNREACHED) for command in self._submitted.values()]
            self._submitted.clear()
            if not self.ended.is_set() and not self._closing.is_set():
                self._refusals.extend(given_up)

    def _keep_up(self) -> None:
        while not (self._closing.is_set() or self.ended.is_set()):
            self._follow()
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 - no message may end the watcher
                self._drop()
                with self._changed:
                    self._trouble = clean(error)
                    if not isinstance(error, OSError):
                        self._misread = f"process {self._pid} is not understood: {clean(error)}"
                    self._changed.notify_all()
            if self._connection is None and not self.ended.is_set():
                self._search()
        self._follow()

    def _follow(self) -> None:
        """Read what is new in the run directory; show an error, and try again at the next look."""
        try:
            self._follower.look()
            self._misread_files = ""
        except (OSError, ValueError, UserError) as error:
            self._misread_files = f"the run's files cannot be read: {clean(error)}"
            self._closing.wait(LOOK_SECONDS)

    def _listen(self) -> None:
        """Take what comes within ``LOOK_SECONDS``, up to the bounds of one look."""
        end, size, messages = time.monotonic() + LOOK_SECONDS, 0, 0
        while (left := end - time.monotonic()) > 0:
            if size >= MOST_BYTES_A_LOOK or messages >= MOST_MESSAGES_A_LOOK:
                self._closing.wait(left)
                return
            content = self._received.next()
            if content is None:
                count = self._receive(left)
                if not count:
                    return
                size += count
                continue
            messages += 1
            self._take(wire.server_message(content))
            if self._connection is None:
                return

    def _receive(self, seconds: float) -> int:
        """Wait for more of what the trainer sends; how many bytes came."""
        connection = self._connection
        if connection is None:
            raise ConnectionResetError("gone")
        connection.settimeout(max(seconds, 0.001))
        try:
            content = connection.recv(1 << 20)
        except TimeoutError:
            return 0
        if not content:
            raise ConnectionResetError("the run's process hung up")
        self._received.feed(content)
        return len(content)

    def _take(self, message: wire.ServerMessage) -> None:
        self._heard_at = time.monotonic()
        match message:
            case wire.Greeting(protocol=protocol):
                if protocol != PROTOCOL:
                    raise wire.WireError(f"it speaks protocol {protocol}, this ganterm {PROTOCOL}")
            case wire.SampleUpdate(sample):
                bounds.check_sample(sample)
                self._sample = sample
            case wire.DiagnosisUpdate(diagnosis):
                bounds.check_diagnosis(diagnosis)
                self._diagnosis = diagnosis
            case wire.SnapshotUpdate(snapshot):
                bounds.check_snapshot(snapshot)
                scalars = dict.fromkeys(METRICS, math.nan) | dict(snapshot.scalars)
                self._misread = ""
                # A relative path has its base in the other process. An absolute one may be new.
                if Path(snapshot.info.directory).is_absolute():
                    self._run = Path(snapshot.info.directory)
                info = replace(snapshot.info, directory=str(self._run))
                with self._changed:
                    self.snapshot = replace(
                        snapshot,
                        info=info,
                        scalars=scalars,
                        sample=self._sample,
                        diagnosis=self._diagnosis,
                    )
                    self._changed.notify_all()
            case Answer(number):
                with self._changed:
                    if number in self._answers:
                        self._answers[number] = message
                    command = self._submitted.pop(number, None)
                    if command is not None and message.refused:
                        self._refusals.append(Refusal(command, message.refused))
                    self._changed.notify_all()
            case wire.Goodbye(ended, why):
                if not ended:
                    raise ConnectionResetError(why)
                self._end()

    def _search(self) -> None:
        """Try to find the run's process again after a rest; end where there is none."""
        if not lock.is_live(self._run):
            self._end()
            return
        self._closing.wait(SEARCH_SECONDS)
        for pointer in pointers():
            if pointer.id == self._pointer.id:
                with suppress(OSError, UserError):
                    self._connect(pointer)

    def _end(self) -> None:
        """End with the run: in the state it sent last, or that of run.json, or as crashed."""
        if self.snapshot.state not in ENDED:
            try:
                state = find.about(self._run).state
            except UserError:
                state = "unreadable"
            if state in ENDED:
                self._follow()
                why = reader.cause(self._follower.events)
                failure = Failure(clean(why, 400)) if state == "failed" else None
                self.snapshot = replace(self.snapshot, state=state, failure=failure)
            else:
                message = f"crashed: process {self._pid} ended without saying so"
                failure = Failure(message)
                self.snapshot = replace(self.snapshot, state="failed", failure=failure)
        self._follow()
        self.ended.set()
        self._drop()
        with self._changed:
            self._changed.notify_all()


def _forget_oldest(waiting: dict[int, Any]) -> None:
    """Keep the newest ``MOST_UNANSWERED``."""
    while len(waiting) > MOST_UNANSWERED:
        del waiting[next(iter(waiting))]
