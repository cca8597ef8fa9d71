"""What cannot be missed: a raised alarm with what to try, a failure, and what is being loaded."""

from __future__ import annotations

from rich.style import Style

from ganterm.core.events import CheckpointEvent
from ganterm.core.findings import Alarm
from ganterm.core.text import clean
from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.light import COLORS, WORDS, ranked
from ganterm.dashboard.palette import style
from ganterm.dashboard.panels.panel import Panel


class BannerPanel(Panel):
    """Two rows below the status line, there only while there is something to say."""

    def show(self, frame: Frame) -> None:
        """Appear or go, then draw."""
        snapshot = frame.snapshot
        silent = frame.link.state == "stale" or frame.link.trouble
        wrong = snapshot.failure is not None or snapshot.alarms or silent
        said = bool(wrong or snapshot.state == "loading")
        if said != self.display:
            self.display = said
        if said:
            super().show(frame)

    def draw(self, frame: Frame, width: int, height: int) -> Cells:
        """The first of: a failure, silence, the gravest alarm, trouble, what is being loaded."""
        cells = Cells(height, width)
        snapshot, glyphs = frame.snapshot, frame.glyphs
        if snapshot.failure is not None:
            look = style(palette.ALARM, bold=True)
            _wrap(cells, f"{glyphs.alarm} failed: {clean(snapshot.failure.message, 400)}", look)
            saved = any(isinstance(event, CheckpointEvent) for event in frame.events)
            if saved and not frame.link.readonly:
                told = " R goes on from the newest checkpoint "
                cells.write(height - 1, width - len(told), told, style(palette.D, bold=True))
        elif frame.link.state == "stale":
            silent = f"no sign of life from the trainer for {frame.link.age:.0f} s"
            look = style(palette.ALARM, bold=True)
            silent = frame.link.trouble or f"{silent}; what is shown is of then"
            _wrap(cells, f"{glyphs.alarm} {clean(silent, 400)}", look)
        elif snapshot.alarms:
            alarms = ranked(snapshot.alarms)
            _alarm(cells, alarms[0], len(alarms) - 1, glyphs)
        elif frame.link.trouble:
            look = style(palette.ALARM, bold=True)
            _wrap(cells, f"{glyphs.alarm} {clean(frame.link.trouble, 400)}", look)
        elif snapshot.state == "loading":
            doing = f"{clean(snapshot.doing)} {glyphs.ellipsis}"
            _wrap(cells, doing, style(palette.D, bold=True))
            if snapshot.progress is not None:
                _progress(cells, snapshot.progress, glyphs)
        return cells


def _alarm(cells: Cells, alarm: Alarm, others: int, glyphs: Glyphs) -> None:
    """What and since when on a row of its own colour; what to try on the next."""
    width = cells.size[1]
    grave = alarm.severity == "alarm"
    color = COLORS[alarm.severity]
    look = style(palette.GROUND, True, color) if grave else style(color, bold=True)
    sign = glyphs.lights[alarm.severity]
    since = f" since {alarm.since:,} "
    text = f" {sign} {WORDS[alarm.severity]} {clean(alarm.title, 40)}: {clean(alarm.message, 400)}"
    cells.write(0, 0, " " * width, look)
    cells.write(0, 0, glyphs.cut(text, width - len(since)), look)
    cells.write(0, width - len(since), since, look)
    more = f"+{others} more, ! lists them " if others else "! lists it "
    cells.write(1, width - len(more), more, style(palette.DIM))
    column, room = 3, width - len(more) - 2
    for place, remedy in enumerate(alarm.remedies):
        before = f" {glyphs.dot} " if place else "try: "
        press, does = clean(remedy.press, 40), clean(remedy.does, 100)
        left = room - column - len(before) - len(press) - 1
        # A remedy after the first shows only its key if there is no room for its words.
        if left < len(does) and place:
            does = ""
        if left < -1:
            break
        cells.write(1, column, before, style(palette.DIM))
        column += len(before)
        cells.write(1, column, press, style(palette.D, bold=True))
        column += len(press)
        told = glyphs.cut(f" {does}", left + 1) if does else ""
        cells.write(1, column, told, style(palette.TEXT))
        column += len(told)


def _wrap(cells: Cells, text: str, look: Style) -> None:
    words, row, column = text.split(), 0, 0
    for word in words:
        if column and column + len(word) > cells.size[1]:
            row, column = row + 1, 0
        cells.write(row, column, word, look)
        column += len(word) + 1


def _progress(cells: Cells, progress: float, glyphs: Glyphs) -> None:
    width = cells.size[1]
    done, full = ("━", "─") if glyphs.unicode else ("=", "-")
    reached = round(progress * (width - 6))
    cells.write(1, 0, done * reached, style(palette.D))
    cells.write(1, reached, full * (width - 6 - reached), style(palette.FAINT))
    cells.write(1, width - 5, f"{progress:4.0%}", style(palette.TEXT))
