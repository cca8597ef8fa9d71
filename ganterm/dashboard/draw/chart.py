"""A line chart in braille dots: a bold smoothed line over the faint band of the raw values.

The band runs from the smallest to the largest value of each dot column, so no spike is lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ganterm.core.history import Envelope
from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.draw.looks import number_of
from ganterm.dashboard.draw.numbers import measured, short, tick
from ganterm.dashboard.draw.traces import HIGH, LOW, SMOOTH, reach, scaled, traced
from ganterm.dashboard.palette import heading, style

LABELS = 6
"""Columns left of the plot, for the axis labels."""
ENDS = 2
"""Columns right of the plot, for the letters at the lines' ends."""
_DOTS = np.array([0x01, 0x02, 0x04, 0x40, 0x08, 0x10, 0x20, 0x80], np.uint32)
# The braille character of each byte, whose bits are a cell's dots, column by column from the top.
_BRAILLE = (
    (0x2800 + (np.arange(256)[:, None] >> np.arange(8) & 1) @ _DOTS).astype("<u4").view("<U1")
)
_FIRST_BITS = np.array([0, 1, 3, 7, 15], np.uint8)


@dataclass(frozen=True)
class ChartLine:
    """One series of a chart: its letter at the line's end, its words in the title, its colour."""

    letter: str
    label: str
    color: str
    newest: float


@dataclass(frozen=True)
class Chart:
    """All that a chart shows.

    ``envelope`` has a row a line, of as many columns as ``plot_columns``. ``bounds`` are in the
    scale's own units (log10 where ``log``), None where they follow the data. A guide is a value
    and a colour; those beyond the bounds are left out.
    """

    title: str
    lines: Sequence[ChartLine]
    envelope: Envelope
    bounds: tuple[float, float] | None = None
    log: bool = False
    guides: Sequence[tuple[float, str]] = ()
    marks: Sequence[tuple[int, str]] = ()
    note: str = ""
    glyphs: Glyphs = field(default_factory=Glyphs)


def plot_columns(width: int, glyphs: Glyphs) -> int:
    """How many values a line of a chart ``width`` cells wide has room for."""
    cells = max(1, width - LABELS - ENDS)
    return 2 * cells if glyphs.unicode else cells


class Plotter:
    """Draws a chart again and again; keeps the axis while it fits, and what lies below the lines.

    ``bounds`` are those of the last drawing.
    """

    def __init__(self) -> None:
        self.bounds: tuple[float, float] | None = None
        self._inputs: object = None
        self._backdrop: _Backdrop | None = None

    def draw(self, chart: Chart, width: int, height: int) -> Cells:
        """The chart on ``width`` x ``height`` cells: a title, the plot, and the steps below."""
        rows, columns = height - 1 - _axis_rows(height), width - LABELS - ENDS
        told = _newest(chart)
        if rows < 1 or columns < 4:
            cells = Cells(height, width)
            _write_title(cells, chart, told)
            _write_newest(cells, chart, told)
            return cells
        traces = traced(chart.envelope, chart.log)
        self.bounds = chart.bounds or reach(traces, chart.log, self.bounds)
        scale = _Scale(self.bounds, rows, columns, *((4, 2) if chart.glyphs.unicode else (2, 1)))
        backdrop = self._backdrop_of(chart, scale, told, width, height)
        cells = backdrop.cells.copy()
        _write_newest(cells, chart, told)
        places = scale.places(traces)
        _draw_lines(cells, places, chart, backdrop)
        _write_ends(cells, chart, places[:, SMOOTH], scale)
        if _axis_rows(height):
            _write_steps(cells, chart.envelope, columns)
        return cells

    def _backdrop_of(
        self, chart: Chart, scale: _Scale, told: Sequence[str], width: int, height: int
    ) -> _Backdrop:
        span = chart.envelope.first, chart.envelope.last
        places = (scale, span, chart.glyphs, width, height, [len(text) for text in told])
        inputs = (places, chart.title, chart.note, tuple(chart.guides), tuple(chart.marks))
        if self._backdrop is None or inputs != self._inputs:
            self._inputs = inputs
            self._backdrop = _Backdrop(chart, scale, told, width, height)
        return self._backdrop


