"""A session with a trainer in a thread of this process."""

from __future__ import annotations

import threading
import traceback
from dataclasses import replace

from ganterm.session.board import Board
from ganterm.session.launch import Launch
from ganterm.session.protocol import Failure, RunInfo, Stop
from ganterm.text import clean


class LocalSession(Board):
    """Starts the trainer's thread, which outlives whatever screen watches it.

    torch is imported in that thread, so that a screen can be painted first. ``ended`` is set once
    the trainer has saved and left.
    """

    def __init__(self, launch: Launch) -> None:
        super().__init__()
        self.ended = threading.Event()
        self._launch = launch
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
        self._thread.start()

    def stop(self, reason: str) -> None:
        """Have the iteration under way finished and all saved; ``ended`` tells when."""
        self.submit(Stop(reason))

    def _train(self) -> None:
        try:
            from ganterm.training.trainer import Trainer

            Trainer(self._launch, self).run()
        except Exception as error:  # noqa: BLE001 - a torch that does not load, say: tell it
            message = clean(f"{type(error).__name__}: {error}", 400)
            failure = Failure(message, trace=traceback.format_exc())
            self.snapshot = replace(self.snapshot, state="failed", failure=failure, doing="")
        finally:
            self.ended.set()
