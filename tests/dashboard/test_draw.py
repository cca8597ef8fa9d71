from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.strip import Strip

from ganterm.core.history import Envelope
from ganterm.dashboard import palette
from ganterm.dashboard.draw import picture
from ganterm.dashboard.draw.cells import Cells, padded
from ganterm.dashboard.draw.chart import Chart, ChartLine, Plotter, plot_columns
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.draw.numbers import clock, measured, short, size, tick
from ganterm.dashboard.draw.picture import draw_picture, fit, mosaic, resized
from ganterm.dashboard.draw.scatter import draw_scatter
from ganterm.dashboard.draw.tiles import (
    Table,
    draw_pairs,
    draw_table,
    fit_pairs,
    fit_table,
    fit_walk,
)
from ganterm.dashboard.draw.traces import reach, smoothed, traced

ASCII = Glyphs(unicode=False, pictures="ascii")


def text(strips: list[Strip]) -> list[str]:
    return ["".join(segment.text for segment in strip) for strip in strips]


def envelope(*lines: np.ndarray) -> Envelope:
    """Bands as thin as their lines; as many values as the chart has dot columns."""
    series = np.array(lines).astype(np.float32)
    columns = series.shape[1]
    return Envelope(series, series, series, 1, columns, columns)


def chart_of(*lines: np.ndarray, letters: str = "DG", **more: Any) -> Chart:
    told = [
        ChartLine(letter, letter, palette.D, float(line[-1]))
        for letter, line in zip(letters, lines, strict=False)
    ]
    return Chart(more.pop("title", "t"), told, envelope(*lines), **more)


def drawn(chart: Chart, width: int, height: int) -> list[Strip]:
    return Plotter().draw(chart, width, height).strips()


def dots(char: str) -> int:
    return (ord(char) - 0x2800).bit_count() if 0x2800 <= ord(char) < 0x2900 else 0


def test_a_constant_line_is_one_row_of_dots_at_its_height() -> None:
    chart = chart_of(np.full(40, 0.5), bounds=(0.0, 1.0))
    rows = text(drawn(chart, 28, 12))
    plot = [row[6:26] for row in rows[1:11]]
    filled = [index for index, row in enumerate(plot) if any(map(dots, row))]
    assert filled in ([4], [5])
    assert sum(map(dots, "".join(plot))) == 40
    assert rows[1 + filled[0]][26] == "D"


def test_a_spike_reaches_the_top_of_the_band() -> None:
    values = np.zeros(60)
    low, high = values.astype(np.float32), values.astype(np.float32).copy()
    high[30] = 1.0
    band = Envelope(low[None], high[None], low[None], 1, 60, 60)
    one = ChartLine("D", "D", palette.D, 0.0)
    rows = text(drawn(Chart("t", [one], band, (0.0, 1.0)), 38, 8))
    column = 6 + 15
    assert all(dots(row[column]) for row in rows[1:7])


@pytest.mark.parametrize("glyphs", [Glyphs(), ASCII])
def test_marks_and_labels_are_on_the_chart(glyphs: Glyphs) -> None:
    columns = plot_columns(58, glyphs)
    mark = [(columns // 2 + 1, "k")]
    chart = chart_of(
        np.zeros(columns), title="Losses", bounds=(0.0, 2.0), marks=mark, glyphs=glyphs
    )
    rows = text(drawn(chart, 58, 9))
    assert rows[0].startswith("Losses")
    assert rows[1][6 + 25] == "k"
    assert rows[2][6 + 25] == glyphs.marker
    assert rows[1][:6].strip() == "2"
    assert rows[-2][:6].strip() == "0"
    assert rows[-1].split() == ["1", str(columns)]


def test_ascii_charts_and_pictures_are_pure_ascii() -> None:
    random = np.random.default_rng(0)
    chart = chart_of(
        random.random(42),
        random.random(42),
        bounds=(0, 1),
        guides=[(0.5, palette.D)],
        marks=[(20, "k")],
        glyphs=ASCII,
    )
    rows = text(drawn(chart, 50, 12))
    pictures = random.integers(0, 255, (28, 56, 1)).astype(np.float32)
    rows += text(draw_picture(pictures, ASCII).strips())
    points = random.normal(size=(50, 2)).astype(np.float32)
    rows += text(draw_scatter(points, points, 30, 10, ASCII).strips())
    assert all(char.isascii() and char.isprintable() for row in rows for char in row)
    assert {"d", "g"} <= set("".join(rows)), "lines are told apart without colour"


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 80),
    st.integers(1, 20),
    st.lists(st.floats(width=32) | st.just(float("nan")), min_size=1, max_size=60),
    st.booleans(),
)
def test_any_series_is_drawn_on_any_room(
    width: int, height: int, values: list[float], log: bool
) -> None:
    series = np.resize(np.array(values), plot_columns(width, Glyphs()))
    with np.errstate(over="ignore", invalid="ignore"):
        rows = drawn(chart_of(series, log=log), width, height)
    assert len(rows) == height
    assert all(row.cell_length == width for row in rows)


