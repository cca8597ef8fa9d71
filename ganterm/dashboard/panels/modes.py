"""The modes over time, and how G stands with each of them now."""

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
from ganterm.dashboard.light import called_lost
from ganterm.dashboard.palette import heading, style
from ganterm.dashboard.panels.diagnosed import DiagnosedPanel, missing, say
from ganterm.dashboard.panels.diagnosis import kinds

_NEWEST = 8
_LABELS = 9


class ModesPanel(DiagnosedPanel):
    """A heat strip, a row a mode; the bars alone where there are too many to keep over time."""

    def inputs(self, frame: Frame) -> tuple[Hashable, ...]:
        """The diagnosis, the stretch of steps, the marks, and whether modes are called lost."""
        lost = called_lost(frame.snapshot)
        return (*super().inputs(frame), frame.span, len(frame.marks), lost)

    def draw(self, frame: Frame, width: int, height: int) -> Cells:
        """How many are found in the title, the strip below, the steps on the last row."""
        cells = Cells(height, width)
        cells.title("Modes")
        found = frame.snapshot.diagnosis
        modes, trail = found.modes, found.mode_trail
        if modes is None:
            known = "modes" in found.measures
            why = (
                "" if known or not found.readings else "the data have no labels: no modes to count"
            )
            say(cells, missing(frame.snapshot, "modes", why))
            return cells
        counted, lost = kinds(modes), called_lost(frame.snapshot)
        cells.write(0, 6, counted, heading(palette.G))
        whole = legend(frame.glyphs, lost) if trail is not None else "share against the data's,"
        for told in (whole, whole.partition(",")[0]):
            if 6 + len(counted) + 2 + len(told) <= width:
                cells.write(0, width - len(told), told, heading(palette.DIM))
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
    told = labels(names(modes), begins)
    left = min(_LABELS, max(map(len, told))) + 1
    figures = _NEWEST if width >= left + 3 * _NEWEST else 0
    columns = width - left - figures
    if columns < 2:
        return
    axis = frame.history.envelope("elapsed", plot_columns(width, frame.glyphs), frame.span)
    drawn, begins = draw_strip(
        trail,
        modes.expected,
        rows,
        columns,
        axis.first,
        axis.last,
        frame.glyphs,
        called_lost(frame.snapshot),
    )
    top = 1 + (rows - drawn.size[0]) // 2 if drawn.size[0] < rows else 1
    cells.inset(drawn, top, left)
    now = against(modes.shares, modes.expected)
    gone = np.logical_not(modes.found)
    loud = palette.ALARM if called_lost(frame.snapshot) else palette.DIM
    for row, (name, start, end) in enumerate(
        zip(told, begins, [*begins[1:], len(now)], strict=True), top
    ):
        lost = bool(gone[start:end].any())
        color = loud if lost else palette.DIM
        cells.write(row, 0, f"{name[: left - 1]:>{left - 1}}", style(color, bold=lost))
        if figures:
            sign = frame.glyphs.lost if lost else " "
            text = f"{sign}{min(999.0, 100 * now[start:end].min()):4.0f} %"
            cells.write(row, width - figures + 1, text[: figures - 1], style(color, bold=lost))
    _steps(cells, frame, left, columns, axis.first, axis.last, axis.newest)


def _steps(
    cells: Cells, frame: Frame, left: int, columns: int, first: int, last: int, newest: int
) -> None:
    """The first and the newest step below the strip, and the alarms between them."""
    row, covered = cells.size[0] - 1, max(1, last - first + 1)

    def place(step: int) -> int:
        return left + int((step - first) / covered * columns)

    begin, end = short(first), short(newest)
    for step, sign in frame.marks:
        if sign in palette.MARKS and first <= step <= last:
            cells.write(row, place(step), sign, style(palette.MARKS[sign], bold=True))
    cells.write(row, left, begin, style(palette.DIM))
    column = max(left + len(begin) + 1, place(newest) + 1 - len(end))
    if newest > first:
        cells.write(row, column, end, style(palette.DIM))
