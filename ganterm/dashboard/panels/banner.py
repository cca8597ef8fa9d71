"""What cannot be missed: raised alarms, a failure, and what is being loaded."""

from __future__ import annotations

from rich.style import Style
from textual.strip import Strip

from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.palette import style
from ganterm.dashboard.panels.panel import Panel
from ganterm.text import clean


class BannerPanel(Panel):
    """Two rows below the status line, there only while there is something to say."""

    def show(self, frame: Frame) -> None:
        """Appear or go, then draw."""
        self.display = bool(self._message(frame))
        super().show(frame)

    def draw(self, frame: Frame, width: int, height: int) -> list[Strip]:
        """The message, wrapped; a bar below it while something of known length is loaded."""
        text, look = self._message(frame) or ("", style())
        cells = Cells(height, width)
        words, row, column = text.split(), 0, 0
        for word in words:
            if column and column + len(word) > width:
                row, column = row + 1, 0
            cells.write(row, column, word, look)
            column += len(word) + 1
        progress = frame.snapshot.progress
        if progress is not None and frame.snapshot.state == "loading":
            done, full = ("━", "─") if frame.glyphs.unicode else ("=", "-")
            reached = round(progress * (width - 6))
            cells.write(1, 0, done * reached, style(palette.D))
            cells.write(1, reached, full * (width - 6 - reached), style(palette.FAINT))
            cells.write(1, width - 5, f"{progress:4.0%}", style(palette.TEXT))
        return cells.strips()

    def _message(self, frame: Frame) -> tuple[str, Style] | None:
        snapshot = frame.snapshot
        alarm = style(palette.ALARM, bold=True)
        if snapshot.failure is not None:
            return f"{frame.glyphs.alarm} failed: {clean(snapshot.failure.message, 400)}", alarm
        if snapshot.alarms:
            told = "  ".join(raised.message for raised in snapshot.alarms)
            return f"{frame.glyphs.alarm} {clean(told, 400)}", alarm
        if snapshot.state == "loading":
            return f"{clean(snapshot.doing)} {frame.glyphs.ellipsis}", style(palette.D, bold=True)
        return None