def _dots_by_hand(low: np.ndarray, high: np.ndarray, top: int) -> set[tuple[int, int]]:
    """(dot row, dot column) of all dots from high to low, on a scale of 0 to 1."""
    places = [
        [min(max(round((1 - float(end)) * top), 0), top) for end in (above, below)]
        for below, above in zip(low, high, strict=True)
        if np.isfinite(below) and np.isfinite(above)
    ]
    columns = [x for x, ends in enumerate(np.isfinite(low) & np.isfinite(high)) if ends]
    return {(y, x) for x, (a, b) in zip(columns, places, strict=True) for y in range(a, b + 1)}


def _line_by_hand(middle: np.ndarray, top: int) -> set[tuple[int, int]]:
    """A line's dots, each column joined with the one before it."""
    dots_set, before = set(), None
    for x, value in enumerate(middle):
        if not np.isfinite(value):
            before = None
            continue
        place = min(max(round((1 - float(value)) * top), 0), top)
        start = (
            place if before is None or before == place else before + (1 if before < place else -1)
        )
        dots_set |= {(y, x) for y in range(min(start, place), max(start, place) + 1)}
        before = place
    return dots_set


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(4, 30), st.integers(1, 9), st.integers(1, 3))
def test_every_dot_is_where_a_loop_over_dots_puts_it(
    seed: int, columns: int, rows: int, count: int
) -> None:
    random = np.random.default_rng(seed)
    lines, layers, bands = [], [], []
    for letter, color in zip("DGM"[:count], (palette.D, palette.G, palette.CHANGE), strict=False):
        mean = random.uniform(-0.2, 1.2, 2 * columns).astype(np.float32)
        low, high = mean - random.random(), mean + random.random()
        for series in (low, high, mean):
            # The last column has a value, so that the letter at a line's end is beside the plot.
            series[:-1][random.random(2 * columns - 1) < 0.1] = np.nan
        bands.append((low, high, mean))
        lines.append(ChartLine(letter, letter, color, 0.0))
    top = 4 * rows - 1
    for one, (low, high, _) in zip(lines, bands, strict=True):
        layers.append((_dots_by_hand(low, high, top), palette.BANDS[one.color]))
    for one, (_, _, mean) in zip(lines, bands, strict=True):
        layers.append((_line_by_hand(smoothed(mean), top), one.color))
    low, high, mean = (np.array(series) for series in zip(*bands, strict=True))
    whole = Envelope(low, high, mean, 1, 2 * columns, 2 * columns)
    strips = drawn(Chart("t", lines, whole, (0.0, 1.0)), columns + 8, rows + 1 + (rows >= 4))
    cells = [[(c, s.style.color.name) for s in row for c in s.text] for row in strips]
    bits = {(0, 0): 0, (1, 0): 1, (2, 0): 2, (0, 1): 3, (1, 1): 4, (2, 1): 5, (3, 0): 6, (3, 1): 7}
    for y in range(rows):
        for x in range(columns):
            inside = {(4 * y + a, 2 * x + b): bit for (a, b), bit in bits.items()}
            hit = [number for number, (layer, _) in enumerate(layers) if layer & inside.keys()]
            char, color = cells[1 + y][6 + x]
            if not hit:
                assert not dots(char)
                continue
            shown, expected = layers[hit[-1]]
            if hit[-1] >= count:
                # A line takes the dots of those below it into its cell.
                shown = set().union(*(layers[n][0] for n in hit if n >= count))
            code = sum(1 << bit for place, bit in inside.items() if place in shown)
            assert (ord(char), color) == (0x2800 + code, expected)


