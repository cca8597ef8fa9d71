"""A trainer that says whatever a test wants, at the door where a watcher looks for a real one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from ganterm import presets
from ganterm.rundir.lock import RunLock
from ganterm.session import wire
from ganterm.session.address import Door, Pointer

ID = "01234567-89ab-cdef-0123-456789abcdef"
WELCOME = wire.frame(wire.Greeting(wire.PROTOCOL, ID, 1, "me"))

Says = Callable[[socket.socket], None]


def run_directory(runs: Path, name: str = "bad") -> Path:
    """A run directory with what a watcher reads of it, and nothing recorded."""
    run = runs / name
    (run / "history").mkdir(parents=True)
    _, preset = presets.load("mnist_mlp")
    (run / "preset.toml").write_text(preset.toml())
    about = {"format": 1, "id": ID, "preset": "mnist_mlp", "device": "cpu", "state": "running"}
    (run / "run.json").write_bytes(
        msgspec.json.encode({**about, "data": {"name": "mnist10k", "sha256": "0" * 64}})
    )
    return run


@contextmanager
def trainer(run: Path, says: Says) -> Iterator[Pointer]:
    """Have each connection, once it said hello, be told what ``says`` sends to it."""
    lock, door = RunLock(run), Door.open(ID, run)
    door.listener.settimeout(0.05)
    over = threading.Event()
    connections: list[socket.socket] = []

    def speak(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.recv(1 << 16)
            says(connection)

    def serve() -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                connection, _ = door.listener.accept()
                connection.setblocking(True)
                connections.append(connection)
                threading.Thread(target=speak, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield door.pointer
    finally:
        over.set()
        thread.join()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        door.close()
        lock.release()