def _axis_rows(height: int) -> int:
    """Rows for the steps below the plot, where there is room for them."""
    return int(height >= 6)


@dataclass(frozen=True)
class _Scale:
    """Where values stand on ``rows`` x ``columns`` cells."""

    bounds: tuple[float, float]
    rows: int
    columns: int
    dots_down: int
    dots_across: int

    @property
    def height(self) -> int:
        return self.rows * self.dots_down

    def row(self, value: float) -> int:
        """The cell row of a value in the scale's units."""
        return int(self.places(np.array(value))) // self.dots_down

    def places(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Dot rows from the top; values outside the bounds go to the edge, NaN stays."""
        low, high = self.bounds
        places = np.rint((high - values) * ((self.height - 1) / (high - low)))
        return np.minimum(np.maximum(places, 0), self.height - 1)


class _Backdrop:
    """What lies below the lines: title, guides, marks, and the labels of both axes.

    ``free`` is False where the sign of a mark stands, which no line covers.
    """

    def __init__(
        self, chart: Chart, scale: _Scale, told: Sequence[str], width: int, height: int
    ) -> None:
        self.scale = scale
        self.cells = Cells(height, width)
        self.free = np.ones((scale.rows, scale.columns), bool)
        _write_title(self.cells, chart, told)
        self._draw_guides(chart)
        self._draw_marks(chart)
        self._write_labels(chart)
        if _axis_rows(height):
            self.cells.write(height - 1, LABELS, short(chart.envelope.first), style(palette.DIM))

    def _draw_guides(self, chart: Chart) -> None:
        low, high = self.scale.bounds
        for value, color in chart.guides:
            place = float(scaled(np.array(value), chart.log))
            if low <= place <= high:
                guide = chart.glyphs.guide * self.scale.columns
                self.cells.write(1 + self.scale.row(place), LABELS, guide, style(color))

    def _draw_marks(self, chart: Chart) -> None:
        span = chart.envelope
        covered = max(1, span.last - span.first + 1)
        signs: dict[int, list[str]] = {}
        for step, sign in chart.marks:
            if span.first <= step <= span.last:
                column = int((step - span.first) / covered * self.scale.columns)
                here = signs.setdefault(column, [])
                if sign not in here:
                    here.append(sign)
        for column, here in signs.items():
            for row in range(self.scale.rows):
                told = row < len(here)
                text = here[row] if told else chart.glyphs.marker
                color = palette.MARKS.get(here[min(row, len(here) - 1)], palette.CHANGE)
                self.cells.write(1 + row, LABELS + column, text, style(color, bold=told))
                self.free[row, column] = not told

    def _write_labels(self, chart: Chart) -> None:
        taken: set[int] = set()
        places = ticks(self.scale.bounds, chart.log)
        for value in sorted(places, key=lambda tick: tick not in (places[0], places[-1])):
            row = 1 + self.scale.row(value)
            if not taken & {row - 1, row, row + 1}:
                taken.add(row)
                shown = 10**value if chart.log else value
                self.cells.write(row, 0, f"{tick(shown):>{LABELS - 1}}", style(palette.DIM))


def ticks(bounds: tuple[float, float], log: bool) -> list[float]:
    """Where the axis is labelled, in the scale's units: both ends and what is round between."""
    low, high = bounds
    if log:
        return [float(power) for power in range(round(low), round(high) + 1)]
    return [low, (low + high) / 2, high]


def _draw_lines(
    cells: Cells, places: NDArray[np.float64], chart: Chart, backdrop: _Backdrop
) -> None:
    """Every band, then every line over them, joined with the lines that it crosses."""
    scale, count = backdrop.scale, len(places)
    middle = places[:, SMOOTH]
    before = np.concatenate([middle[:, :1], middle[:, :-1]], axis=1)
    before = np.where(np.isfinite(before), before, middle)
    tops = np.where(before < middle, before + 1, middle)
    bottoms = np.where(before > middle, before - 1, middle)
    layers = _bits(
        np.concatenate([places[:, HIGH], tops]), np.concatenate([places[:, LOW], bottoms]), scale
    )
    seen = layers > 0
    np.bitwise_or.accumulate(layers[count:], axis=0, out=layers[count:])
    numbers = np.arange(1, 2 * count + 1)[:, None, None]
    highest = np.max(seen * numbers, axis=0)
    down, right = np.nonzero((highest > 0) & backdrop.free)
    chosen = highest[down, right] - 1
    colors = [line.color for line in chart.lines]
    colors = [*(palette.BANDS.get(color, palette.FAINT) for color in colors), *colors]
    looks = np.array([number_of(style(color)) for color in colors], np.int32)
    plot = down + 1, right + LABELS
    cells.styles[plot] = looks[chosen]
    if chart.glyphs.unicode:
        cells.chars[plot] = _BRAILLE[layers[chosen, down, right]]
    else:
        letters = [*"." * count, *(line.letter.lower() for line in chart.lines)]
        cells.chars[plot] = np.array(letters, "<U1")[chosen]


def _bits(
    top: NDArray[np.float64], bottom: NDArray[np.float64], scale: _Scale
) -> NDArray[np.uint8]:
    """Each cell's dots between ``top`` and ``bottom`` (layers, dot columns); NaN gives none."""
    empty = np.isnan(top + bottom)
    first = np.where(empty, scale.height, top).astype(np.int16)[:, None]
    after = np.where(empty, 0, bottom + 1).astype(np.int16)[:, None]
    above = np.arange(0, scale.height, scale.dots_down, dtype=np.int16)[:, None]
    first = np.minimum(np.maximum(first - above, 0), scale.dots_down)
    after = np.minimum(np.maximum(after - above, 0), scale.dots_down)
    dots = _FIRST_BITS[after] & ~_FIRST_BITS[first]
    cells: NDArray[np.uint8] = (
        dots if scale.dots_across == 1 else dots[:, :, ::2] | dots[:, :, 1::2] << 4
    )
    return cells


def _newest(chart: Chart) -> list[str]:
    """What the title row tells of each line."""
    return [f" {line.label} {measured(line.newest):>6}" for line in chart.lines]


def _write_title(cells: Cells, chart: Chart, told: Sequence[str]) -> None:
    """The title, and the note if there is room before what is ``told`` at its end."""
    cells.title(chart.title)
    room = cells.size[1] - sum(map(len, told)) - len(chart.title) - 2
    if chart.note and len(chart.note) <= room:
        cells.write(0, len(chart.title) + 1, chart.note, heading(palette.DIM))


def _write_newest(cells: Cells, chart: Chart, told: Sequence[str]) -> None:
    column = cells.size[1] - sum(map(len, told))
    for line, text in zip(chart.lines, told, strict=True):
        cells.write(0, column, text, heading(line.color))
        column += len(text)


def _write_ends(cells: Cells, chart: Chart, middles: NDArray[np.float64], scale: _Scale) -> None:
    """Each line's letter beside its end, so that no line is told by its colour alone."""
    taken: dict[int, int] = {}
    for line, middle in zip(chart.lines, middles, strict=True):
        drawn = np.flatnonzero(np.isfinite(middle))
        if len(drawn):
            row = 1 + int(middle[drawn[-1]]) // scale.dots_down
            end = LABELS + int(drawn[-1]) // scale.dots_across + 1 + taken.get(row, 0)
            cells.write(row, end, line.letter, style(line.color, bold=True))
            taken[row] = taken.get(row, 0) + 1


def _write_steps(cells: Cells, span: Envelope, columns: int) -> None:
    """The newest step, below the lines' end."""
    if span.newest > span.first:
        newest = short(span.newest)
        covered = max(1, span.last - span.first + 1)
        end = LABELS + math.ceil((span.newest - span.first + 1) / covered * columns)
        column = max(LABELS + len(short(span.first)) + 1, end - len(newest))
        cells.write(cells.size[0] - 1, column, newest, style(palette.DIM))
