"""Signals and lost terminals: the first stops the session, the second leaves at once.

A signal of ``ENDING`` has the trainer finish its step and save; the exit code is 128 + its number:
130 for SIGINT, 143 for SIGTERM, 138 for SIGUSR1.
SIGHUP, or a terminal that answers with EIO or end of file, ends no training. Only the screen or the
progress bar goes. The process trains on without a terminal, prints into the log in the run
directory, and ends at its last step or by another signal.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Protocol

from ganterm.cli import streams
from ganterm.system.signals import ENDING, handle, put_back

HUNG_UP = 128 + signal.SIGHUP
"""Exit code of a process without a session whose terminal is gone."""
PATIENCE = 2.0
"""Seconds that the main thread has to leave by itself once all is saved."""


class Stoppable(Protocol):
    """A session that can save and end; the trainer's room need not be loaded for it."""

    ended: threading.Event

    def stop(self, reason: str) -> None:
        """Have it finish its step, save and end."""


class SignalStop:
    """Turns the first signal into a stop of the session, the second into leaving now.

    Handlers run in the main thread, which may be busy. Another thread therefore ends the process
    once all is saved. Without a session there is nothing to save. ``code`` is the exit code of the
    first signal, None before it.

    ``goodbye`` is called first, with the cause ("SIGTERM", "EIO"); then ``leave`` with the exit
    code, once all is saved or as soon as the terminal is gone; ``rescue`` before the process is
    ended by force. ``hung_up`` is set when the terminal is gone; ``cause`` says how.
    """

    def __init__(
        self,
        session: Stoppable | None,
        goodbye: Callable[[str], None] = lambda cause: None,
        leave: Callable[[int], None] = lambda code: None,
        rescue: Callable[[], None] = lambda: None,
    ) -> None:
        self.code: int | None = None
        self.cause = ""
        self.hung_up = threading.Event()
        self._goodbye = goodbye
        self._session = session
        self._leave = leave
        self._rescue = rescue
        self._main_is_done = threading.Event()
        # Reentrant: a handler may interrupt the main thread while that thread holds it.
        self._lock = threading.RLock()
        self._before = handle(ENDING, self._handle)
        self._before |= handle([signal.SIGHUP], lambda *_: self.hang_up("SIGHUP"))

    def release(self) -> None:
        """Put the previous handlers back, for a process that goes on to other work."""
        put_back(self._before)

    def done(self) -> None:
        """Say that the main thread has finished its work and will end by itself."""
        self._main_is_done.set()

    def hang_up(self, cause: str) -> None:
        """Leave a terminal that is gone; from any thread, and more than once."""
        with self._lock:
            if self.cause:
                return
            self.cause = cause
        # Not into the log yet: what draws bars and frames has not stopped.
        streams.turn_away("")
        self._goodbye(cause)
        self.hung_up.set()
        if self._session is None:
            self.code = HUNG_UP
            self._end_soon()
        else:
            self._leave(0)

    def _handle(self, number: int, _frame: object) -> None:
        if self.code is not None:
            # The kernel repeats SIGXCPU every second; that is no second request.
            if number != signal.SIGXCPU:
                self._exit_now()
            return
        self.code = 128 + number
        self._goodbye(signal.Signals(number).name)
        if self._session is not None:
            self._session.stop(signal.Signals(number).name)
        self._end_soon()

    def _end_soon(self) -> None:
        threading.Thread(target=self._end, name="ganterm-exit", daemon=True).start()

    def _end(self) -> None:
        assert self.code is not None
        if self._session is not None:
            self._session.ended.wait()
        self._leave(self.code)
        if not self._main_is_done.wait(PATIENCE):
            self._exit_now()

    def _exit_now(self) -> None:
        self._rescue()
        os._exit(self.code or 1)
