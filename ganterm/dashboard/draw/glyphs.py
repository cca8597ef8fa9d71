"""The characters, and the kind of pictures, that the terminal can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LEAST = 14
"""Fewest dots across with which a sample can still be recognised."""
_LEAST_COLUMNS = 6
"""Fewest columns of a sample in real pixels; a smaller one is too small for the eye."""
_LARGEST_SCALE = 10
"""Largest factor by which real pixels are enlarged."""


@dataclass(frozen=True)
class Glyphs:
    """The signs to draw with.

    ``unicode``: braille, blocks and rules may be used, not ASCII alone. ``pictures``: half blocks
    (two dots per cell), quadrants (four dots of two colours), letters by brightness, or the
    terminal's own pixels by the protocol of Kitty or Sixel. ``dots``: dots of a cell, across and
    down, by which pictures are laid out. ``ask``: ask the terminal whether it can show pixels.
    """

    unicode: bool = True
    pictures: Literal["half", "quadrant", "ascii", "kitty", "sixel"] = "half"
    dots: tuple[int, int] = (1, 2)
    ask: bool = False

    @property
    def pixels(self) -> bool:
        """Whether pictures are drawn in the terminal's own pixels."""
        return self.pictures in ("kitty", "sixel")

    @property
    def cells(self) -> Glyphs:
        """The same glyphs with pictures in characters."""
        return Glyphs(self.unicode) if self.pixels else self

    def sizes(self, native: int) -> list[int]:
        """The widths, in dots, that a sample ``native`` pixels wide may have, largest first.

        Real pixels are enlarged by whole factors only. Characters go down to ``LEAST`` dots.
        """
        if not self.pixels:
            return list(range(max(native, LEAST), LEAST - 1, -1))
        least = -(-_LEAST_COLUMNS * self.dots[0] // native)
        return [scale * native for scale in range(max(_LARGEST_SCALE, least), least - 1, -1)]

    def shape(self, size: int, native: int) -> tuple[int, int]:
        """Rows and columns of pixels in a sample that is drawn ``size`` dots wide."""
        if self.pixels:
            return native, native
        return size, 2 * size if self.pictures == "quadrant" else size

    def columns(self, dots: int) -> int:
        """Cells that ``dots`` dots take across."""
        return -(-dots // self.dots[0])

    def rows(self, dots: int) -> int:
        """Cells that ``dots`` dots take down."""
        return -(-dots // self.dots[1])

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
        """The arrow from an old value to a new one."""
        return "→" if self.unicode else "->"

    @property
    def ellipsis(self) -> str:
        """The sign for text that was cut or for work in progress."""
        return "…" if self.unicode else "..."

    def cut(self, text: str, room: int) -> str:
        """The text in at most ``room`` characters; a longer one is cut and ends in an ellipsis."""
        if len(text) <= room:
            return text
        return (text[: max(0, room - len(self.ellipsis))] + self.ellipsis)[: max(0, room)]

    @property
    def alarm(self) -> str:
        """The sign before an alarm."""
        return "▲" if self.unicode else "!"

    @property
    def cleared(self) -> str:
        """The mark on a chart where an alarm was cleared."""
        return "✓" if self.unicode else "+"

    @property
    def lost(self) -> str:
        """The sign beside a mode that G does not make."""
        return "×" if self.unicode else "x"

    @property
    def middle(self) -> str:
        """The sign at the place in a bar that stands for the data's share."""
        return "│" if self.unicode else "|"

    @property
    def dot(self) -> str:
        """The separator between parts of a line."""
        return "·" if self.unicode else "-"

    @property
    def lights(self) -> dict[str, str]:
        """The sign of each level of health."""
        signs = "○●▲■" if self.unicode else "~*!#"
        return dict(zip(("unknown", "healthy", "warning", "alarm"), signs, strict=True))

    @property
    def states(self) -> dict[str, str]:
        """The sign of each state of a run."""
        signs = "◌●‖■■▲" if self.unicode else "~*=##!"
        names = ("loading", "running", "paused", "finished", "stopped", "failed")
        return dict(zip(names, signs, strict=True))
