"""The state that a trainer publishes, and the commands that wait for it."""

from __future__ import annotations

import threading
from collections import deque
from datetime import UTC, datetime
from typing import Any

from ganterm.core.events import Event
from ganterm.core.history import History, HistoryView
from ganterm.core.metrics import METRICS
from ganterm.core.snapshot import DEFAULT_VIEW, EMPTY, Command, Link, Refusal, Snapshot, View

MOST_OBEYED = 4096
"""Newest commands whose steps are kept, for the answers to watchers."""


def now() -> str:
    """The present time in ISO 8601, UTC, with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Board:
    """State shared by one trainer and any number of watchers, none of which ever waits.

    Only the trainer writes ``snapshot`` and ``history``. Each is one reference to a frozen object,
    so reading needs no lock. ``obeyed`` holds the newest commands that the trainer has carried
    out, each with the first step in which it acted. ``unreachable`` says why no other process can
    attach. ``wanted_elsewhere`` asks the trainer to save and end, so that another process can go
    on; where nothing can be saved, it trains on.
    """

    def __init__(self) -> None:
        self.snapshot: Snapshot = EMPTY
        self.recording = History(tuple(METRICS))
        self.samples_per_s = 0.0
        self.view = DEFAULT_VIEW
        self.unreachable: str | None = None
        self.wanted_elsewhere = False
        self._requests: dict[object, tuple[float, View]] = {}
        self.link = Link()
        self.commands: deque[Command] = deque()
        self.obeyed: deque[tuple[Command, int]] = deque(maxlen=MOST_OBEYED)
        self.notes: deque[tuple[str, dict[str, Any]]] = deque()
        self.woken = threading.Event()
        self._events: list[Event] = []

    @property
    def history(self) -> HistoryView:
        """All rows recorded so far."""
        return self.recording.view

    def events(self, after: int = 0) -> tuple[Event, ...]:
        """The events from number ``after`` on, oldest first."""
        return tuple(self._events[after:])

    def pin(self, event: Event) -> None:
        """Add an event."""
        self._events.append(event)

    def submit(self, command: Command) -> None:
        """Queue a command; the trainer obeys between two iterations."""
        self.commands.append(command)
        self.woken.set()

    def take_refusals(self) -> tuple[Refusal, ...]:
        """None: here every refusal is an event."""
        return ()

    def hand_over(self) -> None:
        """Ask the trainer to save and end for another process; an event says why it cannot."""
        self.wanted_elsewhere = True
        self.woken.set()

    def watch(
        self, samples_per_s: float, view: View = DEFAULT_VIEW, watcher: object = "screen"
    ) -> None:
        """Ask for sample pictures at a rate, 0 for none, and in a view.

        The highest rate of all watchers holds. All see the view asked for last; asking again for
        the same view does not count.
        """
        before = self._requests.get(watcher)
        self._requests[watcher] = samples_per_s, view
        self.samples_per_s = max(rate for rate, _ in tuple(self._requests.values()))
        if before is None or before[1] != view:
            self._show(view)

    def unwatch(self, watcher: object) -> None:
        """Drop the request of a watcher; the view stays."""
        self._requests.pop(watcher, None)
        self.samples_per_s = max((rate for rate, _ in tuple(self._requests.values())), default=0.0)

    def _show(self, view: View) -> None:
        if view != self.view:
            self.view = view
            self.woken.set()

    def note(self, kind: str, **data: Any) -> None:
        """Ask the trainer to log an event of a watcher."""
        self.notes.append((kind, data))
        self.woken.set()
