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

_started: weakref.WeakSet[LocalSession] = weakref.WeakSet()


@atexit.register
def _save_all() -> None:
    """Save and end the runs that still train when the process ends.

    A thread inside torch while the interpreter shuts down would abort the process.
    """
    for session in tuple(_started):
        session.end("the process ends")


class LocalSession(Board):
    """A board with the trainer's thread, which outlives any screen, and its server.

    The thread imports torch, so that a screen can be painted first. ``ended`` is set once the
    trainer has saved and other processes know that it has ended.
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
        """Start loading and training."""
        _started.add(self)
        self._server.start()
        self._thread.start()

    def stop(self, reason: str) -> None:
        """Ask the trainer to finish its iteration and save; ``ended`` is set when it has."""
        self.submit(Stop(reason))

    def end(self, reason: str) -> None:
        """Stop the trainer and wait until its thread has ended."""
        if self._thread.is_alive():
            self.stop(reason)
            self._thread.join()

    @property
    def watchers(self) -> int:
        """The number of other processes that watch."""
        return len(self._server.watchers)

    def note(self, kind: str, **data: Any) -> None:
        """Log an event of a watcher; attaching and detaching screens are named."""
        if kind in ("attach", "detach"):
            data.setdefault("by", display_name(os.getpid(), my_terminal()))
        super().note(kind, **data)

    def _train(self) -> None:
        try:
            from ganterm.training.device import give_memory_back
            from ganterm.training.loop import Trainer

            Trainer(self._launch, self).run()
            give_memory_back()
        except Exception as error:  # noqa: BLE001 - torch may not load; show why
            message = clean(f"{type(error).__name__}: {error}", 400)
            failure = Failure(message, trace=traceback.format_exc())
            self.snapshot = replace(self.snapshot, state="failed", failure=failure, doing="")
        finally:
            self._server.close()
            self.ended.set()
