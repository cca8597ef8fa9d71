"""Which characters the terminal can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Glyphs:
    """``unicode``: braille, blocks and rules; ``pictures``: half blocks or a ramp of letters."""

    unicode: bool = True
    pictures: Literal["half", "ascii"] = "half"

    @property
    def marker(self) -> str:
        """The vertical line at a change."""
        return "┊" if self.unicode else "|"

    @property
    def guide(self) -> str:
        """The horizontal guide line."""
        return "╌" if self.unicode else "-"

    @property
    def arrow(self) -> str:
        """From an old value to a new one."""
        return "→" if self.unicode else "->"

    @property
    def ellipsis(self) -> str:
        """Something goes on, or was cut."""
        return "…" if self.unicode else "..."

    @property
    def alarm(self) -> str:
        """Before an alarm."""
        return "▲" if self.unicode else "!"

    @property
    def states(self) -> dict[str, str]:
        """A sign for each state."""
        signs = "◌●‖■■▲" if self.unicode else "~*=##!"
        names = ("loading", "running", "paused", "finished", "stopped", "failed")
        return dict(zip(names, signs, strict=True))
