"""The trainer's thread, from loading to the last save, and what becomes of its failures."""

from __future__ import annotations

import traceback
from dataclasses import replace

from ganterm.core.errors import UserError
from ganterm.core.snapshot import Failure, Stop
from ganterm.core.text import clean
from ganterm.launch import Launch
from ganterm.session.board import Board
from ganterm.training.batches import SourceFault
from ganterm.training.device import is_of_memory
from ganterm.training.loop import Training
from ganterm.training.setup import Setup, set_up

_OUT_OF_MEMORY = (
    "memory ran out: make data.batch_size or the networks smaller, or take another --device"
)


class _StoppedWhileLoading(Exception):  # noqa: N818 - no error: there is nothing to save yet
    """The user did not want to wait for the first iteration."""


class Trainer:
    """One run, from loading to the last save; ``run`` is the body of the trainer's thread."""

    def __init__(self, launch: Launch, board: Board) -> None:
        self._launch = launch
        self._board = board

    def run(self) -> None:
        """Load, train until told to stop or done, save; a failure ends up on the board."""
        setup, training = None, None
        try:
            setup = set_up(self._launch, self._tell)
            training = Training(self._launch, self._board, setup)
            training.loop()
            training.finish()
        except _StoppedWhileLoading:
            self._board.snapshot = replace(self._board.snapshot, state="stopped", doing="")
        except UserError as error:
            # Once it trains, nothing that goes wrong is a mistake in how it was started.
            begun = training is not None and not training.unbegun
            self._fail(Failure(str(error), mistake=not begun), setup, training)
        except SourceFault as error:
            self._fail(Failure(str(error)), setup, training)
        except Exception as error:  # noqa: BLE001 - whatever it was, curves and cause must stay
            message = clean(f"{type(error).__name__}: {error}", 400)
            if is_of_memory(error):
                message = f"{_OUT_OF_MEMORY} ({message})"
            self._fail(Failure(message, trace=traceback.format_exc()), setup, training)
        finally:
            if setup is not None:
                setup.game.batches.close()

    def _tell(self, doing: str, progress: float | None) -> None:
        stopped = any(isinstance(command, Stop) for command in self._board.commands)
        if stopped or self._board.wanted_elsewhere:
            raise _StoppedWhileLoading
        self._board.snapshot = replace(self._board.snapshot, doing=doing, progress=progress)

    def _fail(self, failure: Failure, setup: Setup | None, training: Training | None) -> None:
        if setup is not None and training is None and setup.beginning.checkpoint is not None:
            setup.directory.close()
        elif setup is not None and (training is None or training.unbegun):
            # The start has failed; what it laid out must not stand in the way of the next one.
            setup.directory.discard()
        elif training is not None:
            training.fail(failure.message)
        self._board.snapshot = replace(
            self._board.snapshot, state="failed", failure=failure, doing="", progress=None
        )
