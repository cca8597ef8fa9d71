"""The server beside every trainer: watchers of other processes see and steer the run through it.

A thread of its own looks at the board as a screen does, and waits for nobody: who does not read
what was sent is sent nothing more until it has, and then the newest. Watchers may wish for
different views of the samples; the trainer shows one of them, the one wished for last, and all
see it (``Board.watch``).
"""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from pathlib import Path

from ganterm.errors import UserError
from ganterm.session import wire
from ganterm.session.board import Board
from ganterm.session.peers import trusted
from ganterm.session.pointer import Door
from ganterm.session.watcher import ABOUT, TICK_SECONDS, Watcher
from ganterm.text import clean

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
