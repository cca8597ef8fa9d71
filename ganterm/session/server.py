"""The server of every trainer: watchers in other processes see and steer the run through it.

Its thread looks at the board as a screen does, and waits for nobody. A watcher that has not read
what was sent gets nothing more until it has, and then the newest. Connections may ask for different
views of the samples; the trainer shows the one asked for last, and all see it (``Board.watch``).
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ganterm.core.errors import UserError
from ganterm.core.events import RefusedEvent
from ganterm.core.findings import Diagnosis
from ganterm.core.snapshot import Command, Rewind, SetControl, Stop
from ganterm.core.text import clean
from ganterm.session import wire
from ganterm.session.address import Door
from ganterm.session.board import Board
from ganterm.session.peers import display_name, own_peer

TICK_SECONDS = 0.1
"""Time between two looks at the board and at each connection."""
BEAT_SECONDS = 2.0
"""Longest time without a message to a watcher; then a heartbeat says that the process lives."""
MOST_WATCHERS = 32
"""Connections at a time; further ones are closed at once."""
ACCEPT_SECONDS = 0.1
"""Rest after each connection, so that a storm of them costs the training next to nothing."""
HELLO_SECONDS = 5.0
"""Time for a watcher's first message; then the connection is closed."""
GOODBYE_SECONDS = 1.0
"""Time for watchers to read the last messages when the run ends."""
ANSWER_SECONDS = 0.005
"""Time from a command to the first look for its answer; it doubles with each further look."""
MESSAGES_A_TICK = 10
"""Messages taken from a watcher in one tick. The others wait in the socket. A held key repeats 3
times a tick."""
MOST_UNREAD = 1 << 20
"""Bytes of answers that a watcher may leave unread; beyond that the connection is closed."""
MOST_PENDING = 32
"""Commands of one watcher that wait for their answers; further ones are refused."""

_NOTE_NAME = re.compile(r"[a-z][a-z_]{0,23}")
_RESERVED_NAMES = frozenset({"step", "branch", "time", "kind", "by", "readonly"})
"""Names in events that a watcher's note may not use."""
_MOST_NOTED = 8
"""Values of a watcher's note that go into the event log."""


