"""A line chart in braille dots: a bold smoothed line over the faint band of the raw values.

The band runs from the smallest to the largest value of each dot column, so no spike is lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.draw.numbers import measured, short, tick
from ganterm.dashboard.palette import heading, style
from ganterm.session.history import Envelope

LABELS = 6
"""Columns left of the plot, for the axis labels."""
ENDS = 2
"""Columns right of the plot, for the letters at the lines' ends."""
_SMOOTH = 0.03
_SEEN = 1e-12
_FILLED = 0.45
_DOTS = np.array([0x01, 0x02, 0x04, 0x40, 0x08, 0x10, 0x20, 0x80], np.uint32)
# The braille character of each byte, whose bits are a cell's dots, column by column from the top.
_BRAILLE = (
    (0x2800 + (np.arange(256)[:, None] >> np.arange(8) & 1) @ _DOTS).astype("<u4").view("<U1")
)
_FIRST_BITS = np.array([0, 1, 3, 7, 15], np.uint8)


@dataclass(frozen=True)
class Line:
    """One series of a chart: its letter at the line's end, its words in the title, its colour."""

    letter: str
    label: str
    color: str
    envelope: Envelope
    newest: float

    @cached_property
    def smooth(self) -> NDArray[np.float32]:
        """The bold line's values, one a column."""
        return smoothed(self.envelope.mean).astype(np.float32)


@dataclass(frozen=True)
class Chart:
    """All that a chart shows. ``bounds`` are in the scale's own units (log10 where ``log``)."""

    title: str
    lines: Sequence[Line]
    bounds: tuple[float, float]
    log: bool = False
    guides: Sequence[tuple[float, str]] = ()
    marks: Sequence[tuple[int, str]] = ()
    note: str = ""
    glyphs: Glyphs = field(default_factory=Glyphs)


def plot_columns(width: int, glyphs: Glyphs) -> int:
    """How many values a line of a chart ``width`` cells wide has room for."""
    cells = max(1, width - LABELS - ENDS)
    return 2 * cells if glyphs.unicode else cells


