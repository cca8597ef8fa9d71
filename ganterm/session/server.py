"""The server beside every trainer: watchers of other processes see and steer the run through it.

A thread of its own looks at the board as a screen does, and waits for nobody: who does not read
what was sent is sent nothing more until it has, and then the newest. Watchers may wish for
different views of the samples; the trainer shows one of them, the one wished for last, and all
see it (``Board.watch``).
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
from typing import Any, Protocol

from ganterm.core.errors import UserError
from ganterm.core.events import RefusedEvent
from ganterm.core.findings import Diagnosis
from ganterm.core.snapshot import Command, Rewind, SetControl, Stop
from ganterm.core.text import clean
from ganterm.session import wire
from ganterm.session.address import Door
from ganterm.session.board import Board
from ganterm.session.peers import called, trusted

BEAT_SECONDS = 2.0
MOST_WATCHERS = 32
ACCEPT_SECONDS = 0.1
"""Rest after each connection, so that a storm of them costs the training next to nothing."""
GOODBYE_SECONDS = 1.0


class Server:
    """Serves one board, from when its run has a directory until ``close``.

    Where no safe place for the socket can be had, ``board.unreachable`` says why; it is tried
    again with each beat.
    """

    def __init__(self, board: Board) -> None:
        self.watchers: set[Watcher] = set()
        self._board = board
        self._thread = threading.Thread(target=self._run, name="ganterm-server", daemon=True)
        self._closing = threading.Event()
        self._encoded: dict[type, tuple[object, bytes]] = {}
        self._door: Door | None = None
        self._accepting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to wait for the run directory, then for watchers."""
        self._thread.start()

    def close(self) -> None:
        """Send all watchers the last news, tell them that the run is over, and end."""
        self._closing.set()
        self._thread.join(2 * GOODBYE_SECONDS)

    def encoded(self, kind: type, part: object) -> bytes:
        """The line of message ``kind`` about ``part``, made once for all watchers."""
        if kind not in self._encoded or self._encoded[kind][0] is not part:
            self._encoded[kind] = part, wire.line(ABOUT[kind](part))
        return self._encoded[kind][1]

    def _run(self) -> None:
        while not self._board.snapshot.info.id:
            if self._closing.wait(TICK_SECONDS):
                return
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - the training must not miss it, only say so
            self._board.unreachable = clean(f"the server broke: {type(error).__name__}: {error}")
            if self._door is not None:
                self._door.close()

    async def _serve(self) -> None:
        ticks_a_beat, ticks = round(BEAT_SECONDS / TICK_SECONDS), 0
        while not self._closing.is_set():
            beat = ticks % ticks_a_beat == 0
            # Whoever tidied our folder away has cut us off: then another is made.
            if beat and (self._door is None or not self._door.found() or self._moved()):
                self._shut()
                self._open()
            for watcher in tuple(self.watchers):
                watcher.tick(beat)
            ticks += 1
            await asyncio.sleep(TICK_SECONDS)
        self._shut()
        for watcher in tuple(self.watchers):
            watcher.part("the run is over", ended=True)
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
                # No file descriptor is left, say; whoever is connected stays so.
                await asyncio.sleep(BEAT_SECONDS)
                continue
            peer = trusted(connection)
            if peer is None or len(self.watchers) >= MOST_WATCHERS:
                connection.close()
            else:
                made = partial(Watcher, self, self._board, peer.pid)
                await loop.connect_accepted_socket(made, connection)
            await asyncio.sleep(ACCEPT_SECONDS)


# One connection of the server's: what a watcher asked for, was sent, and how it is called.

TICK_SECONDS = 0.1
HELLO_SECONDS = 5.0
ANSWER_SECONDS = 0.005
"""After a command, until its answer is looked for."""
LINES_A_TICK = 10
"""What a watcher says beyond that waits in the socket; a held key repeats 3 times a tick."""
MOST_UNREAD = 1 << 20
"""Bytes of answers that a watcher may leave unread before it is sent away."""
MOST_PENDING = 32

_NAME = re.compile(r"[a-z][a-z_]{0,23}")
_TAKEN = frozenset({"step", "branch", "time", "kind", "by", "readonly"})
_MOST_NOTED = 8


class Host(Protocol):
    """What a watcher knows of its server."""

    watchers: set[Watcher]

    def encoded(self, kind: type, part: object) -> bytes:
        """A message about ``part``, made once for all watchers."""


@dataclass(frozen=True, eq=False)
class _Pending:
    number: int
    command: Command
    events: int


