"""How the samples are drawn: in characters, or in pixels where those can be seen."""

from __future__ import annotations

from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.screens.cockpit import CockpitScreen
from ganterm.dashboard.terminal.graphics import Graphics, in_pixels
from ganterm.dashboard.terminal.line import Line
from ganterm.dashboard.terminal.overlay import OverCells, Overlay


class Pictures(OverCells):
    """Draws in pixels where the terminal has them and nothing lies over the samples.

    ``glyphs`` is what the panels draw with; without a ``line`` there are no pixels.
    """

    def __init__(self, cockpit: CockpitScreen, line: Line | None) -> None:
        self.glyphs = self._chosen = Glyphs()
        self._cockpit = cockpit
        self._line = line
        self._overlay = Overlay()
        self._graphics = Graphics()
        cockpit.samples.composed = self._overlay.painted

    def choose(self, glyphs: Glyphs) -> None:
        """Draw with these from the next frame on, or in pixels where they would be better."""
        self._chosen = glyphs
        self.look_again()

    def answered(self, graphics: Graphics) -> None:
        """The terminal has said what it can show."""
        self._graphics = graphics
        self.look_again()

    def look_again(self) -> None:
        """Ask for the size of a cell: the font may be another now."""
        if self._line is not None:
            self.glyphs = in_pixels(self._chosen, self._graphics, self._line.cell)
        else:
            self.glyphs = self._chosen.cells

    def look_what_covers(self) -> None:
        """Draw in characters where anything lies over the samples: those can be covered."""
        if self.glyphs.pixels and self._cockpit.is_mounted:
            self._cockpit.samples.turn_to(in_cells=self._covered)

    @property
    def _covered(self) -> bool:
        toasts = self._cockpit.query("Toast")
        region = self._cockpit.samples.region
        return not self._cockpit.is_active or any(t.region.overlaps(region) for t in toasts)

    def after_frame(self) -> bytes:
        """What a frame of cells is to be followed by."""
        if not self._cockpit.is_mounted or not (self.glyphs.pixels or self._overlay.shows):
            return b""
        wanted = [] if self._covered else self._cockpit.samples.placed()
        written = self._overlay.after_frame(wanted, self.glyphs.pictures)
        if self._line is not None:
            self._line.undo = self._overlay.undo
        return written

    def dropped(self) -> None:
        """The last frame was not sent, nor what followed it."""
        self._overlay.dropped()

    def erase(self) -> bytes:
        """What removes the pictures from over the cells."""
        return self._overlay.erase()
