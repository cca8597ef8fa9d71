"""The modes of the data: G's share of each over the run, and now."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from ganterm.core.findings import Modes, ModeTrail
from ganterm.dashboard import palette
from ganterm.dashboard.draw.bars import against, draw_modes, names
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.chart import plot_columns
from ganterm.dashboard.draw.numbers import short
from ganterm.dashboard.draw.strip import draw_strip, grouped, labels, legend
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.light import modes_are_lost
from ganterm.dashboard.palette import heading, style
from ganterm.dashboard.panels.diagnosed import DiagnosedPanel, missing, say
from ganterm.dashboard.panels.diagnosis import kinds

_NEWEST = 8
"""Columns for the newest share of a row."""
_LABELS = 9
"""Most columns for a row's name."""


class ModesPanel(DiagnosedPanel):
    """A heat strip with a row for each mode; bars where the run keeps no shares over time."""

    def inputs(self, frame: Frame) -> tuple[Hashable, ...]:
        """The diagnosis, the steps that the charts cover, the marks, and whether modes are lost."""
        lost = modes_are_lost(frame.snapshot)
        return (*super().inputs(frame), frame.span, len(frame.marks), lost)

    def draw(self, frame: Frame, width: int, height: int) -> Cells:
        """The number of modes in the title, the strip below, and the steps on the last row."""
        cells = Cells(height, width)
        cells.title("Modes")
        diagnosis = frame.snapshot.diagnosis
        modes, trail = diagnosis.modes, diagnosis.mode_trail
        if modes is None:
            uncountable = diagnosis.readings and "modes" not in diagnosis.measures
            why = "the data have no labels: no modes to count" if uncountable else ""
            say(cells, missing(frame.snapshot, "modes", why))
            return cells
        count, lost = kinds(modes), modes_are_lost(frame.snapshot)
        cells.write(0, 6, count, heading(palette.G))
        note = legend(frame.glyphs, lost) if trail is not None else "relative to the data"
        for text in (note, note.partition(",")[0]):
            if 6 + len(count) + 2 + len(text) <= width:
                cells.write(0, width - len(text), text, heading(palette.DIM))
                break
        if trail is None or not len(trail.steps):
            cells.inset(draw_modes(modes, width, max(0, height - 1), frame.glyphs, lost), 1, 0)
        elif height >= 3:
            _strip(cells, frame, modes, trail)
        return cells


def _strip(cells: Cells, frame: Frame, modes: Modes, trail: ModeTrail) -> None:
    height, width = cells.size
    rows = height - 2
    begins = grouped(np.zeros((1, len(modes.names))), rows)[1]
    row_names = labels(names(modes), begins)
    left = min(_LABELS, max(map(len, row_names))) + 1
    figures = _NEWEST if width >= left + 3 * _NEWEST else 0
    columns = width - left - figures
    if columns < 2:
        return
    axis = frame.history.envelope("elapsed", plot_columns(width, frame.glyphs), frame.span)
    strip, begins = draw_strip(
        trail,
        modes.expected,
        rows,
        columns,
        axis.first,
        axis.last,
        frame.glyphs,
        modes_are_lost(frame.snapshot),
    )
    top = 1 + (rows - strip.size[0]) // 2 if strip.size[0] < rows else 1
    cells.inset(strip, top, left)
    now = against(modes.shares, modes.expected)
    gone = np.logical_not(modes.found)
    gone_color = palette.ALARM if modes_are_lost(frame.snapshot) else palette.DIM
    for row, (name, start, end) in enumerate(
        zip(row_names, begins, [*begins[1:], len(now)], strict=True), top
    ):
        lost = bool(gone[start:end].any())
        color = gone_color if lost else palette.DIM
        cells.write(row, 0, f"{name[: left - 1]:>{left - 1}}", style(color, bold=lost))
        if figures:
            sign = frame.glyphs.lost if lost else " "
            text = f"{sign}{min(999.0, 100 * now[start:end].min()):4.0f} %"
            cells.write(row, width - figures + 1, text[: figures - 1], style(color, bold=lost))
    _steps(cells, frame, left, columns, axis.first, axis.last, axis.newest)


def _steps(
    cells: Cells, frame: Frame, left: int, columns: int, first: int, last: int, newest: int
) -> None:
    """Write the first and the newest step below the strip, and the marks of alarms."""
    row, steps = cells.size[0] - 1, max(1, last - first + 1)

    def place(step: int) -> int:
        return left + int((step - first) / steps * columns)

    begin, end = short(first), short(newest)
    for step, sign in frame.marks:
        if sign in palette.MARKS and first <= step <= last:
            cells.write(row, place(step), sign, style(palette.MARKS[sign], bold=True))
    cells.write(row, left, begin, style(palette.DIM))
    column = max(left + len(begin) + 1, place(newest) + 1 - len(end))
    if newest > first:
        cells.write(row, column, end, style(palette.DIM))
