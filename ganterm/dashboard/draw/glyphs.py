"""Which characters the terminal can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LEAST = 14
"""Dots across that a sample needs to be recognised."""
_LEAST_COLUMNS = 6
"""Columns that a sample in real pixels takes at least: below, it is too small for the eye."""
_LARGEST_SCALE = 10


@dataclass(frozen=True)
class Glyphs:
    """``unicode``: braille, blocks and rules; ``pictures``: half blocks (two dots a cell),
    quadrants (four, of two colours), a ramp of letters, or the terminal's own pixels by the
    protocol of Kitty or Sixel. ``dots``: how many dots a cell has, across and down, as pictures
    are laid out. ``ask``: whether the terminal is to be asked for pixels, which would be better.
    """

    unicode: bool = True
    pictures: Literal["half", "quadrant", "ascii", "kitty", "sixel"] = "half"
    dots: tuple[int, int] = (1, 2)
    ask: bool = False

    @property
    def pixels(self) -> bool:
        """Whether pictures are made of the terminal's own pixels."""
        return self.pictures in ("kitty", "sixel")

    @property
    def cells(self) -> Glyphs:
        """The same, with pictures in characters: where no pixels can be shown."""
        return Glyphs(self.unicode) if self.pixels else self

    def sizes(self, native: int) -> list[int]:
        """Dots that a sample of ``native`` pixels may take across, the largest first.

        Real pixels are enlarged by whole numbers only, characters down to what can be recognised.
        """
        if not self.pixels:
            return list(range(max(native, LEAST), LEAST - 1, -1))
        least = -(-_LEAST_COLUMNS * self.dots[0] // native)
        return [scale * native for scale in range(max(_LARGEST_SCALE, least), least - 1, -1)]

    def shape(self, size: int, native: int) -> tuple[int, int]:
        """Rows and columns of pixels with which a sample that takes ``size`` dots is drawn."""
        if self.pixels:
            return native, native
        return size, 2 * size if self.pictures == "quadrant" else size

    def columns(self, dots: int) -> int:
        """Cells that so many dots take across."""
        return -(-dots // self.dots[0])

    def rows(self, dots: int) -> int:
        """Cells that so many dots take down."""
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
