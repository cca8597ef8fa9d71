"""The board on which a trainer pins its newest state, and the tray in which commands wait."""

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
"""Commands of which it is known when they were obeyed."""


def now() -> str:
    """The time in ISO 8601, UTC, with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Board:
    """Shared by one trainer and any number of watchers; nobody ever waits for anybody.

    The trainer alone writes ``snapshot`` and ``history``; each is one reference to something
    frozen, so reading needs no lock. ``obeyed`` holds the newest commands that
    the trainer has carried out, with the step that they acted in for the first time.
    ``unreachable`` says why no other process can attach. ``wanted_elsewhere``: the trainer is to
    save and to end, so that another process goes on; where nothing can be saved, it trains on.
    """

    def __init__(self) -> None:
        self.snapshot: Snapshot = EMPTY
        self.recording = History(tuple(METRICS))
        self.samples_per_s = 0.0
        self.view = DEFAULT_VIEW
        self.unreachable: str | None = None
        self.wanted_elsewhere = False
        self._wishes: dict[object, tuple[float, View]] = {}
        self.link = Link()
        self.commands: deque[Command] = deque()
        self.obeyed: deque[tuple[Command, int]] = deque(maxlen=MOST_OBEYED)
        self.notes: deque[tuple[str, dict[str, Any]]] = deque()
        self.woken = threading.Event()
        self._events: list[Event] = []

    @property
    def history(self) -> HistoryView:
        """All that was recorded so far."""
        return self.recording.view

    def events(self, after: int = 0) -> tuple[Event, ...]:
        """The events from number ``after`` on, oldest first."""
        return tuple(self._events[after:])

    def pin(self, event: Event) -> None:
        """Show one more event."""
        self._events.append(event)

    def submit(self, command: Command) -> None:
        """Hand a command to the trainer, which obeys between two iterations."""
        self.commands.append(command)
        self.woken.set()

    def take_refusals(self) -> tuple[Refusal, ...]:
        """None: what the trainer itself refuses is an event."""
        return ()

    def hand_over(self) -> None:
        """Have the trainer save and end for another process, or say in an event why it cannot."""
        self.wanted_elsewhere = True
        self.woken.set()

    def watch(
        self, samples_per_s: float, view: View = DEFAULT_VIEW, watcher: object = "screen"
    ) -> None:
        """Say how often sample pictures are wanted, 0 for none, and of what.

        Of several watchers the hastiest one sets the pace, and all see the view that one of them
        wished for last; to wish for the same again is no new wish.
        """
        before = self._wishes.get(watcher)
        self._wishes[watcher] = samples_per_s, view
        self.samples_per_s = max(pace for pace, _ in tuple(self._wishes.values()))
        if before is None or before[1] != view:
            self._see(view)

    def unwatch(self, watcher: object) -> None:
        """Nothing more is wanted by this watcher; the others' newest wish stays."""
        self._wishes.pop(watcher, None)
        self.samples_per_s = max((pace for pace, _ in tuple(self._wishes.values())), default=0.0)

    def _see(self, view: View) -> None:
        if view != self.view:
            self.view = view
            self.woken.set()

    def note(self, kind: str, **data: Any) -> None:
        """Have an event of a watcher's put into the log."""
        self.notes.append((kind, data))
        self.woken.set()