class Server:
    """Serves one board, from when its run has a directory until ``close``.

    ``board.unreachable`` says why there is no safe place for the socket, if so. Each beat tries
    again.
    """

    def __init__(self, board: Board) -> None:
        self.watchers: set[Connection] = set()
        self._board = board
        self._thread = threading.Thread(target=self._run, name="ganterm-server", daemon=True)
        self._closing = threading.Event()
        self._frames: dict[type, tuple[object, bytes]] = {}
        self._door: Door | None = None
        self._accepting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to wait for the run directory, then for watchers."""
        self._thread.start()

    def close(self) -> None:
        """Send all watchers the last updates, tell them that the run is over, and end."""
        self._closing.set()
        self._thread.join(2 * GOODBYE_SECONDS)

    def frame(self, kind: type, part: object) -> bytes:
        """The message ``kind`` about ``part``, encoded once for all watchers."""
        if kind not in self._frames or self._frames[kind][0] is not part:
            self._frames[kind] = part, wire.frame(_UPDATES[kind](part))
        return self._frames[kind][1]

    def _run(self) -> None:
        while not self._board.snapshot.info.id:
            if self._closing.wait(TICK_SECONDS):
                return
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - training goes on without its server, and says so
            self._board.unreachable = clean(f"the server broke: {type(error).__name__}: {error}")
            if self._door is not None:
                self._door.close()

    async def _serve(self) -> None:
        ticks_a_beat, ticks = round(BEAT_SECONDS / TICK_SECONDS), 0
        while not self._closing.is_set():
            beat = ticks % ticks_a_beat == 0
            # If the socket or its folder was deleted, nobody can connect: make new ones.
            if beat and (self._door is None or not self._door.is_reachable() or self._moved()):
                self._shut()
                self._open()
            for connection in tuple(self.watchers):
                connection.tick(beat)
            ticks += 1
            await asyncio.sleep(TICK_SECONDS)
        self._shut()
        for connection in tuple(self.watchers):
            connection.close("the run is over", ended=True)
        for _ in range(round(GOODBYE_SECONDS / TICK_SECONDS)):
            if self.watchers:
                await asyncio.sleep(TICK_SECONDS)

    def _moved(self) -> bool:
        """Whether the run directory is not where the pointer says."""
        directory = Path(self._board.snapshot.info.directory).resolve()
        return self._door is not None and self._door.pointer.directory != str(directory)

    def _open(self) -> None:
        info = self._board.snapshot.info
        try:
            self._door = Door.open(info.id, Path(info.directory))
        except UserError as error:
            self._board.unreachable = str(error)
            return
        self._board.unreachable = None
        self._accepting = asyncio.create_task(self._accept(self._door))

    def _shut(self) -> None:
        if self._door is not None and self._accepting is not None:
            self._accepting.cancel()
            self._door.close()
            self._door = self._accepting = None

    async def _accept(self, door: Door) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(door.listener)
            except OSError:
                # For example no file descriptor is left. Present connections stay.
                await asyncio.sleep(BEAT_SECONDS)
                continue
            peer = own_peer(connection)
            if peer is None or len(self.watchers) >= MOST_WATCHERS:
                connection.close()
            else:
                protocol = partial(Connection, self, self._board, peer.pid)
                await loop.connect_accepted_socket(protocol, connection)
            await asyncio.sleep(ACCEPT_SECONDS)


@dataclass(frozen=True, eq=False)
class _Pending:
    number: int
    command: Command
    events: int


class Connection(asyncio.Protocol):
    """The connection to one watcher; the server calls ``tick`` every ``TICK_SECONDS``.

    Updates are sent only once the watcher has read the previous ones. A watcher that does not read
    therefore costs one set of messages in memory.
    """

    def __init__(self, server: Server, board: Board, pid: int) -> None:
        self._server = server
        self._board = board
        self._pid = pid
        self._name = ""
        self._readonly = False
        self._attached = False
        self._wants_samples = False
        self._transport: asyncio.Transport
        self._received = wire.FrameReader(wire.LONGEST_CLIENT_MESSAGE)
        self._allowed = MESSAGES_A_TICK
        self._ticks = 0
        self._pending: list[_Pending] = []
        self._sent: dict[type, object] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it among the watchers."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.watchers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the watcher, whether or not it said goodbye."""
        self._server.watchers.discard(self)
        self._board.unwatch(self)
        if self._attached:
            self._board.note("detach", by=self._name, lost=True)

    def data_received(self, data: bytes) -> None:
        """Handle what came, as far as this tick allows."""
        self._received.feed(data)
        self._read()

    def tick(self, beat: bool) -> None:
        """Read, answer, and send what is new; with ``beat``, a heartbeat where nothing is."""
        if self._transport.is_closing():
            return
        self._ticks += 1
        self._allowed = MESSAGES_A_TICK
        self._read()
        self._answer()
        if not self._name:
            if self._ticks * TICK_SECONDS > HELLO_SECONDS:
                self.close("no hello came first")
        elif not self._transport.get_write_buffer_size() and not self._send_updates() and beat:
            self._say(wire.Heartbeat())

    def close(self, why: str, ended: bool = False) -> None:
        """Say goodbye and hang up; where the run has ``ended``, send the last updates first."""
        if self._transport.is_closing():
            return
        if ended:
            self._answer()
            step = self._board.snapshot.step
            for pending in self._pending:
                refused = "" if isinstance(pending.command, Stop) else why
                self._say(wire.Answer(pending.number, step, refused))
            self._attached = False
            self._send_updates()
        self._say(wire.Goodbye(ended, why))
        self._transport.close()

    def _send_updates(self) -> bool:
        """Send what changed since the last time; whether anything did.

        The snapshot follows its parts, so that the watcher shows all of them at once.
        """
        snapshot = self._board.snapshot
        sample = snapshot.sample if self._wants_samples else None
        parts: list[tuple[type, object]] = [
            (wire.SampleUpdate, sample),
            (wire.DiagnosisUpdate, snapshot.diagnosis),
            (wire.SnapshotUpdate, snapshot),
        ]
        changed = [(kind, part) for kind, part in parts if self._sent.get(kind) is not part]
        for kind, part in changed:
            self._sent[kind] = part
            self._transport.write(self._server.frame(kind, part))
        return bool(changed)

    def _read(self) -> None:
        """Handle the messages that came, at most ``MESSAGES_A_TICK`` of them in a tick."""
        try:
            if self._received.is_old:
                self._transport.write(wire.OLD_GOODBYE)
                self._transport.close()
            while self._allowed and not self._transport.is_closing():
                content = self._received.next()
                if content is None:
                    break
                self._allowed -= 1
                self._handle(wire.client_message(content))
        except wire.WireError as error:
            self.close(f"not understood: {error}")
        if self._transport.is_closing():
            self._received.clear()
        elif self._allowed:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _handle(self, message: wire.ClientMessage) -> None:
        if isinstance(message, wire.Hello):
            self._welcome(message)
        elif not self._name:
            raise wire.WireError("no hello came first")
        elif isinstance(message, wire.Watch):
            self._wants_samples = message.samples_per_s > 0
            self._board.watch(min(message.samples_per_s, 1 / TICK_SECONDS), message.view, self)
        elif isinstance(message, wire.Note):
            self._attached = message.kind == "attach"
            self._board.note(
                message.kind, by=self._name, readonly=self._readonly, **_note_data(message.data)
            )
        elif self._readonly:
            self._refuse(message, "read-only: this watcher changes nothing")
        elif len(self._pending) >= MOST_PENDING:
            self._refuse(message, f"{MOST_PENDING} commands wait already")
        else:
            self._obey(message)

    def _welcome(self, hello: wire.Hello) -> None:
        if hello.protocol != wire.PROTOCOL:
            raise wire.WireError(f"protocol {hello.protocol}; this run speaks {wire.PROTOCOL}")
        self._name = display_name(self._pid, hello.terminal)
        self._readonly = hello.readonly
        run = self._board.snapshot.info.id
        self._say(wire.Greeting(wire.PROTOCOL, run, os.getpid(), self._name))
        self._send_updates()

    def _obey(self, do: wire.Do) -> None:
        command = do.command
        if isinstance(command, SetControl | Rewind):
            command = replace(command, by=self._name)
        elif isinstance(command, Stop):
            command = Stop(f"{command.reason} by {self._name}")
        self._pending.append(_Pending(do.number, command, len(self._board.events())))
        self._board.submit(command)
        self._answer_soon(ANSWER_SECONDS)

    def _answer_soon(self, seconds: float) -> None:
        """Look for the answer, and again after twice the time, until the ticks do."""
        self._answer()
        if self._pending and seconds < TICK_SECONDS and not self._transport.is_closing():
            asyncio.get_running_loop().call_later(seconds, self._answer_soon, 2 * seconds)

    def _refuse(self, do: wire.Do, why: str) -> None:
        self._say(wire.Answer(do.number, self._board.snapshot.step, why))

    def _answer(self) -> None:
        """Answer the commands that the trainer has obeyed since."""
        if not self._pending:
            return
        obeyed = {id(command): step for command, step in tuple(self._board.obeyed)}
        for pending in tuple(self._pending):
            if id(pending.command) in obeyed:
                self._pending.remove(pending)
                step, refused = obeyed[id(pending.command)], self._refusal(pending)
                self._say(wire.Answer(pending.number, step, refused))

    def _refusal(self, pending: _Pending) -> str:
        command = pending.command
        if isinstance(command, SetControl | Rewind):
            key = command.name if isinstance(command, SetControl) else "rewind"
            for event in self._board.events(pending.events):
                if isinstance(event, RefusedEvent) and (event.key, event.by) == (key, command.by):
                    return event.reason
        return ""

    def _say(self, message: wire.ServerMessage) -> None:
        if self._transport.get_write_buffer_size() > MOST_UNREAD + wire.LONGEST_SERVER_MESSAGE:
            self._transport.abort()
        else:
            self._transport.write(wire.frame(message))


_UPDATES: Mapping[type, Callable[[Any], wire.ServerMessage]] = {
    wire.SampleUpdate: wire.SampleUpdate,
    wire.DiagnosisUpdate: wire.DiagnosisUpdate,
    wire.SnapshotUpdate: lambda snapshot: wire.SnapshotUpdate(
        replace(snapshot, sample=None, diagnosis=Diagnosis())
    ),
}
"""The messages that all watchers get alike, each with what makes it of its part."""


def _note_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers and short texts of a watcher's note, under names that no event uses."""
    return {
        name: value
        for name, value in tuple(data.items())[:_MOST_NOTED]
        if _NOTE_NAME.fullmatch(name)
        and name not in _RESERVED_NAMES
        and (isinstance(value, int | float) or (isinstance(value, str) and len(value) <= 40))
    }
