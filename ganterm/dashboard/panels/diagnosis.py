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
from ganterm.dashboard.light import COLORS, Light, called_lost, health
from ganterm.dashboard.palette import heading, style
from ganterm.dashboard.panels.diagnosed import DiagnosedPanel

_LABEL = 11
_FIGURES = 14
_TOLD_APART = ("diversity_pixels", "modes")
_READING = 30
_BARS = 3


def kinds(modes: Modes) -> str:
    """How many of them: "8 of 10 digits"."""
    return f"{int(modes.found.sum()):,} of {len(modes.names):,} {modes.kinds}"


def missing(modes: Modes, lost: bool, room: int, glyphs: Glyphs) -> str:
    """The names of those not found, as many as have room, and how many more there are.

    They are called ``lost`` where an alarm says so.
    """
    gone = [name for name, found in zip(names(modes), modes.found, strict=True) if not found]
    told, left = "lost:" if lost else "not found:", len(gone)
    for name in gone:
        more = f" {glyphs.ellipsis} {left - 1:,} more" if left > 1 else ""
        if len(told) + 1 + len(name) + len(more) > room:
            break
        told, left = f"{told} {name}", left - 1
    if left == len(gone):
        return ""
    return f"{told} {glyphs.ellipsis} {left:,} more" if left else told


class DiagnosisPanel(DiagnosedPanel):
    """Two lines on a small terminal, bars and figures on a larger one."""

    def inputs(self, frame: Frame) -> tuple[Hashable, ...]:
        """The diagnosis, and the alarms."""
        known = frame.snapshot
        return (*super().inputs(frame), health(known), called_lost(known), known.info)

    def draw(self, frame: Frame, width: int, height: int) -> Cells:
        """The light first; what has no room is left out."""
        cells = Cells(height, width)
        found, light = frame.snapshot.diagnosis, health(frame.snapshot)
        lost = called_lost(frame.snapshot)
        if height < 4:
            _lines(cells, found, light, lost, frame.glyphs)
        else:
            _title(cells, found, light, frame.glyphs)
            _body(cells, found, lost, frame.glyphs)
        return cells


def _lines(cells: Cells, found: Diagnosis, light: Light, lost: bool, glyphs: Glyphs) -> None:
    """The light, then how many modes; their bars below."""
    height, width = cells.size
    counted = "" if found.modes is None else f"  {kinds(found.modes)}"
    sign = glyphs.lights[light.level]
    words = light.words if len(light.words) + len(counted) + 2 <= width else light.short
    cells.write(0, 0, f"{sign} {words}", style(COLORS[light.level], bold=True))
    column = len(words) + 2
    cells.write(0, column, counted, style(palette.TEXT))
    column += len(counted)
    told = _diversity(found)
    if told is not None:
        text = f"  div {told[0]:4.0f} %"
        if column + len(text) <= width:
            cells.write(0, column, text, style(palette.CHANGE))
    if height > 1 and found.modes is not None:
        cells.inset(draw_modes(found.modes, width, height - 1, glyphs, lost), 1, 0)


def _title(cells: Cells, found: Diagnosis, light: Light, glyphs: Glyphs) -> None:
    width = cells.size[1]
    cells.title("Diagnosis")
    text = glyphs.cut(f"{glyphs.lights[light.level]} {light.words}", width - 11)
    cells.write(0, 11, text, heading(COLORS[light.level], bold=True))
    if found.readings:
        told = f"at {found.step:,}"
        if 11 + len(text) + 2 + len(told) <= width:
            cells.write(0, width - len(told), told, heading(palette.DIM))


def _body(cells: Cells, found: Diagnosis, lost: bool, glyphs: Glyphs) -> None:
    height, width = cells.size
    row = 1
    told = _diversity(found)
    if told is not None:
        value, step = told
        room = max(0, width - _LABEL - _FIGURES - 1)
        cells.write(row, 0, "diversity", style(palette.DIM))
        cells.write(row, _LABEL, bar(value / 100, room, glyphs), style(palette.CHANGE))
        if value < 100 and room:
            cells.write(row, _LABEL + room - 1, glyphs.middle, style(palette.FAINT))
        figures = f"{value:4.0f} % of real"
        if step < found.step:
            figures = f"{value:4.0f} % at {step:,}"
        cells.write(row, width - _FIGURES, figures[:_FIGURES], style(palette.CHANGE))
        row += 1
    modes = found.modes
    if modes is not None and row < height:
        cells.write(row, 0, "modes", style(palette.DIM))
        counted = f"{kinds(modes)}"
        cells.write(row, _LABEL, counted, style(palette.TEXT, bold=True))
        column = _LABEL + len(counted) + 2
        stale = f"at {modes.step:,}" if modes.step < found.step else ""
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
    _others(cells, found, row)


def _others(cells: Cells, found: Diagnosis, row: int) -> None:
    """The other readings in columns, as many as there is room for."""
    height, width = cells.size
    across = max(1, (width + 2) // _READING)
    each = (width + 2) // across
    others = [name for name in found.readings if name not in _TOLD_APART]
    for place, name in enumerate(others[: max(0, across * (height - row))]):
        at, left = row + place // across, place % across * each
        measure, reading = found.measures[name], found.readings[name]
        figures = f"{shown(reading.value):>7} {measure.unit:<4}"[:12]
        room = each - 2 - len(figures) - 1
        cells.write(at, left, clean(measure.title, 40)[:room], style(palette.DIM))
        stale = reading.step < found.step
        look = style(palette.DIM if stale else palette.TEXT)
        cells.write(at, left + each - 2 - len(figures), figures, look)


def _diversity(found: Diagnosis) -> Reading | None:
    reading = found.readings.get("diversity_pixels")
    return reading if reading is not None and np.isfinite(reading.value) else None