@given(st.integers(0, 5), st.integers(1, 12), st.integers(0, 1000), st.integers(0, 2))
def test_segments_hold_every_cell_and_none_could_be_joined(
    rows: int, columns: int, seed: int, margin: int
) -> None:
    random = np.random.default_rng(seed)
    looks = [palette.style(), palette.style(palette.D), palette.heading()]
    chars = np.array(list(" ab⣿"))[random.integers(0, 4, (rows, columns))]
    indices = random.integers(0, 3, (rows, columns))
    made = Cells.of(chars, indices, looks).strips()
    assert len(made) == rows
    for y, row in enumerate(made):
        cells = [(c, s.style) for s in row for c in s.text]
        assert cells == [(chars[y, x], looks[indices[y, x]]) for x in range(columns)]
        whole = padded(row, margin, 1)
        blank = (" ", palette.style())
        assert [(c, s.style) for s in whole for c in s.text] == [blank] * margin + cells + [blank]
        for strip in (row, whole):
            assert strip.cell_length == len(strip.text)
            assert all(a.style != b.style for a, b in itertools.pairwise(strip))


def test_bounds_hold_the_data_on_round_numbers_and_stay() -> None:
    def reached(line: np.ndarray, log: bool, keep: tuple[float, float] | None = None) -> object:
        return reach(traced(envelope(line), log), log, keep)

    rising = np.linspace(0.13, 1.71, 100)
    low, high = reach(traced(envelope(rising), False), False, None)
    assert low <= 0.18 and high >= 1.66
    assert reached(rising, False, (0.0, 2.0)) == (0.0, 2.0)
    assert reached(np.linspace(0.02, 31, 50), True) == (-2, 2)
    assert reached(np.full(9, np.nan), False) == (0.0, 1.0)


def test_smoothing_follows_a_constant_and_bridges_gaps() -> None:
    values = np.full(100, 3.0, np.float32)
    values[40:43] = np.nan
    values[90:] = np.nan
    got = smoothed(values)
    assert np.allclose(got[:90], 3)
    assert np.isnan(got[90:]).all()


def test_half_blocks_carry_two_pixels_a_cell() -> None:
    values = np.array([[0, 255], [255, 255], [0, 0]], np.float32)[:, :, None]
    strips = draw_picture(values, Glyphs()).strips()
    first = [(s.text, s.style) for s in strips[0]]
    assert first[0][0] == "▀"
    assert (first[0][1].color.name, first[0][1].bgcolor.name) == ("#000000", "#ffffff")
    assert first[1][0] == " "
    assert first[1][1].bgcolor.name == "#ffffff"
    assert len(strips) == 2


def test_colour_pictures_keep_their_hue() -> None:
    red = np.zeros((2, 1, 3), np.float32)
    red[:, :, 0] = 255
    assert draw_picture(red, Glyphs()).strips()[0]._segments[0].style.bgcolor.name == "#ff0000"


@given(st.integers(14, 60), st.integers(7, 40))
def test_samples_are_never_drawn_too_small(columns: int, rows: int) -> None:
    grid = fit(columns, rows, 28, 64, Glyphs())
    assert grid.dots >= 14
    assert grid.across * grid.dots <= columns
    assert grid.down * grid.dots <= 2 * rows


def test_grids_at_the_three_sizes() -> None:
    assert fit(42, 18, 28, 64, Glyphs()) == picture.Grid(3, 2, 14)
    assert fit(56, 28, 28, 64, Glyphs()) == picture.Grid(4, 4, 14)
    assert fit(84, 50, 28, 64, Glyphs()).dots >= 20


def test_resizing_averages_areas_and_keeps_brightness() -> None:
    images = np.random.default_rng(1).integers(0, 255, (3, 28, 28, 1), dtype=np.uint8)
    half = resized(images, 14, Glyphs())
    direct = images.reshape(3, 14, 2, 14, 2, 1).mean(axis=(2, 4))
    assert np.allclose(half, direct, atol=0.01)
    assert resized(images, 19, Glyphs()).mean() == pytest.approx(images.mean(), abs=0.5)
    whole = mosaic(images, picture.Grid(2, 2, 14), Glyphs())
    assert whole.shape == (28, 28, 1)
    assert np.allclose(whole[:14, 14:], half[1])
    assert not whole[14:, 14:].any()


def test_scatter_puts_points_where_they_are() -> None:
    real = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)
    fake = np.array([[1, 0]], np.float32)
    strips = draw_scatter(real, fake, 20, 10, Glyphs()).strips()
    rows = text(strips)
    assert sum(dots(char) for row in rows for char in row) == 4
    row = next(r for r in rows if dots(r[17]) or dots(r[16]))
    assert row.rstrip() != ""
    colors = {s.style.color.name for strip in strips for s in strip if s.text.strip()}
    assert colors == {palette.FAINT, palette.FAKE}


