"""From keys to commands: what was asked for, until what is in force agrees."""

from __future__ import annotations

import time
from collections import Counter

from ganterm.core.controls import KNOBS, ControlError, Value, parse_assignment
from ganterm.core.events import ChangeEvent, Event, RefusedEvent
from ganterm.core.snapshot import (
    ENDED,
    Command,
    Pause,
    Refusal,
    Session,
    SetControl,
    Snapshot,
    Unpause,
)
from ganterm.losses import choices_of, controls_with

REFUSALS_SECONDS = 3.0
"""Least seconds between two notices of refusals, so that a held key makes one line of them."""

MOST_REASONS = 3
"""Most reasons that one notice names."""


class Refusals:
    """Commands that were not obeyed, gathered until they are told: one line a reason."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._due = 0.0

    def add(self, refusals: tuple[Refusal, ...]) -> None:
        """Take note of more."""
        self._counts.update(refusal.reason for refusal in refusals)

    def lines(self) -> list[str]:
        """What there is to tell now, each once."""
        if not self._counts or time.monotonic() < self._due:
            return []
        self._due = time.monotonic() + REFUSALS_SECONDS
        counts, self._counts = self._counts, Counter()
        shown = counts.most_common(MOST_REASONS)
        more = counts.total() - sum(count for _, count in shown)
        return [
            *(
                f"Refused: {reason}" + (f" ({count:,} commands)" if count > 1 else "")
                for reason, count in shown
            ),
            *([f"Refused for other reasons: {more:,} commands"] if more else []),
        ]


class Steering:
    """Remembers what the user asked for, so that ten quick presses make ten steps."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.asked: dict[str, Value] = {}
        self._pause_asked: bool | None = None

    def nudge(self, name: str, direction: int, by: str = "key") -> bool:
        """Ask for the next value down (-1) or up (+1) of what was last asked for.

        Returns whether there is one.
        """
        controls = self._session.snapshot.controls
        current = self.asked.get(name, controls.value(name))
        return self.ask(name, KNOBS[name].nudge(current, direction, choices_of(controls, name)), by)

    def ask(self, name: str, value: Value, by: str) -> bool:
        """Ask for a checked value; False where it is in force or asked for already."""
        if value == self.asked.get(name, self._session.snapshot.controls.value(name)):
            return False
        self.asked[name] = value
        self._session.submit(SetControl(name, value, by))
        return True

    def obey(self, press: str, by: str) -> str:
        """Do what a control's key, or a line of the `:` prompt, would do.

        Returns what there is to tell where nothing is left to change; ControlError where ``press``
        is none of the two.
        """
        if press.startswith(":"):
            name, value = parse_assignment(press[1:])
            controls_with(self._session.snapshot.controls, name, value)
            done = self.ask(name, value, by)
        else:
            name, direction = _knob_of(press)
            done = self.nudge(name, direction, by)
        if done:
            return ""
        knob = KNOBS[name]
        value = self.asked.get(name, self._session.snapshot.controls.value(name))
        return f"{knob.label} is {knob.show(value)} already."

    def pause_or_go_on(self) -> bool:
        """Whether to go on rather than pause, looking at what was last asked for."""
        paused = self._session.snapshot.state == "paused"
        paused = paused if self._pause_asked is None else self._pause_asked
        self._pause_asked = not paused
        return paused

    def refused(self, command: Command) -> None:
        """Forget what was asked for by a command that is not obeyed."""
        match command:
            case SetControl(name, value) if self.asked.get(name) == value:
                del self.asked[name]
            case Pause() | Unpause():
                self._pause_asked = None

    def settle(self, snapshot: Snapshot, events: tuple[Event, ...]) -> None:
        """Forget what is in force, and what the new ``events`` say was done or refused."""
        answered = {(event.key, event.after) for event in events if isinstance(event, ChangeEvent)}
        refused = {event.key for event in events if isinstance(event, RefusedEvent)}
        self.asked = {
            name: value
            for name, value in self.asked.items()
            if snapshot.controls.value(name) != value
            and (name, value) not in answered
            and name not in refused
        }
        if self._pause_asked == (snapshot.state == "paused") or snapshot.state in ENDED:
            self._pause_asked = None


def _knob_of(press: str) -> tuple[str, int]:
    """The control that a key nudges, and the direction."""
    for knob in KNOBS.values():
        if knob.keys and press in knob.keys:
            return knob.name, 2 * knob.keys.index(press) - 1
    raise ControlError(f"There is no key {press}.")
