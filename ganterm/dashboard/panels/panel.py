"""What every panel is: a widget that turns a frame into Strips, once, and repeats them."""

from __future__ import annotations

from rich.text import Text
from textual import events
from textual.filter import ANSIToTruecolor
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells, padded
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.palette import style
from ganterm.text import clean

_NEAR = 3


class Panel(Widget):
    """Subclasses draw; the Strips of the newest frame are kept until the next."""

    DEFAULT_CSS = """
    Panel { background: $surface; color: $foreground; padding: 0 1; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._frame: Frame | None = None
        self._inputs: object = None
        self._strips: list[Strip] = []
        self._padded: list[Strip] = []

    def draw(self, frame: Frame, width: int, height: int) -> list[Strip]:
        """The panel's rows for a frame, on ``width`` x ``height`` cells."""
        raise NotImplementedError

    def inputs(self, frame: Frame) -> object:
        """What the rows are drawn from, besides the size: while it is equal, they are kept."""
        return frame

    def show(self, frame: Frame) -> None:
        """Draw a frame and have the rows that changed painted; an error is drawn in their place."""
        try:
            self._draw_and_paint(frame)
        except Exception as error:  # noqa: BLE001 - whatever it was, the others must live
            self.show_error(error)

    def show_error(self, error: Exception) -> None:
        """What went wrong, where the panel would be."""
        self.app.crashed(f"panel {self.id}", error)  # type: ignore[attr-defined]
        width = self.outer_size.width - self.gutter.width
        height = self.outer_size.height - self.gutter.height
        cells = Cells(max(0, height), max(0, width))
        cells.title(f"{self.id}: error")
        told = clean(f"{type(error).__name__}: {error}", 2 * max(1, width))
        for row in range(2):
            look = style(palette.ALARM)
            cells.write(1 + row, 0, told[row * width : (row + 1) * width], look)
        self._inputs = None
        self._strips = cells.strips()
        self._padded = [padded(row, self.gutter.left, self.gutter.right) for row in self._strips]
        self.refresh()

    def _draw_and_paint(self, frame: Frame) -> None:
        self._frame = frame
        (width, height), gutter = self.outer_size, self.gutter
        width, height = width - gutter.width, height - gutter.height
        if width <= 0 or height <= 0:
            return
        inputs = self.inputs(frame)
        if self._strips and inputs == self._inputs:
            return
        self._inputs = inputs
        rows = self.draw(frame, width, height)
        if len(rows) != len(self._strips):
            self._strips = rows
            self._padded = [padded(row, gutter.left, gutter.right) for row in rows]
            self.refresh()
            return
        # Rows that look the same keep their Strip, and with it what Textual has cached of it.
        changed = [y for y, row in enumerate(rows) if row != self._strips[y]]
        for y in changed:
            self._strips[y] = rows[y]
            self._padded[y] = padded(rows[y], gutter.left, gutter.right)
        self.refresh_rows(changed)

    def refresh_rows(self, changed: list[int]) -> None:
        """Have rows painted, near ones as one region: the compositor's work grows with these."""
        runs: list[list[int]] = []
        for y in changed:
            if runs and y - runs[-1][1] <= _NEAR:
                runs[-1][1] = y
            else:
                runs.append([y, y])
        # Whole rows, padding and all: of those Textual keeps the text that it has sent.
        left, width = self.content_offset.x, self.outer_size.width
        regions = [Region(-left, a, width, b - a + 1) for a, b in runs]
        if regions:
            self.refresh(*regions)

    def render(self) -> Text:
        """Nothing of Textual's own."""
        return Text()

    def render_line(self, y: int) -> Strip:
        """Row ``y`` of the newest frame."""
        if y >= len(self._strips):
            return Strip.blank(self.size.width, style())
        return self._strips[y]

    def render_lines(self, crop: Region) -> list[Strip]:
        """The rows between their padding, which is all the styling that a panel has.

        Textual's own way through borders, titles, tints and links takes as long as the drawing.
        """
        width, height = self.outer_size
        blank = Strip.blank(width, style())
        rows = [*self._padded, *[blank] * (height - len(self._padded))][crop.y : crop.bottom]
        for colors in self.app.get_line_filters():
            # The palette has no colours that a terminal's theme would change.
            if not isinstance(colors, ANSIToTruecolor):
                background = self.background_colors[1]
                rows = [row.apply_filter(colors, background) for row in rows]
        if crop.width == width and all(row.cell_length == width for row in rows):
            return rows
        # Covered in part, or just resized and not drawn again yet.
        return [row.crop_extend(crop.x, crop.right, style()) for row in rows]

    def on_resize(self, event: events.Resize) -> None:
        """Draw the frame again at the new size."""
        if self._frame is not None:
            self._strips = []
            self.show(self._frame)
