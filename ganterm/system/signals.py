"""Signals that end a process, handled for a while and then as before.

A signal that was ignored when this process started stays ignored.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

ENDING = tuple(
    signal.Signals[name]
    for name in (
        *("SIGINT", "SIGTERM", "SIGQUIT"),
        # Warnings of schedulers such as Slurm and SGE; then limits, timers, and a power failure.
        *("SIGUSR1", "SIGUSR2"),
        *("SIGXCPU", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGPWR"),
    )
    if name in signal.Signals.__members__
)
"""Signals that by default end the process at once, but leave it able to save first."""


class Interrupted(BaseException):
    """A signal has interrupted the work; ``code`` is the exit code, 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextmanager
def interruptible() -> Iterator[None]:
    """Within this context, the signals of ``ENDING`` raise Interrupted in the main thread."""

    def interrupt(number: int, _frame: object) -> None:
        raise Interrupted(number)

    before = handle(ENDING, interrupt)
    try:
        yield
    finally:
        put_back(before)


def handle(numbers: Iterable[int], handler: Callable[[int, Any], None]) -> dict[int, Any]:
    """Install a handler for the signals that are not ignored; returns the previous handlers."""
    before = {}
    for number in numbers:
        handler_before = signal.getsignal(number)
        # None is a handler that Python did not install and could not put back.
        if handler_before not in (signal.SIG_IGN, None):
            before[number] = signal.signal(number, handler)
    return before


def put_back(handlers: dict[int, Any]) -> None:
    """Install handlers that ``handle`` has returned."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextmanager
def handlers_kept(numbers: Iterable[int]) -> Iterator[None]:
    """Put the handlers of these signals back at the end of this context."""
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        put_back({number: handler for number, handler in before.items() if handler is not None})