def test_numbers_are_short() -> None:
    shown = [short(v) for v in (0, 950, 9999, 12_345, 999_999, 4_560_000, 2e9)]
    assert shown == ["0", "950", "9,999", "12.3k", "1.00M", "4.56M", "2.00G"]
    assert [measured(v) for v in (1.38629, 42.1, 512.0, 1e6, 1e-5)] == [
        "1.386",
        "42.10",
        "512.0",
        "1.0e+06",
        "1.0e-05",
    ]
    assert [tick(v) for v in (0, 0.5, 1.25, 1e-4, 20_000)] == ["0", "0.5", "1.25", "1e-4", "2e4"]
    assert clock(90_061) == "1d 01:01:01"
    assert size(14_540) == "14.2 KB"
    assert measured(float("nan")) == short(float("inf")) == "-"


@given(st.floats(allow_nan=True, allow_infinity=True, width=32))
def test_no_number_outgrows_its_place(value: float) -> None:
    assert len(measured(value)) <= 8
    assert len(tick(value)) <= 6 if np.isfinite(value) else True


@given(st.integers(24, 100), st.integers(7, 60), st.integers(1, 100), st.integers(0, 9))
def test_tables_fit_and_hold_large_enough_pictures(
    columns: int, rows: int, count: int, label: int
) -> None:
    table = fit_table(columns, rows, 28, count, 8, label, Glyphs())
    assert table.dots >= 14
    assert table.banks * (label + table.across * table.dots) <= columns
    assert table.down * table.dots <= 2 * rows
    assert table.rows >= min(count, 2 * rows // 14)


def test_tables_at_the_three_sizes_have_all_ten_digits_or_page() -> None:
    assert fit_table(42, 18, 28, 10, 8, 2, Glyphs()).rows == 4
    assert fit_table(58, 28, 28, 10, 8, 2, Glyphs()) == Table(14, 1, 4, 3)
    assert fit_table(84, 51, 28, 10, 8, 2, Glyphs()) == Table(19, 2, 5, 2)
    assert fit_table(84, 51, 28, 4, 8, 2, Glyphs()).across > 4


@given(st.integers(14, 100), st.integers(7, 60))
def test_a_walk_shows_both_ends_at_even_distances(columns: int, rows: int) -> None:
    table = fit_walk(columns, rows, 28, 8, 13, Glyphs())
    assert table.across == 2 or table.across * table.dots <= columns
    assert 12 % (table.across - 1) == 0
    images = np.repeat(np.arange(13, dtype=np.uint8) * 20, 28 * 28).reshape(13, 28, 28, 1)
    cells = draw_table(images, 13, (), Table(14, table.across, 1, 1), ASCII)
    letters = [cells.chars[3, 14 * place + 7] for place in range(table.across)]
    assert (letters[0], letters[-1]) == (" ", "@")


def test_rows_carry_their_label_at_their_left() -> None:
    images = np.repeat(np.array([0, 0, 255, 255, 128, 128], np.uint8), 196).reshape(6, 14, 14, 1)
    drawn = text(draw_table(images, 2, ("a", "bb", "c"), Table(14, 2, 2, 2), ASCII).strips())
    assert drawn[3] == " a " + " " * 28 + "   c " + "+" * 28
    assert drawn[10] == "bb " + "@" * 28 + " " * 33


@given(st.integers(14, 100), st.integers(15, 60))
def test_pairs_fit_with_a_word_below_each(columns: int, rows: int) -> None:
    pairs = fit_pairs(columns, rows, 28, 24, Glyphs())
    images = np.zeros((24, 28, 28, 1), np.uint8)
    cells = draw_pairs(images, images + 255, ["4.20"] * 24, pairs, ASCII)
    assert cells.size[0] <= rows and cells.size[1] <= columns
    drawn = text(cells.strips())
    shown = sum(row.count("4.20") for row in drawn)
    assert shown == min(24, pairs.count) >= 1
    # If the height is odd, the middle row has half of each picture.
    tall = pairs.dots // 2 if pairs.stacked else -(-pairs.dots // 2)
    assert sum(row.count("@") for row in drawn) == shown * pairs.dots * tall
