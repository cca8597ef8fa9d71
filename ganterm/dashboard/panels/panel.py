"""What every panel is: a widget that turns a frame into a grid of cells, and has it shown."""

from __future__ import annotations

from rich.text import Text
from textual import events
from textual.filter import ANSIToTruecolor
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from ganterm.core.text import clean
from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells, padded
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.palette import style


class Panel(Widget):
    """Subclasses draw; the cells of the newest frame are kept until the next.

    What changed goes to the terminal as it is; Textual gets Strips, made when it wants to compose.
    """

    DEFAULT_CSS = """
    Panel { background: $surface; color: $foreground; padding: 0 1; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._frame: Frame | None = None
        self._inputs: object = None
        self._cells: Cells | None = None

    def draw(self, frame: Frame, width: int, height: int) -> Cells:
        """What the panel shows of a frame, on ``width`` x ``height`` cells."""
        raise NotImplementedError

    def inputs(self, frame: Frame) -> object:
        """What the cells are drawn from, besides the size: while it is equal, they are kept."""
        return frame

    def show(self, frame: Frame) -> None:
        """Draw a frame and have what changed painted; an error is drawn in its place."""
        try:
            self._draw_and_paint(frame)
        except Exception as error:  # noqa: BLE001 - whatever it was, the others must live
            self.show_error(error)

    def show_error(self, error: Exception) -> None:
        """What went wrong, where the panel would be."""
        self.app.crashed(f"panel {self.id}", error)  # type: ignore[attr-defined]
        width, height = self._room
        cells = Cells(max(0, height), max(0, width))
        cells.title(f"{self.id}: error")
        told = clean(f"{type(error).__name__}: {error}", 2 * max(1, width))
        for row in range(2):
            look = style(palette.ALARM)
            cells.write(1 + row, 0, told[row * width : (row + 1) * width], look)
        self._inputs = None
        self._show_cells(cells)

    @property
    def _room(self) -> tuple[int, int]:
        """Columns and rows within the padding."""
        # Read from the styles: a panel has no scrollbars, and Textual would look for them.
        size, gutter = self.outer_size, self.styles.gutter
        return size.width - gutter.width, size.height - gutter.height

    def _draw_and_paint(self, frame: Frame) -> None:
        self._frame = frame
        width, height = self._room
        if width <= 0 or height <= 0:
            return
        inputs = self.inputs(frame)
        if self._cells is not None and inputs == self._inputs:
            return
        self._inputs = inputs
        self._show_cells(self.draw(frame, width, height))

    def _show_cells(self, cells: Cells) -> None:
        """Have the terminal sent what changed, or the whole panel composed where that cannot be."""
        before, self._cells = self._cells, cells
        if before is None or before.size != cells.size or not self._paint(before, cells):
            self.refresh()

    def _paint(self, before: Cells, cells: Cells) -> bool:
        place = self.region
        if place.size != self.outer_size:
            return False
        at = place.offset + self.styles.gutter.top_left
        painted: bool = self.app.paint(before, cells, at)  # type: ignore[attr-defined]
        return painted

    def forget(self) -> None:
        """Draw anew with the next frame, whatever it is."""
        self._cells = None

    def render(self) -> Text:
        """Nothing of Textual's own."""
        return Text()

    def render_line(self, y: int) -> Strip:
        """Row ``y`` of the newest frame, within the padding."""
        if self._cells is None or y >= self._cells.size[0]:
            return Strip.blank(self.size.width, style())
        return self._cells.part(y, y + 1).strips()[0]

    def render_lines(self, crop: Region) -> list[Strip]:
        """The rows between their padding, which is all the styling that a panel has.

        Textual's own way through borders, titles, tints and links takes as long as the drawing.
        """
        width, height = self.outer_size
        left, right = self.styles.gutter.left, self.styles.gutter.right
        drawn = [] if self._cells is None else self._cells.part(crop.y, crop.bottom).strips()
        rows = [padded(row, left, right) for row in drawn]
        rows += [Strip.blank(width, style())] * (min(crop.bottom, height) - crop.y - len(rows))
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
            self.forget()
            self.show(self._frame)
