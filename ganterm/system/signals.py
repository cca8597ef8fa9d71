"""What ends a run or its dashboard from outside: signals, and a terminal that is gone.

Signals that would end a process (``ENDING``): the step is finished, all is saved, and the exit code
says which, 128 + its number: 130 for SIGINT, 143 for SIGTERM, 138 for SIGUSR1. One that whoever
started us has ignored stays ignored.
SIGHUP, or a terminal that answers with EIO or end of file, ends no training: only the screen, or
the progress bar, goes; the process trains on without a terminal and prints into the log in the
run directory. It ends at its last step or by another signal.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ganterm.cli import streams

if TYPE_CHECKING:
    # An attached dashboard has no trainer, and need not wait for its session to be loaded.
    from ganterm.session.local import LocalSession

ENDING = tuple(
    signal.Signals[name]
    for name in (
        *("SIGINT", "SIGTERM", "SIGQUIT"),
        # A scheduler's warning, as of Slurm or SGE; then limits, timers, and a power failure.
        *("SIGUSR1", "SIGUSR2"),
        *("SIGXCPU", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGPWR"),
    )
    if name in signal.Signals.__members__
)
"""Signals that would end the process unsaved by default, and after which it can still save."""
HUNG_UP = 128 + signal.SIGHUP
PATIENCE = 2.0
"""Seconds that the main thread gets to leave by itself once all is saved."""


class Interrupted(BaseException):
    """A signal ends what is under way; ``code`` is the exit code."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextmanager
def interruptible() -> Iterator[None]:
    """Have the signals of ``ENDING`` raise Interrupted in the main thread, within."""

    def interrupt(number: int, _frame: object) -> None:
        raise Interrupted(number)

    before = handle(ENDING, interrupt)
    try:
        yield
    finally:
        _put_back(before)


def handle(numbers: Iterable[int], handler: Callable[[int, Any], None]) -> dict[int, Any]:
    """Have signals handled, but those that are ignored; returns the handlers before."""
    before = {}
    for number in numbers:
        found = signal.getsignal(number)
        # None: not of Python's making, so it could not be put back.
        if found not in (signal.SIG_IGN, None):
            before[number] = signal.signal(number, handler)
    return before


def _put_back(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextmanager
def handlers_kept(numbers: Iterable[int]) -> Iterator[None]:
    """Have the handlers of these signals as they were, once this is left."""
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        _put_back({number: handler for number, handler in before.items() if handler is not None})


class SignalStop:
    """Turns the first signal into a stop of the session, the second into leaving now.

    Handlers run in the main thread, which may be busy; a thread of its own therefore sees to it
    that the process ends once all is saved. Without a session there is nothing to save, and
    nothing that would go on. ``code`` is the exit code that a signal asked for.

    ``goodbye`` is called first, with what ended it ("SIGTERM", "EIO"); ``leave`` with the exit
    code once all is saved, or at once where the terminal is gone; ``rescue`` where the process
    must be ended by force. ``hung_up`` is set when the terminal is gone, ``cause`` says how.
    """

    def __init__(
        self,
        session: LocalSession | None,
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
        # A handler may interrupt the main thread while that one holds it.
        self._lock = threading.RLock()
        self._before = handle(ENDING, self._handle)
        self._before |= handle([signal.SIGHUP], lambda *_: self.hang_up("SIGHUP"))

    def release(self) -> None:
        """Put back the handlers before these, where this process goes on to other work."""
        _put_back(self._before)

    def done(self) -> None:
        """The main thread has nothing left to do that could hold it up."""
        self._main_is_done.set()

    def hang_up(self, cause: str) -> None:
        """The terminal is gone; may be called from any thread, and more than once."""
        with self._lock:
            if self.cause:
                return
            self.cause = cause
        # Into the log only once nothing draws any more: it is no place for bars and frames.
        streams.turn_away("")
        self._goodbye(cause)
        self.hung_up.set()
        if self._session is None:
            self.code = HUNG_UP
            self._see_to_it_soon()
        else:
            self._leave(0)

    def _handle(self, number: int, _frame: object) -> None:
        if self.code is not None:
            # The kernel repeats SIGXCPU every second; nobody is in a hurry.
            if number != signal.SIGXCPU:
                self._out()
            return
        self.code = 128 + number
        self._goodbye(signal.Signals(number).name)
        if self._session is not None:
            self._session.stop(signal.Signals(number).name)
        self._see_to_it_soon()

    def _see_to_it_soon(self) -> None:
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