class Watcher(asyncio.Protocol):
    """Talks with one process of the user's; ``tick`` it every ``TICK_SECONDS``.

    Nothing is sent while something sent before waits to be read, so what is held for a watcher
    that does not read is bounded by one set of messages.
    """

    def __init__(self, host: Host, board: Board, pid: int) -> None:
        self._host = host
        self._board = board
        self._pid = pid
        self._you = ""
        self._readonly = False
        self._attached = False
        self._sees = False
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._allowed = LINES_A_TICK
        self._ticks = 0
        self._pending: list[_Pending] = []
        self._sent: dict[type, object] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is one of the watchers from now on."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._host.watchers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone, with or without a word."""
        self._host.watchers.discard(self)
        self._board.unwatch(self)
        if self._attached:
            self._board.note("detach", by=self._you, lost=True)

    def data_received(self, data: bytes) -> None:
        """Hear what it says, as far as it may speak now."""
        self._received += data
        self._read()

    def tick(self, beat: bool) -> None:
        """Read on, answer, and send what is new; ``beat``: if only a sign of life."""
        if self._transport.is_closing():
            return
        self._ticks += 1
        self._allowed = LINES_A_TICK
        self._read()
        self._answer()
        if not self._you:
            if self._ticks * TICK_SECONDS > HELLO_SECONDS:
                self.part("no hello")
        elif not self._transport.get_write_buffer_size() and not self._send_news() and beat:
            self._say(wire.Beat())

    def part(self, why: str, ended: bool = False) -> None:
        """Say goodbye and hang up; ``ended`` where the run is over, with the last news."""
        if self._transport.is_closing():
            return
        if ended:
            self._answer()
            step = self._board.snapshot.step
            for pending in self._pending:
                refused = "" if isinstance(pending.command, Stop) else why
                self._say(wire.Answer(pending.number, step, refused))
            self._attached = False
            self._send_news()
        self._say(wire.Goodbye(ended, why))
        self._transport.close()

    def _send_news(self) -> bool:
        """Send what changed since it was sent last, the snapshot behind its parts; if any did."""
        snapshot = self._board.snapshot
        sample = snapshot.sample if self._sees else None
        news: list[tuple[type, object]] = [
            (wire.Picture, sample),
            (wire.Found, snapshot.diagnosis),
            (wire.News, snapshot),
        ]
        changed = [(kind, part) for kind, part in news if self._sent.get(kind) is not part]
        for kind, part in changed:
            self._sent[kind] = part
            self._transport.write(self._host.encoded(kind, part))
        return bool(changed)

    def _read(self) -> None:
        while self._allowed and (end := self._received.find(b"\n")) >= 0:
            content = bytes(self._received[:end])
            del self._received[: end + 1]
            self._allowed -= 1
            try:
                self._hear(wire.asked(content))
            except wire.WireError as error:
                self.part(f"not understood: {error}")
            if self._transport.is_closing():
                self._received.clear()
                return
        if self._allowed and len(self._received) > wire.LONGEST_ASKED:
            self._received.clear()
            self.part(f"not understood: a line longer than {wire.LONGEST_ASKED:,} bytes")
        elif self._allowed:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _hear(self, message: wire.Asked) -> None:
        if isinstance(message, wire.Hello):
            self._welcome(message)
        elif not self._you:
            raise wire.WireError("no hello")
        elif isinstance(message, wire.Watch):
            self._sees = message.samples_per_s > 0
            self._board.watch(min(message.samples_per_s, 1 / TICK_SECONDS), message.view, self)
        elif isinstance(message, wire.Note):
            self._attached = message.kind == "attach"
            self._board.note(
                message.kind, by=self._you, readonly=self._readonly, **_harmless(message.data)
            )
        elif self._readonly:
            self._refuse(message, "read-only: it looks on, and that is all")
        elif len(self._pending) >= MOST_PENDING:
            self._refuse(message, f"{MOST_PENDING} commands wait already")
        else:
            self._obey(message)

    def _welcome(self, hello: wire.Hello) -> None:
        if hello.protocol != wire.PROTOCOL:
            raise wire.WireError(f"protocol {hello.protocol}; this run speaks {wire.PROTOCOL}")
        self._you = called(self._pid, hello.terminal)
        self._readonly = hello.readonly
        run = self._board.snapshot.info.id
        self._say(wire.Welcome(wire.PROTOCOL, run, os.getpid(), self._you))
        self._send_news()

    def _obey(self, do: wire.Do) -> None:
        command = do.command
        if isinstance(command, SetControl | Rewind):
            command = replace(command, by=self._you)
        elif isinstance(command, Stop):
            command = Stop(f"{command.reason} by {self._you}")
        self._pending.append(_Pending(do.number, command, len(self._board.events())))
        self._board.submit(command)
        self._answer_soon(ANSWER_SECONDS)

    def _answer_soon(self, seconds: float) -> None:
        """Look for the answer more often than each tick at first, then ever less so."""
        self._answer()
        if self._pending and seconds < TICK_SECONDS and not self._transport.is_closing():
            asyncio.get_running_loop().call_later(seconds, self._answer_soon, 2 * seconds)

    def _refuse(self, do: wire.Do, why: str) -> None:
        self._say(wire.Answer(do.number, self._board.snapshot.step, why))

    def _answer(self) -> None:
        """Tell of the commands that the trainer has obeyed since."""
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

    def _say(self, message: wire.Told) -> None:
        if self._transport.get_write_buffer_size() > MOST_UNREAD + wire.LONGEST_TOLD:
            self._transport.abort()
        else:
            self._transport.write(wire.line(message))


ABOUT: Mapping[type, Callable[[Any], wire.Told]] = {
    wire.Picture: wire.Picture,
    wire.Found: wire.Found,
    wire.News: lambda snapshot: wire.News(replace(snapshot, sample=None, diagnosis=Diagnosis())),
}
"""How the messages are made that all watchers get alike."""


def _harmless(data: Mapping[str, Any]) -> dict[str, Any]:
    """Of what a watcher notes about itself, numbers and short words under names of their own."""
    return {
        name: value
        for name, value in tuple(data.items())[:_MOST_NOTED]
        if _NAME.fullmatch(name)
        and name not in _TAKEN
        and (isinstance(value, int | float) or (isinstance(value, str) and len(value) <= 40))
    }
