"""The base of all panels: a widget that draws a frame as a grid of cells."""

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
    """Draws frames; subclasses define ``draw``. The newest cells are kept until the next frame.

    Cells that have changed go to the terminal directly. Textual gets Strips of them when it
    composes the screen.
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
        """The panel's content for a frame, on ``width`` x ``height`` cells."""
        raise NotImplementedError

    def inputs(self, frame: Frame) -> object:
        """All that the cells depend on, besides the size; while it is equal, they are kept."""
        return frame

    def show(self, frame: Frame) -> None:
        """Draw a frame and paint what has changed; an error is shown in its place."""
        try:
            self._draw_and_paint(frame)
        except Exception as error:  # noqa: BLE001 - no error of a panel may stop the others
            self.show_error(error)

    def show_error(self, error: Exception) -> None:
        """Show an error in the place of the panel."""
        self.app.crashed(f"panel {self.id}", error)  # type: ignore[attr-defined]
        width, height = self._room
        cells = Cells(max(0, height), max(0, width))
        cells.title(f"{self.id}: error")
        message = clean(f"{type(error).__name__}: {error}", 2 * max(1, width))
        for row in range(2):
            look = style(palette.ALARM)
            cells.write(1 + row, 0, message[row * width : (row + 1) * width], look)
        self._inputs = None
        self._show_cells(cells)

    @property
    def _room(self) -> tuple[int, int]:
        """Columns and rows within the padding."""
        # Read from the styles, because Textual's `size` would first look for scrollbars.
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
        """Send what has changed to the terminal, or let Textual compose the whole panel."""
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
        """Redraw the panel with the next frame, even if its inputs are equal."""
        self._cells = None

    def render(self) -> Text:
        """An empty text, because ``render_line`` and ``render_lines`` give all content."""
        return Text()

    def render_line(self, y: int) -> Strip:
        """Row ``y`` of the newest frame, within the padding."""
        if self._cells is None or y >= self._cells.size[0]:
            return Strip.blank(self.size.width, style())
        return self._cells.part(y, y + 1).strips()[0]

    def render_lines(self, crop: Region) -> list[Strip]:
        """The rows with their padding, which is the only styling of a panel.

        Textual's own method also handles borders, titles, tints and links; it would take as long
        as the drawing.
        """
        width, height = self.outer_size
        left, right = self.styles.gutter.left, self.styles.gutter.right
        drawn = [] if self._cells is None else self._cells.part(crop.y, crop.bottom).strips()
        rows = [padded(row, left, right) for row in drawn]
        rows += [Strip.blank(width, style())] * (min(crop.bottom, height) - crop.y - len(rows))
        for colors in self.app.get_line_filters():
            # The palette has no ANSI colours, so this filter would change nothing.
            if not isinstance(colors, ANSIToTruecolor):
                background = self.background_colors[1]
                rows = [row.apply_filter(colors, background) for row in rows]
        if crop.width == width and all(row.cell_length == width for row in rows):
            return rows
        # The panel is covered in part, or was resized and is not redrawn yet.
        return [row.crop_extend(crop.x, crop.right, style()) for row in rows]

    def on_resize(self, event: events.Resize) -> None:
        """Redraw the frame at the new size."""
        if self._frame is not None:
            self.forget()
            self.show(self._frame)
