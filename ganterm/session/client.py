"""A session with a trainer in another process: the news by a socket, the past from files."""

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
from ganterm.session.address import Pointer, connected, pointers
from ganterm.session.peers import is_stopped, my_terminal, silence, trusted
from ganterm.session.wire import PROTOCOL, Answer

LOOK_SECONDS = 0.2
STALE_SECONDS = 6.0
"""Three beats of the server's."""
WELCOME_SECONDS = 10.0
SEARCH_SECONDS = 1.0
MOST_BYTES_A_LOOK = 1 << 25
MOST_MESSAGES_A_LOOK = 100
"""A look's share of what a trainer says, which is at most some pictures and a few dozen lines; what
is beyond waits in the socket, so that a flood leaves time for the screen."""
MOST_UNANSWERED = 1024
_UNREACHED = "the trainer could not be reached; it may or may not have heard of it"


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
        self._searched = 0
        """Bytes at its beginning that have no line feed."""
        self._heard_at = time.monotonic()
        self._wish: wire.Watch | None = None
        self._sample: Sample | None = None
        self._diagnosis = Diagnosis()
        self._numbers = itertools.count(1)
        self._answers: dict[int, Answer | None] = {}
        """Those that are waited for, None until they come."""
        self._submitted: dict[int, Command] = {}
        """What was handed over and is not answered yet."""
        self._refusals: deque[Refusal] = deque(maxlen=MOST_UNANSWERED)
        self._trouble = ""
        self._misread = ""
        self._misread_files = ""
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
        trouble = self._misread or self._misread_files
        return Link("stale" if stale else "attached", self._readonly, age, trouble)

    def events(self, after: int = 0) -> tuple[Event, ...]:
        """The events from number ``after`` on, oldest first."""
        follower = self._follower
        return follower.events[max(0, after - follower.forgotten) :]

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
        """Hand a command over; the number by which its answer is asked for."""
        number = next(self._numbers)
        with self._news:
            self._answers[number] = None
            _forget_oldest(self._answers)
        self._say(wire.Do(number, command))
        return number

    def answer(self, number: int, seconds: float) -> Answer | None:
        """The answer to a command, None where none came in time; it is asked for once."""
        with self._news:
            self._news.wait_for(lambda: self._answers.get(number) is not None, seconds)
            return self._answers.pop(number, None)

    def submit(self, command: Command) -> None:
        """Hand a command to the trainer, which obeys between two iterations."""
        number = next(self._numbers)
        with self._news:
            self._submitted[number] = command
            _forget_oldest(self._submitted)
        self._say(wire.Do(number, command))

    def take_refusals(self) -> tuple[Refusal, ...]:
        """The commands refused since this was asked last; also those that may never have arrived.

        The trainer's own refusals are among them, which are events too.
        """
        if not self._refusals:
            return ()
        with self._news:
            refusals = tuple(self._refusals)
            self._refusals.clear()
        return refusals

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
            self._give_up()
            return
        try:
            connection.sendall(wire.line(message))
        except OSError:
            # Half a line may be gone; the thread makes another connection.
            self._drop()

    def _connect(self, pointer: Pointer) -> None:
        connection = connected(pointer)
        peer = trusted(connection)
        if peer is None:
            connection.close()
            raise UserError(f"{clean(pointer.socket)} is served by another user")
        connection.settimeout(LOOK_SECONDS)
        # As the kernel knows it, whatever the process says of itself.
        self._pid = peer.pid
        self._received.clear()
        self._searched = 0
        self._connection = connection
        self._say(wire.Hello(PROTOCOL, self._readonly, my_terminal()))
        if self._wish is not None:
            self._say(self._wish)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._give_up()

    def _give_up(self) -> None:
        """Whatever was handed over and is not answered will not be."""
        with self._news:
            given_up = [Refusal(command, _UNREACHED) for command in self._submitted.values()]
            self._submitted.clear()
            if not self.ended.is_set() and not self._closing.is_set():
                self._refusals.extend(given_up)

    def _keep_up(self) -> None:
        while not (self._closing.is_set() or self.ended.is_set()):
            self._follow()
            try:
                self._hear()
            except Exception as error:  # noqa: BLE001 - whatever is sent, the watcher stays
                self._drop()
                with self._news:
                    self._trouble = clean(error)
                    if not isinstance(error, OSError):
                        self._misread = f"process {self._pid} is not understood: {clean(error)}"
                    self._news.notify_all()
            if self._connection is None and not self.ended.is_set():
                self._search()
        self._follow()

    def _follow(self) -> None:
        """Read on in the run directory; a disk that is away for a moment is no reason to leave."""
        try:
            self._follower.look()
            self._misread_files = ""
        except (OSError, ValueError, UserError) as error:
            self._misread_files = f"the run's files cannot be read: {clean(error)}"
            self._closing.wait(LOOK_SECONDS)

    def _hear(self) -> None:
        """Take what comes within ``LOOK_SECONDS``, but no more than a look's share."""
        end, size, messages = time.monotonic() + LOOK_SECONDS, 0, 0
        while (left := end - time.monotonic()) > 0:
            if size >= MOST_BYTES_A_LOOK or messages >= MOST_MESSAGES_A_LOOK:
                self._closing.wait(left)
                return
            feed = self._received.find(b"\n", self._searched)
            if feed < 0:
                self._searched = len(self._received)
                count = self._receive(left)
                if not count:
                    return
                size += count
                continue
            line = bytes(self._received[:feed])
            del self._received[: feed + 1]
            self._searched = 0
            messages += 1
            self._take(wire.told(line))
            if self._connection is None:
                return

    def _receive(self, seconds: float) -> int:
        """Wait for more of what the trainer says; how many bytes came."""
        connection = self._connection
        if connection is None:
            raise ConnectionResetError("gone")
        if len(self._received) > wire.LONGEST_TOLD:
            raise wire.WireError("a line that does not end")
        connection.settimeout(max(seconds, 0.001))
        try:
            content = connection.recv(1 << 20)
        except TimeoutError:
            return 0
        if not content:
            raise ConnectionResetError("the run's process hung up")
        self._received += content
        return len(content)

    def _take(self, message: wire.Told) -> None:
        self._heard_at = time.monotonic()
        match message:
            case wire.Welcome(protocol=protocol):
                if protocol != PROTOCOL:
                    raise wire.WireError(f"it speaks protocol {protocol}, this ganterm {PROTOCOL}")
            case wire.Picture(sample):
                bounds.check_sample(sample)
                self._sample = sample
            case wire.Found(diagnosis):
                bounds.check_diagnosis(diagnosis)
                self._diagnosis = diagnosis
            case wire.News(snapshot):
                bounds.check_snapshot(snapshot)
                scalars = dict.fromkeys(METRICS, math.nan) | dict(snapshot.scalars)
                self._misread = ""
                # What is relative is so to a folder of the trainer's; absolute, it was moved.
                if Path(snapshot.info.directory).is_absolute():
                    self._run = Path(snapshot.info.directory)
                info = replace(snapshot.info, directory=str(self._run))
                with self._news:
                    self.snapshot = replace(
                        snapshot,
                        info=info,
                        scalars=scalars,
                        sample=self._sample,
                        diagnosis=self._diagnosis,
                    )
                    self._news.notify_all()
            case Answer(number):
                with self._news:
                    if number in self._answers:
                        self._answers[number] = message
                    command = self._submitted.pop(number, None)
                    if command is not None and message.refused:
                        self._refusals.append(Refusal(command, message.refused))
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
                state = find.about(self._run).state
            except UserError:
                state = "unreadable"
            if state in ENDED:
                self._follow()
                why = reader.cause(self._follower.events)
                failure = Failure(clean(why, 400)) if state == "failed" else None
                self.snapshot = replace(self.snapshot, state=state, failure=failure)
            else:
                message = f"crashed: process {self._pid} ended without a word"
                failure = Failure(message)
                self.snapshot = replace(self.snapshot, state="failed", failure=failure)
        self._follow()
        self.ended.set()
        self._drop()
        with self._news:
            self._news.notify_all()


def _forget_oldest(waiting: dict[int, Any]) -> None:
    """Keep the newest of what a trainer has not answered."""
    while len(waiting) > MOST_UNANSWERED:
        del waiting[next(iter(waiting))]
