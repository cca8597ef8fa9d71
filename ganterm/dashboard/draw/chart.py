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
    """One line of a chart: the letter at its end, its label in the title, its colour and its
    newest value."""

    letter: str
    label: str
    color: str
    newest: float


@dataclass(frozen=True)
class Chart:
    """The contents of a chart.

    ``envelope`` has a row for each line and ``plot_columns`` columns. ``bounds`` are in the
    scale's own units (log10 where ``log``), None where they follow the data. A guide is a value
    and a colour; guides beyond the bounds are left out. A mark is a step and a sign.
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
    """The number of values that a line has in a chart ``width`` cells wide."""
    cells = max(1, width - LABELS - ENDS)
    return 2 * cells if glyphs.unicode else cells


class Plotter:
    """Draws one chart repeatedly; keeps the axis while the data fit, and the parts that stay equal.

    ``bounds`` are those of the last drawing, None before it.
    """

    def __init__(self) -> None:
        self.bounds: tuple[float, float] | None = None
        self._inputs: object = None
        self._backdrop: _Backdrop | None = None

    def draw(self, chart: Chart, width: int, height: int) -> Cells:
        """The chart on ``width`` x ``height`` cells: a title, the plot, and the steps below."""
        rows, columns = height - 1 - _axis_rows(height), width - LABELS - ENDS
        newest = _newest(chart)
        if rows < 1 or columns < 4:
            cells = Cells(height, width)
            _write_title(cells, chart, newest)
            _write_newest(cells, chart, newest)
            return cells
        traces = traced(chart.envelope, chart.log)
        self.bounds = chart.bounds or reach(traces, chart.log, self.bounds)
        scale = _Scale(self.bounds, rows, columns, *((4, 2) if chart.glyphs.unicode else (2, 1)))
        backdrop = self._backdrop_of(chart, scale, newest, width, height)
        cells = backdrop.cells.copy()
        _write_newest(cells, chart, newest)
        places = scale.places(traces)
        _draw_lines(cells, places, chart, backdrop)
        _write_ends(cells, chart, places[:, SMOOTH], scale)
        if _axis_rows(height):
            _write_steps(cells, chart.envelope, columns)
        return cells

    def _backdrop_of(
        self, chart: Chart, scale: _Scale, newest: Sequence[str], width: int, height: int
    ) -> _Backdrop:
        span = chart.envelope.first, chart.envelope.last
        places = (scale, span, chart.glyphs, width, height, [len(text) for text in newest])
        inputs = (places, chart.title, chart.note, tuple(chart.guides), tuple(chart.marks))
        if self._backdrop is None or inputs != self._inputs:
            self._inputs = inputs
            self._backdrop = _Backdrop(chart, scale, newest, width, height)
        return self._backdrop


def _axis_rows(height: int) -> int:
    """Rows for the steps below the plot: one in a chart of at least 6 rows, else none."""
    return int(height >= 6)


@dataclass(frozen=True)
class _Scale:
    """The mapping from values to dot rows, on ``rows`` x ``columns`` cells."""

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
        """Dot rows from the top; values outside the bounds lie on the edge, NaN stays NaN."""
        low, high = self.bounds
        places = np.rint((high - values) * ((self.height - 1) / (high - low)))
        return np.minimum(np.maximum(places, 0), self.height - 1)


class _Backdrop:
    """The parts of a chart behind its lines: title, guides, marks and the labels of both axes.

    ``free`` is False at the signs of marks, which no line may cover.
    """

    def __init__(
        self, chart: Chart, scale: _Scale, newest: Sequence[str], width: int, height: int
    ) -> None:
        self.scale = scale
        self.cells = Cells(height, width)
        self.free = np.ones((scale.rows, scale.columns), bool)
        _write_title(self.cells, chart, newest)
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
        steps = max(1, span.last - span.first + 1)
        signs: dict[int, list[str]] = {}
        for step, sign in chart.marks:
            if span.first <= step <= span.last:
                column = int((step - span.first) / steps * self.scale.columns)
                here = signs.setdefault(column, [])
                if sign not in here:
                    here.append(sign)
        for column, here in signs.items():
            for row in range(self.scale.rows):
                is_sign = row < len(here)
                text = here[row] if is_sign else chart.glyphs.marker
                color = palette.MARKS.get(here[min(row, len(here) - 1)], palette.CHANGE)
                self.cells.write(1 + row, LABELS + column, text, style(color, bold=is_sign))
                self.free[row, column] = not is_sign

    def _write_labels(self, chart: Chart) -> None:
        """Label the ends of the axis, then the ticks between that leave a blank row around them."""
        rows: set[int] = set()
        places = ticks(self.scale.bounds, chart.log)
        for place in sorted(places, key=lambda place: place not in (places[0], places[-1])):
            row = 1 + self.scale.row(place)
            if not rows & {row - 1, row, row + 1}:
                rows.add(row)
                value = 10**place if chart.log else place
                self.cells.write(row, 0, f"{tick(value):>{LABELS - 1}}", style(palette.DIM))


def ticks(bounds: tuple[float, float], log: bool) -> list[float]:
    """The places to label on an axis, in the scale's units: both ends, and round values between."""
    low, high = bounds
    if log:
        return [float(power) for power in range(round(low), round(high) + 1)]
    return [low, (low + high) / 2, high]