def smoothed(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """An exponential mean over 3 % of the columns, NaN before the first and after the newest."""
    span = max(2.0, _SMOOTH * len(values))
    kernel = np.exp(-np.arange(math.ceil(6 * span)) / span)
    finite = np.isfinite(values)
    # Single gaps are bridged; what follows the newest value stays empty.
    weight = np.convolve(finite, kernel)[: len(values)]
    sums = np.convolve(np.where(finite, values, 0.0), kernel)[: len(values)]
    shown = np.cumsum(finite[::-1])[::-1] > 0
    return np.divide(sums, weight, out=np.full(len(values), np.nan), where=(weight > _SEEN) & shown)


def scaled(values: NDArray[np.floating], log: bool) -> NDArray[np.float64]:
    """Values in the scale's own units; what a log scale cannot show is NaN."""
    wide = values.astype(np.float64)
    if not log:
        return wide
    return np.log10(wide, out=np.full(wide.shape, np.nan), where=wide > 0)


def _sorted(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is finite, in order; NumPy's own functions for NaN take several times as long."""
    return np.sort(values[np.isfinite(values)])


def reach(
    lines: Sequence[Line], log: bool, keep: tuple[float, float] | None
) -> tuple[float, float]:
    """Axis bounds on round numbers that hold the lines and all but the rarest spikes.

    ``keep`` (the bounds of the last frame) stays while the data still fill a good part of it, so
    that the axis does not jump.
    """
    lows, highs = [], []
    for line in lines:
        middle = _sorted(scaled(line.smooth, log))
        if len(middle):
            low = _sorted(scaled(line.envelope.low, log))
            high = _sorted(scaled(line.envelope.high, log))
            lows += [middle[0], *low[len(low) * 3 // 100 :][:1]]
            highs += [middle[-1], *high[len(high) * 97 // 100 :][:1]]
    if not lows:
        return keep or (0.0, 1.0)
    lowest, highest = float(min(lows)), float(max(highs))
    inside = keep and keep[0] <= lowest <= highest <= keep[1]
    if keep and inside and highest - lowest > _FILLED * (keep[1] - keep[0]):
        return keep
    if log:
        return math.floor(lowest), max(math.ceil(highest), math.floor(lowest) + 1)
    span = max(highest - lowest, 1e-3 * max(abs(highest), abs(lowest)), 1e-6)
    base = 10.0 ** math.floor(math.log10(span / 2))
    step = next(base * m for m in (1, 2, 5, 10) if span / (base * m) <= 4)
    first = math.floor(lowest / step)
    return first * step, max(math.ceil(highest / step), first + 1) * step


def draw_chart(chart: Chart, width: int, height: int) -> Cells:
    """The chart on ``width`` x ``height`` cells: a title row, the plot, and the steps below."""
    cells = Cells(height, width)
    _write_title(cells, chart)
    axis = height >= 6
    rows = height - 1 - axis
    columns = width - LABELS - ENDS
    if rows < 1 or columns < 4:
        return cells
    plot = _Plot(chart, rows, columns)
    inside = Cells(rows, columns)
    plot.draw(inside)
    cells.inset(inside, 1, LABELS)
    _write_labels(cells, chart, plot)
    _write_ends(cells, chart, plot, LABELS)
    if axis:
        _write_steps(cells, chart, columns)
    return cells


class _Plot:
    """The raster of a chart's inside. All lines go through NumPy together: calls are the cost."""

    def __init__(self, chart: Chart, rows: int, columns: int) -> None:
        self.chart = chart
        self.rows, self.columns = rows, columns
        self.dots_down, self.dots_across = (4, 2) if chart.glyphs.unicode else (2, 1)
        self.height = rows * self.dots_down
        # Where the sign of a change stands, which no line covers.
        self.signed = np.zeros((rows, columns), bool)
        values = [(line.envelope.high, line.envelope.low, line.smooth) for line in chart.lines]
        # Dot rows from the top, of shape (lines, 3, dot columns).
        self.places = self._dots(scaled(np.array(values), chart.log))

    def row(self, value: float) -> int:
        """The cell row of a value in the scale's units."""
        low, high = self.chart.bounds
        place = round((high - value) / (high - low) * (self.height - 1))
        return min(max(place, 0), self.height - 1) // self.dots_down

    def _dots(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Dot rows from the top; values outside the bounds go to the edge, NaN stays."""
        low, high = self.chart.bounds
        places = (high - values) / (high - low) * (self.height - 1)
        return np.clip(np.rint(places), 0, self.height - 1)

    def draw(self, cells: Cells) -> None:
        self._draw_guides(cells)
        self._draw_marks(cells)
        if self.chart.lines:
            self._draw_lines(cells)

    def _draw_lines(self, cells: Cells) -> None:
        """Every band, then every line over them, joined with the lines that it crosses."""
        places = self.places[:, 2]
        before = np.concatenate([places[:, :1], places[:, :-1]], axis=1)
        before = np.where(np.isfinite(before), before, places)
        tops = np.where(before < places, before + 1, places)
        bottoms = np.where(before > places, before - 1, places)
        layers = self._bits(
            np.concatenate([self.places[:, 0], tops]), np.concatenate([self.places[:, 1], bottoms])
        )
        count = len(places)
        seen = layers > 0
        np.bitwise_or.accumulate(layers[count:], axis=0, out=layers[count:])
        numbers = np.arange(1, 2 * count + 1)[:, None, None]
        highest = np.max(seen * numbers, axis=0)
        where = (highest > 0) & ~self.signed
        chosen = highest[where] - 1
        colors = [line.color for line in self.chart.lines]
        colors = [*(palette.BANDS.get(color, palette.FAINT) for color in colors), *colors]
        cells.styles[where] = np.array([cells.index(style(color)) for color in colors])[chosen]
        if self.chart.glyphs.unicode:
            cells.chars[where] = _BRAILLE[layers[chosen, *np.nonzero(where)]]
        else:
            letters = [*"." * count, *(line.letter.lower() for line in self.chart.lines)]
            cells.chars[where] = np.array(letters)[chosen]

    def _draw_guides(self, cells: Cells) -> None:
        for value, color in self.chart.guides:
            row = self.row(float(scaled(np.array(value), self.chart.log)))
            cells.write(row, 0, self.chart.glyphs.guide * self.columns, style(color))

    def _draw_marks(self, cells: Cells) -> None:
        if not self.chart.lines:
            return
        span = self.chart.lines[0].envelope
        covered = max(1, span.last - span.first + 1)
        signs: dict[int, list[str]] = {}
        for step, sign in self.chart.marks:
            if span.first <= step <= span.last:
                column = int((step - span.first) / covered * self.columns)
                signs.setdefault(column, [])
                if sign not in signs[column]:
                    signs[column].append(sign)
        for column, here in signs.items():
            for row in range(self.rows):
                told = row < len(here)
                text = here[row] if told else self.chart.glyphs.marker
                color = palette.MARKS.get(here[min(row, len(here) - 1)], palette.CHANGE)
                cells.write(row, column, text, style(color, bold=told))
                self.signed[row, column] = told

    def _bits(self, top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Each cell's dots between ``top`` and ``bottom`` (layers, dot columns); NaN gives none."""
        empty = np.isnan(top + bottom)
        first = np.where(empty, self.height, top).astype(np.int16)[:, None]
        after = np.where(empty, 0, bottom + 1).astype(np.int16)[:, None]
        above = np.arange(0, self.height, self.dots_down, dtype=np.int16)[:, None]
        first = np.minimum(np.maximum(first - above, 0), self.dots_down)
        after = np.minimum(np.maximum(after - above, 0), self.dots_down)
        dots = _FIRST_BITS[after] & ~_FIRST_BITS[first]
        return dots if self.dots_across == 1 else dots[:, :, ::2] | dots[:, :, 1::2] << 4


def _write_title(cells: Cells, chart: Chart) -> None:
    cells.title(chart.title)
    column = cells.size[1]
    for line in reversed(chart.lines):
        text = f" {line.label} {measured(line.newest):>6}"
        column -= len(text)
        cells.write(0, column, text, heading(line.color))
    room = column - len(chart.title) - 2
    if chart.note and len(chart.note) <= room:
        cells.write(0, len(chart.title) + 1, chart.note, heading(palette.DIM))


def ticks(bounds: tuple[float, float], log: bool) -> list[float]:
    """Where the axis is labelled, in the scale's units: both ends and what is round between."""
    low, high = bounds
    if log:
        return [float(power) for power in range(round(low), round(high) + 1)]
    return [low, (low + high) / 2, high]


def _write_labels(cells: Cells, chart: Chart, plot: _Plot) -> None:
    taken: set[int] = set()
    places = ticks(chart.bounds, chart.log)
    for value in sorted(places, key=lambda tick: tick not in (places[0], places[-1])):
        row = 1 + plot.row(value)
        if not taken & {row - 1, row, row + 1}:
            taken.add(row)
            shown = 10**value if chart.log else value
            cells.write(row, 0, f"{tick(shown):>{LABELS - 1}}", style(palette.DIM))


def _write_ends(cells: Cells, chart: Chart, plot: _Plot, column: int) -> None:
    """Each line's letter beside its end, so that no line is told by its colour alone."""
    taken: dict[int, int] = {}
    for line, (_, _, middle) in zip(chart.lines, plot.places, strict=True):
        drawn = np.flatnonzero(np.isfinite(middle))
        if len(drawn):
            row = 1 + int(middle[drawn[-1]]) // plot.dots_down
            end = column + drawn[-1] // plot.dots_across + 1 + taken.get(row, 0)
            cells.write(row, end, line.letter, style(line.color, bold=True))
            taken[row] = taken.get(row, 0) + 1


def _write_steps(cells: Cells, chart: Chart, columns: int) -> None:
    if not chart.lines:
        return
    span = chart.lines[0].envelope
    row = cells.size[0] - 1
    first, newest = short(span.first), short(span.newest)
    cells.write(row, LABELS, first, style(palette.DIM))
    covered = max(1, span.last - span.first + 1)
    end = LABELS + math.ceil((span.newest - span.first + 1) / covered * columns)
    column = max(LABELS + len(first) + 1, end - len(newest))
    if span.newest > span.first:
        cells.write(row, column, newest, style(palette.DIM))
