"""What every panel is: a widget that turns a frame into Strips, once, and repeats them."""

from __future__ import annotations

from rich.text import Text
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from ganterm.dashboard.frame import Frame
from ganterm.dashboard.palette import style

_NEAR = 3


class Panel(Widget):
    """Subclasses draw; the Strips of the newest frame are kept until the next."""

    DEFAULT_CSS = """
    Panel { background: $surface; color: $foreground; padding: 0 1; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._frame: Frame | None = None
        self._strips: list[Strip] = []

    def draw(self, frame: Frame, width: int, height: int) -> list[Strip]:
        """The panel's rows for a frame, on ``width`` x ``height`` cells."""
        raise NotImplementedError

    def show(self, frame: Frame) -> None:
        """Draw a frame and have the rows that changed painted."""
        self._frame = frame
        width, height = self.size
        if width <= 0 or height <= 0:
            return
        before, after = self._strips, self.draw(frame, width, height)
        if len(before) != len(after):
            self._strips = after
            self.refresh()
            return
        # Rows that look the same keep their Strip, and with it what Textual has cached of it.
        self._strips = [old if old == new else new for old, new in zip(before, after, strict=True)]
        changed = [y for y, row in enumerate(self._strips) if row is not before[y]]
        self.refresh_rows(changed)

    def refresh_rows(self, changed: list[int]) -> None:
        """Have rows painted, near ones as one region: the compositor's work grows with these."""
        runs: list[list[int]] = []
        for y in changed:
            if runs and y - runs[-1][1] <= _NEAR:
                runs[-1][1] = y
            else:
                runs.append([y, y])
        left, top = self.gutter.left, self.gutter.top
        regions = [Region(left, top + a, self.size.width, b - a + 1) for a, b in runs]
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

    def on_resize(self, event: events.Resize) -> None:
        """Draw the frame again at the new size."""
        if self._frame is not None:
            self._strips = []
            self.show(self._frame)
