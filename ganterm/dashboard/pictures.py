"""Whether the samples are drawn in characters or in the terminal's own pixels."""

from __future__ import annotations

from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.screens.cockpit import CockpitScreen
from ganterm.dashboard.terminal.graphics import Graphics, in_pixels
from ganterm.dashboard.terminal.line import Line
from ganterm.dashboard.terminal.overlay import OverCells, Overlay


class Pictures(OverCells):
    """Draws in pixels if the terminal can and if nothing covers the samples.

    ``glyphs``: what the panels draw with. Without a ``line`` there are no pixels.
    """

    def __init__(self, cockpit: CockpitScreen, line: Line | None) -> None:
        self.glyphs = self._chosen = Glyphs()
        self._cockpit = cockpit
        self._line = line
        self._overlay = Overlay()
        self._graphics = Graphics()
        cockpit.samples.on_composed = self._overlay.cells_painted

    def choose(self, glyphs: Glyphs) -> None:
        """Draw with ``glyphs`` from the next frame on; pictures in pixels if the terminal can."""
        self._chosen = glyphs
        self.measure_cell()

    def use(self, graphics: Graphics) -> None:
        """Take note of what the terminal has answered about its graphics."""
        self._graphics = graphics
        self.measure_cell()

    def measure_cell(self) -> None:
        """Read the size of a cell again, which a new font changes."""
        if self._line is not None:
            self.glyphs = in_pixels(self._chosen, self._graphics, self._line.cell)
        else:
            self.glyphs = self._chosen.cells

    def avoid_covers(self) -> None:
        """Draw in characters while something covers the samples; nothing can cover pixels."""
        if self.glyphs.pixels and self._cockpit.is_mounted:
            self._cockpit.samples.turn_to(in_cells=self._covered)

    @property
    def _covered(self) -> bool:
        toasts = self._cockpit.query("Toast")
        region = self._cockpit.samples.region
        return not self._cockpit.is_active or any(t.region.overlaps(region) for t in toasts)

    def after_frame(self) -> bytes:
        """The bytes that follow a frame of cells."""
        if not self._cockpit.is_mounted or not (self.glyphs.pixels or self._overlay.shows):
            return b""
        visible = [] if self._covered else self._cockpit.samples.placed()
        data = self._overlay.after_frame(visible, self.glyphs.pictures)
        if self._line is not None:
            self._line.undo = self._overlay.undo
        return data

    def frame_lost(self) -> None:
        """Take note that the terminal did not get the last frame, nor the pictures after it."""
        self._overlay.frame_lost()

    def erase(self) -> bytes:
        """The bytes that remove the pictures from over the cells."""
        return self._overlay.erase()
