"""Diagnosis on the overview: the light, diversity, modes, and what else there is room for."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from ganterm.core.findings import Diagnosis, Modes, Reading
from ganterm.core.text import clean
from ganterm.dashboard import palette
from ganterm.dashboard.draw.bars import bar, draw_modes, names
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.draw.numbers import reading as shown
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.light import COLORS, Light, health, modes_are_lost
from ganterm.dashboard.palette import heading, style
from ganterm.dashboard.panels.diagnosed import DiagnosedPanel

_LABEL = 11
"""Columns for the name of a figure, at the left."""
_FIGURES = 14
"""Columns for a figure, at the right."""
_ROWS_OF_THEIR_OWN = ("diversity_pixels", "modes")
"""Readings that have a row each, so the table of the others leaves them out."""
_READING = 30
"""Columns that one of the other readings needs, with the gap to its neighbour."""
_BARS = 3
"""Rows that upright bars get where there is room for more than they need."""


def kinds(modes: Modes) -> str:
    """How many modes G makes, as in "8 of 10 digits"."""
    return f"{int(modes.found.sum()):,} of {len(modes.names):,} {modes.kinds}"


def missing(modes: Modes, lost: bool, room: int, glyphs: Glyphs) -> str:
    """The names of the modes that G does not make, in at most ``room`` characters.

    Where not all names fit, their number follows; "" where not even one fits. ``lost``: an alarm
    calls these modes lost.
    """
    gone = [name for name, found in zip(names(modes), modes.found, strict=True) if not found]
    text, left = "lost:" if lost else "not found:", len(gone)
    for name in gone:
        more = f" {glyphs.ellipsis} {left - 1:,} more" if left > 1 else ""
        if len(text) + 1 + len(name) + len(more) > room:
            break
        text, left = f"{text} {name}", left - 1
    if left == len(gone):
        return ""
    return f"{text} {glyphs.ellipsis} {left:,} more" if left else text


class DiagnosisPanel(DiagnosedPanel):
    """Two lines on a small terminal, bars and figures on a larger one."""

    def inputs(self, frame: Frame) -> tuple[Hashable, ...]:
        """The diagnosis, and the alarms."""
        snapshot = frame.snapshot
        return (*super().inputs(frame), health(snapshot), modes_are_lost(snapshot), snapshot.info)

    def draw(self, frame: Frame, width: int, height: int) -> Cells:
        """The light first; what has no room is left out."""
        cells = Cells(height, width)
        diagnosis, light = frame.snapshot.diagnosis, health(frame.snapshot)
        lost = modes_are_lost(frame.snapshot)
        if height < 4:
            _lines(cells, diagnosis, light, lost, frame.glyphs)
        else:
            _title(cells, diagnosis, light, frame.glyphs)
            _body(cells, diagnosis, lost, frame.glyphs)
        return cells


def _lines(cells: Cells, diagnosis: Diagnosis, light: Light, lost: bool, glyphs: Glyphs) -> None:
    """The light, the number of modes and the diversity on one row; the modes' bars below."""
    height, width = cells.size
    modes, diversity = diagnosis.modes, _diversity(diagnosis)
    count = "" if modes is None else f"  {kinds(modes)}"
    percent = "" if diversity is None else f"  div {diversity.value:4.0f} %"
    # Figures matter more than long words. Diversity goes where not even the short word leaves room.
    room = width - 2 - len(count)
    if len(light.short) + len(percent) > room:
        percent = ""
    words = light.words if len(light.words) + len(percent) <= room else light.short
    column = 0
    for text, look in (
        (f"{glyphs.lights[light.level]} {words}", style(COLORS[light.level], bold=True)),
        (count, style(palette.TEXT)),
        (percent, style(palette.CHANGE)),
    ):
        cells.write(0, column, text, look)
        column += len(text)
    if height > 1 and modes is not None:
        cells.inset(draw_modes(modes, width, height - 1, glyphs, lost), 1, 0)


def _title(cells: Cells, diagnosis: Diagnosis, light: Light, glyphs: Glyphs) -> None:
    width = cells.size[1]
    cells.title("Diagnosis")
    text = glyphs.cut(f"{glyphs.lights[light.level]} {light.words}", width - 11)
    cells.write(0, 11, text, heading(COLORS[light.level], bold=True))
    if diagnosis.readings:
        at = f"at {diagnosis.step:,}"
        if 11 + len(text) + 2 + len(at) <= width:
            cells.write(0, width - len(at), at, heading(palette.DIM))


def _body(cells: Cells, diagnosis: Diagnosis, lost: bool, glyphs: Glyphs) -> None:
    height, width = cells.size
    row = 1
    diversity = _diversity(diagnosis)
    if diversity is not None:
        value, step = diversity
        room = max(0, width - _LABEL - _FIGURES - 1)
        cells.write(row, 0, "diversity", style(palette.DIM))
        cells.write(row, _LABEL, bar(value / 100, room, glyphs), style(palette.CHANGE))
        if value < 100 and room:
            cells.write(row, _LABEL + room - 1, glyphs.middle, style(palette.FAINT))
        figures = f"{value:4.0f} % of real"
        if step < diagnosis.step:
            figures = f"{value:4.0f} % at {step:,}"
        cells.write(row, width - _FIGURES, figures[:_FIGURES], style(palette.CHANGE))
        row += 1
    modes = diagnosis.modes
    if modes is not None and row < height:
        cells.write(row, 0, "modes", style(palette.DIM))
        count = kinds(modes)
        cells.write(row, _LABEL, count, style(palette.TEXT, bold=True))
        column = _LABEL + len(count) + 2
        stale = f"at {modes.step:,}" if modes.step < diagnosis.step else ""
        cells.write(row, width - len(stale), stale, style(palette.DIM))
        gone = missing(modes, lost, width - column - len(stale) - 1, glyphs)
        look = style(palette.ALARM, bold=True) if lost else style(palette.DIM)
        cells.write(row, column, gone, look)
        row += 1
        left = height - row
        few = -(-len(modes.names) // 2)
        rows = left if left <= few + 1 else min(left, max(few, _BARS))
        cells.inset(draw_modes(modes, width, rows, glyphs, lost), row, 0)
        row += rows
    _others(cells, diagnosis, row)


def _others(cells: Cells, diagnosis: Diagnosis, row: int) -> None:
    """The other readings in columns from ``row`` on, as many as there is room for."""
    height, width = cells.size
    across = max(1, (width + 2) // _READING)
    each = (width + 2) // across
    others = [name for name in diagnosis.readings if name not in _ROWS_OF_THEIR_OWN]
    for place, name in enumerate(others[: max(0, across * (height - row))]):
        at, left = row + place // across, place % across * each
        measure, reading = diagnosis.measures[name], diagnosis.readings[name]
        figures = f"{shown(reading.value):>7} {measure.unit:<4}"[:12]
        room = each - 2 - len(figures) - 1
        cells.write(at, left, clean(measure.title, 40)[:room], style(palette.DIM))
        stale = reading.step < diagnosis.step
        look = style(palette.DIM if stale else palette.TEXT)
        cells.write(at, left + each - 2 - len(figures), figures, look)


def _diversity(diagnosis: Diagnosis) -> Reading | None:
    reading = diagnosis.readings.get("diversity_pixels")
    return reading if reading is not None and np.isfinite(reading.value) else None
