"""What the panels show in one tick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ganterm.core.controls import Value
from ganterm.core.events import AlarmEvent, ChangeEvent, Event, RewindEvent
from ganterm.core.history import HistoryView
from ganterm.core.snapshot import DEFAULT_VIEW, Link, Snapshot, View
from ganterm.dashboard.budget import Cost
from ganterm.dashboard.draw.glyphs import Glyphs

MARKED = (AlarmEvent, ChangeEvent, RewindEvent)
"""Events that every chart marks at their step."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One consistent look: the newest snapshot, the history, the events, and what was asked for.

    ``asked`` holds controls that a key has asked for and that are not yet in force. ``span`` is
    the number of newest rows that the charts show, None for all; ``view`` is asked of the samples.
    """

    snapshot: Snapshot
    history: HistoryView
    events: tuple[Event, ...] = ()
    asked: Mapping[str, Value] = field(default_factory=dict)
    glyphs: Glyphs = field(default_factory=Glyphs)
    cost: Cost = field(default_factory=Cost)
    span: int | None = None
    view: View = DEFAULT_VIEW
    link: Link = field(default_factory=Link)

    @cached_property
    def marks(self) -> list[tuple[int, str]]:
        """Step and sign of each change of a control, of each alarm raised or cleared, and of where
        the run went back to."""
        marked = [event for event in self.events if isinstance(event, MARKED)]
        return [(event.step, self._sign(event)) for event in marked]

    def _sign(self, event: AlarmEvent | ChangeEvent | RewindEvent) -> str:
        if isinstance(event, AlarmEvent):
            return "!" if event.raised else self.glyphs.cleared
        return "U" if isinstance(event, RewindEvent) else _SIGNS.get(event.key, "*")


_SIGNS = {"k": "k", "l": "l", "loss": "o", "lr_d": "d", "lr_g": "g"}
