"""A session with a trainer in a thread of this process."""

from __future__ import annotations

import atexit
import os
import threading
import traceback
import weakref
from dataclasses import replace
from typing import Any

from ganterm.core.snapshot import Failure, RunInfo, Stop
from ganterm.core.text import clean
from ganterm.launch import Launch
from ganterm.session.board import Board
from ganterm.session.peers import display_name, my_terminal
from ganterm.session.server import Server

_begun: weakref.WeakSet[LocalSession] = weakref.WeakSet()


@atexit.register
def _save_all() -> None:
    """Have what still trains saved and ended, whatever it is that ends the process.

    A thread that is within torch when the interpreter goes away takes the process down by abort().
    """
    for session in tuple(_begun):
        session.end("the process ends")


class LocalSession(Board):
    """Starts the trainer's thread, which outlives whatever screen watches it, and its server.

    torch is imported in that thread, so that a screen can be painted first. ``ended`` is set once
    the trainer has saved and left, and other processes have been told.
    """

    def __init__(self, launch: Launch) -> None:
        super().__init__()
        self.ended = threading.Event()
        self._launch = launch
        self._server = Server(self)
        self._thread = threading.Thread(target=self._train, name="ganterm-trainer", daemon=True)
        info = RunInfo(
            name=launch.run_name,
            preset=launch.preset_name,
            title=launch.preset.title,
            data=launch.preset.data.name,
            steps=launch.steps,
            seed=launch.preset.run.seed,
            batch_size=launch.preset.data.batch_size,
        )
        self.snapshot = replace(
            self.snapshot, info=info, controls=launch.preset.controls, doing="importing torch"
        )

    def start(self) -> None:
        """Begin to load and to train."""
        _begun.add(self)
        self._server.start()
        self._thread.start()

    def stop(self, reason: str) -> None:
        """Have the iteration under way finished and all saved; ``ended`` tells when."""
        self.submit(Stop(reason))

    def end(self, reason: str) -> None:
        """Stop, unless it has ended, and wait until nothing of the trainer runs any more."""
        if self._thread.is_alive():
            self.stop(reason)
            self._thread.join()

    @property
    def watchers(self) -> int:
        """How many other processes watch."""
        return len(self._server.watchers)

    def note(self, kind: str, **data: Any) -> None:
        """Have an event of a watcher's put into the log; who comes and goes here is named."""
        if kind in ("attach", "detach"):
            data.setdefault("by", display_name(os.getpid(), my_terminal()))
        super().note(kind, **data)

    def _train(self) -> None:
        try:
            from ganterm.training.device import give_memory_back
            from ganterm.training.trainer import Trainer

            Trainer(self._launch, self).run()
            give_memory_back()
        except Exception as error:  # noqa: BLE001 - a torch that does not load, say: tell it
            message = clean(f"{type(error).__name__}: {error}", 400)
            failure = Failure(message, trace=traceback.format_exc())
            self.snapshot = replace(self.snapshot, state="failed", failure=failure, doing="")
        finally:
            self._server.close()
            self.ended.set()
