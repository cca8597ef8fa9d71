"""SIGINT, SIGTERM and SIGHUP: the step is finished, all is saved, and the exit code says which."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from ganterm.session.local import LocalSession

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
PATIENCE = 2.0
"""Seconds that the main thread gets to leave by itself once all is saved."""


class SignalStop:
    """Turns the first signal into a stop of the session, the second into leaving now.

    Handlers run in the main thread, which may be stuck in a write to a terminal that does not
    read; a thread of its own therefore sees to it that the process ends once all is saved. Without
    a session there is nothing to save. ``code`` is the exit code that a signal asked for.
    ``goodbye`` is called before the session is stopped, ``leave`` once all is saved, ``rescue``
    where the process must be ended by force.
    """

    def __init__(
        self,
        session: LocalSession | None,
        goodbye: Callable[[], None] = lambda: None,
        leave: Callable[[int], None] = lambda code: None,
        rescue: Callable[[], None] = lambda: None,
    ) -> None:
        self.code: int | None = None
        self._goodbye = goodbye
        self._session = session
        self._leave = leave
        self._rescue = rescue
        self._main_is_done = threading.Event()
        for number in CODES:
            signal.signal(number, self._handle)

    def done(self) -> None:
        """The main thread is leaving by itself; signals need no further care."""
        self._main_is_done.set()

    def _handle(self, number: int, _frame: object) -> None:
        if self.code is not None:
            self._out()
        self.code = CODES[signal.Signals(number)]
        self._goodbye()
        if self._session is not None:
            self._session.stop(signal.Signals(number).name)
        threading.Thread(target=self._see_to_it, name="ganterm-exit", daemon=True).start()

    def _see_to_it(self) -> None:
        assert self.code is not None
        if self._session is not None:
            self._session.ended.wait()
        self._leave(self.code)
        if not self._main_is_done.wait(PATIENCE):
            self._out()

    def _out(self) -> None:
        self._rescue()
        os._exit(self.code or 1)
