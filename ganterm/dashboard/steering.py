"""From keys to commands: what was asked for, until what is in force agrees."""

from __future__ import annotations

from ganterm.controls import KNOBS, Controls, Value
from ganterm.session.protocol import Event, Session, SetControl


class Steering:
    """Remembers what the user asked for, so that ten quick presses make ten steps."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.asked: dict[str, Value] = {}

    def nudge(self, name: str, direction: int) -> None:
        """Ask for the next value down (-1) or up (+1) of what was last asked for."""
        knob = KNOBS[name]
        current = self.asked.get(name, self._session.snapshot.controls.value(name))
        self.ask(name, knob.nudge(current, direction), "key")

    def ask(self, name: str, value: Value, by: str) -> None:
        """Ask for a checked value; nothing happens where it is in force or asked for already."""
        if value != self.asked.get(name, self._session.snapshot.controls.value(name)):
            self.asked[name] = value
            self._session.submit(SetControl(name, value, by))

    def settle(self, controls: Controls, events: tuple[Event, ...]) -> None:
        """Forget what is now in force, and what the trainer refused in the new ``events``."""
        refused = {event.data["key"] for event in events if event.kind == "refused"}
        self.asked = {
            name: value
            for name, value in self.asked.items()
            if controls.value(name) != value and name not in refused
        }
