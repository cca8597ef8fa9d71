"""What the panels show in one tick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ganterm.core.controls import Value
from ganterm.core.history import HistoryView
from ganterm.core.snapshot import DEFAULT_VIEW, Event, Link, Snapshot, View
from ganterm.dashboard.budget import Cost
from ganterm.dashboard.draw.glyphs import Glyphs

MARKED = frozenset({"change", "schedule", "alarm", "rewind"})
"""Kinds of events that every chart marks at their step."""


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
        return [(event.step, self._sign(event)) for event in self.events if event.kind in MARKED]

    def _sign(self, event: Event) -> str:
        if event.kind == "alarm":
            return "!" if event.data["state"] == "raised" else self.glyphs.cleared
        if event.kind == "rewind":
            return "U"
        return _SIGNS.get(str(event.data.get("key")), "*")


_SIGNS = {"k": "k", "l": "l", "loss": "o", "lr_d": "d", "lr_g": "g"}
