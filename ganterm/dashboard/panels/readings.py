"""The table of all readings."""

from __future__ import annotations

from textwrap import wrap

from ganterm.core.findings import Diagnosis
from ganterm.core.text import clean
from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.draw.numbers import reading as shown
from ganterm.dashboard.draw.numbers import short
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.palette import heading, style
from ganterm.dashboard.panels.diagnosed import DiagnosedPanel, missing, say

# Columns of each part of a row. A step has its short form where a title would not have room else.
_VALUE = 8
_UNIT = 5
_STEP = 10
_SHORT_STEP = 5
_TITLE = 26
_LEAST_TITLE = 14


class ReadingsPanel(DiagnosedPanel):
    """Title, value, unit and step of every reading, in pages if not all fit."""

    page = 0

    def turn(self, direction: int) -> None:
        """Show the next (+1) or the previous (-1) page, in a circle."""
        self.page += direction
        if self._frame is not None:
            self.forget()
            self.show(self._frame)
            self.refresh()

    def draw(self, frame: Frame, width: int, height: int) -> Cells:
        """The readings in the order of their measures, and the note below."""
        cells = Cells(height, width)
        cells.title("Readings")
        diagnosis = frame.snapshot.diagnosis
        names = [name for name in diagnosis.measures if name in diagnosis.readings]
        if not names:
            say(cells, missing(frame.snapshot, "readings"))
            return cells
        note = wrap(clean(diagnosis.note, 300), max(1, width)) if height > 12 else []
        rows = max(1, height - 1 - len(note) - bool(note))
        pages = -(-len(names) // rows)
        page = self.page % pages
        head = f"at {diagnosis.step:,}  cost {100 * diagnosis.cost:.1f} %"
        if pages > 1:
            head = f"{page + 1}/{pages} pgdn  at {diagnosis.step:,}"
        if len(head) + 10 <= width:
            cells.write(0, width - len(head), head, heading(palette.DIM))
        for row, name in enumerate(names[page * rows : (page + 1) * rows], 1):
            _row(cells, row, diagnosis, name, frame.glyphs)
        for row, line in enumerate(note, height - len(note)):
            cells.write(row, 0, line, style(palette.DIM))
        return cells


def _row(cells: Cells, row: int, diagnosis: Diagnosis, name: str, glyphs: Glyphs) -> None:
    width = cells.size[1]
    measure, reading = diagnosis.measures[name], diagnosis.readings[name]
    stale = reading.step < diagnosis.step
    at, place = "", 0
    steps = ((f"{reading.step:,}", _STEP, _TITLE), (short(reading.step), _SHORT_STEP, _LEAST_TITLE))
    for step, columns, title in steps:
        if width - _VALUE - _UNIT - columns - 3 >= title:
            at, place = (f"at {step}" if stale else ""), columns + 3
            break
    room = width - _VALUE - _UNIT - place
    look = style(palette.DIM if stale else palette.TEXT)
    cells.write(row, 0, glyphs.cut(clean(measure.title, 60), room - 1), style(palette.DIM))
    cells.write(row, room, f"{shown(reading.value):>{_VALUE}}", look)
    cells.write(row, room + _VALUE, f" {measure.unit}"[:_UNIT], style(palette.DIM))
    cells.write(row, width - len(at), at, style(palette.DIM))
