"""Which characters the terminal can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Glyphs:
    """``unicode``: braille, blocks and rules; ``pictures``: half blocks (two pixels a cell),
    quadrants (four, of two colours) or a ramp of letters."""

    unicode: bool = True
    pictures: Literal["half", "quadrant", "ascii"] = "half"

    @property
    def wide(self) -> int:
        """Pixels of a picture across a cell."""
        return 2 if self.pictures == "quadrant" else 1

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

    def cut(self, text: str, room: int) -> str:
        """Text that ends in an ellipsis where it is longer than ``room``."""
        if len(text) <= room:
            return text
        return (text[: max(0, room - len(self.ellipsis))] + self.ellipsis)[: max(0, room)]

    @property
    def alarm(self) -> str:
        """Before an alarm."""
        return "▲" if self.unicode else "!"

    @property
    def cleared(self) -> str:
        """On a chart, where an alarm was cleared."""
        return "✓" if self.unicode else "+"

    @property
    def lost(self) -> str:
        """Beside a mode that G does not make."""
        return "×" if self.unicode else "x"

    @property
    def middle(self) -> str:
        """Where a bar that is as long as the data's would end."""
        return "│" if self.unicode else "|"

    @property
    def dot(self) -> str:
        """Between parts of a line."""
        return "·" if self.unicode else "-"

    @property
    def lights(self) -> dict[str, str]:
        """A sign for each level of health."""
        signs = "○●▲■" if self.unicode else "~*!#"
        return dict(zip(("unknown", "healthy", "warning", "alarm"), signs, strict=True))

    @property
    def states(self) -> dict[str, str]:
        """A sign for each state."""
        signs = "◌●‖■■▲" if self.unicode else "~*=##!"
        names = ("loading", "running", "paused", "finished", "stopped", "failed")
        return dict(zip(names, signs, strict=True))