def _draw_lines(
    cells: Cells, places: NDArray[np.float64], chart: Chart, backdrop: _Backdrop
) -> None:
    """Draw every band, then every line over the bands; where lines cross, their dots join."""
    scale, count = backdrop.scale, len(places)
    middle = places[:, SMOOTH]
    before = np.concatenate([middle[:, :1], middle[:, :-1]], axis=1)
    before = np.where(np.isfinite(before), before, middle)
    tops = np.where(before < middle, before + 1, middle)
    bottoms = np.where(before > middle, before - 1, middle)
    layers = _bits(
        np.concatenate([places[:, HIGH], tops]), np.concatenate([places[:, LOW], bottoms]), scale
    )
    has_dots = layers > 0
    np.bitwise_or.accumulate(layers[count:], axis=0, out=layers[count:])
    numbers = np.arange(1, 2 * count + 1)[:, None, None]
    topmost = np.max(has_dots * numbers, axis=0)
    down, right = np.nonzero((topmost > 0) & backdrop.free)
    layer = topmost[down, right] - 1
    colors = [line.color for line in chart.lines]
    colors = [*(palette.BANDS.get(color, palette.FAINT) for color in colors), *colors]
    looks = np.array([number_of(style(color)) for color in colors], np.int32)
    plot = down + 1, right + LABELS
    cells.styles[plot] = looks[layer]
    if chart.glyphs.unicode:
        cells.chars[plot] = _BRAILLE[layers[layer, down, right]]
    else:
        letters = [*"." * count, *(line.letter.lower() for line in chart.lines)]
        cells.chars[plot] = np.array(letters, "<U1")[layer]


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
    """The label and the newest value of each line, for the title row."""
    return [f" {line.label} {measured(line.newest):>6}" for line in chart.lines]


def _write_title(cells: Cells, chart: Chart, newest: Sequence[str]) -> None:
    """Write the title, and the note if it fits before the ``newest`` values at the row's end."""
    cells.title(chart.title)
    room = cells.size[1] - sum(map(len, newest)) - len(chart.title) - 2
    if chart.note and len(chart.note) <= room:
        cells.write(0, len(chart.title) + 1, chart.note, heading(palette.DIM))


def _write_newest(cells: Cells, chart: Chart, newest: Sequence[str]) -> None:
    column = cells.size[1] - sum(map(len, newest))
    for line, text in zip(chart.lines, newest, strict=True):
        cells.write(0, column, text, heading(line.color))
        column += len(text)


def _write_ends(cells: Cells, chart: Chart, middles: NDArray[np.float64], scale: _Scale) -> None:
    """Write each line's letter beside its end, so that nobody has to rely on the colour."""
    letters: dict[int, int] = {}
    for line, middle in zip(chart.lines, middles, strict=True):
        drawn = np.flatnonzero(np.isfinite(middle))
        if len(drawn):
            row = 1 + int(middle[drawn[-1]]) // scale.dots_down
            end = LABELS + int(drawn[-1]) // scale.dots_across + 1 + letters.get(row, 0)
            cells.write(row, end, line.letter, style(line.color, bold=True))
            letters[row] = letters.get(row, 0) + 1


def _write_steps(cells: Cells, span: Envelope, columns: int) -> None:
    """Write the newest step below the end of the lines."""
    if span.newest > span.first:
        newest = short(span.newest)
        steps = max(1, span.last - span.first + 1)
        end = LABELS + math.ceil((span.newest - span.first + 1) / steps * columns)
        column = max(LABELS + len(short(span.first)) + 1, end - len(newest))
        cells.write(cells.size[0] - 1, column, newest, style(palette.DIM))
