"""What draws diagnosis: bars, the heat strip, histograms, sparse curves, D's surface."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.style import Style

from ganterm.core.findings import (
    Diagnosis,
    Layer,
    Modes,
    ModeTrail,
    Reading,
    Scores,
    Series,
    Surface,
)
from ganterm.core.history import Envelope
from ganterm.core.snapshot import RunInfo
from ganterm.dashboard import palette
from ganterm.dashboard.demo_findings import COLLAPSE, RANGE, diagnosis, modes, trail
from ganterm.dashboard.draw.bars import bar, draw_modes, upright
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.draw.histogram import BOTH, draw_scores, rebinned
from ganterm.dashboard.draw.looks import LOOKS
from ganterm.dashboard.draw.scatter import draw_scatter
from ganterm.dashboard.draw.sparse import envelope_of
from ganterm.dashboard.draw.strip import draw_strip
from ganterm.dashboard.draw.surface import NOWHERE, SHADES, shades_of
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.panels.banner import BannerPanel
from ganterm.dashboard.panels.diagnosis import DiagnosisPanel, missing
from ganterm.dashboard.panels.diversity import DistanceCurve, DiversityCurve
from ganterm.dashboard.panels.layers import LayersPanel, chosen, decades
from ganterm.dashboard.panels.modes import ModesPanel
from ganterm.dashboard.panels.panel import Panel
from ganterm.dashboard.panels.readings import ReadingsPanel
from ganterm.dashboard.panels.scores import ScoresPanel
from tests.dashboard.test_dashboard import running

ASCII = Glyphs(unicode=False, pictures="ascii")
NO_COLOR = Glyphs(unicode=True, pictures="ascii")
BOTH_GLYPHS = pytest.mark.parametrize("glyphs", [Glyphs(), ASCII])
PANELS = (
    DiagnosisPanel,
    ScoresPanel,
    ModesPanel,
    LayersPanel,
    DiversityCurve,
    DistanceCurve,
    ReadingsPanel,
    BannerPanel,
)


def lines(cells: Cells) -> list[str]:
    return ["".join(row) for row in cells.chars.tolist()]


def looks(cells: Cells) -> list[Style]:
    return [LOOKS[number] for number in np.unique(cells.styles).tolist()]


def fronts(cells: Cells, row: int, column: int) -> tuple[str, str]:
    """The colours of a cell, before and behind."""
    look = LOOKS[cells.styles[row, column]]
    return look.color.name, look.bgcolor.name


def some(shares: list[float], expected: list[float] | None = None, kind: str = "digit") -> Modes:
    data = np.array(expected or [1 / max(1, len(shares))] * len(shares), np.float32)
    made = np.array(shares, np.float32)
    names = tuple(str(i) for i in range(len(shares)))
    return Modes(100, names, made, data, made >= 0.1 * data, 512, kind)


def test_bars_count_in_eighths_and_keep_their_width() -> None:
    assert bar(0.5, 4, Glyphs()) == "██  "
    assert bar(0.55, 5, Glyphs()) == "██▊  "
    assert bar(0.5, 4, ASCII) == "##  "
    assert bar(7, 3, Glyphs()) == "███"
    assert bar(float("nan"), 3, Glyphs()) == bar(-1, 3, Glyphs()) == "   "
    assert upright(0.5, 4, Glyphs()) == "  ██"
    assert upright(0.3, 2, Glyphs()) == " ▅"


@BOTH_GLYPHS
def test_modes_as_lines_say_each_share_and_which_are_lost(glyphs: Glyphs) -> None:
    rows = lines(draw_modes(some([0.5, 0.25, 0.25, 0.0]), 40, 4, glyphs))
    assert [row.split()[0] for row in rows] == ["0", "1", "2", "3"]
    assert "50.0 %" in rows[0] and "25.0 %" in rows[1]
    assert rows[3].rstrip().endswith(f"{glyphs.lost} lost")
    drawn = [row.count(bar(1, 1, glyphs)) for row in rows]
    assert drawn[0] // 2 == drawn[1] > 0 == drawn[3], "0 is twice as long as the data's"


@BOTH_GLYPHS
def test_modes_as_columns_stand_on_their_names(glyphs: Glyphs) -> None:
    cells = draw_modes(some([0.4, 0.2, 0.2, 0.2, 0.0]), 16, 5, glyphs)
    rows = lines(cells)
    assert rows[-1].split() == ["0", "1", "2", "3", f"{glyphs.lost}4"]
    full = bar(1, 1, glyphs)
    assert [row.startswith(full) for row in rows[:4]] == [True] * 4
    assert [row[3] == full for row in rows[:4]] == [False, False, True, True]


def test_modes_on_one_row_and_a_thousand_of_them() -> None:
    row = lines(draw_modes(some([0.5, 0.25, 0.25, 0.0]), 20, 1, Glyphs()))[0]
    assert row.rstrip() == "0█ 1█ 2█ 3×"
    many = modes(600, 1000)
    profile = lines(draw_modes(many, 50, 3, Glyphs()))
    assert profile[-1][30:] == "×" * 20, "the last 400 of 1,000 are lost"
    assert "×" not in profile[-1][:30]


def test_the_lost_are_named_as_far_as_there_is_room() -> None:
    few = some([0.5, 0.5, 0.0, 0.0])
    assert missing(few, True, 40, Glyphs()) == "lost: 2 3"
    assert missing(few, False, 40, Glyphs()) == "not found: 2 3"
    assert missing(modes(600, 1000), True, 30, Glyphs()) == "lost: 600 601 602 … 397 more"
    assert missing(modes(600, 1000), True, 5, Glyphs()) == ""
    assert missing(some([0.5, 0.5]), True, 40, Glyphs()) == ""


def test_modes_are_missing_only_beyond_what_samples_of_the_data_leave_out() -> None:
    assert modes(9, 10).missing == 1
    # 4,000 samples of the data miss about 18 of 1,000 modes.
    assert modes(975, 1000).missing == 0
    assert modes(900, 1000).missing == 100
    none = replace(modes(0, 8), samples=0)
    assert none.missing == 8


@settings(deadline=None, max_examples=80)
@given(
    st.integers(1, 90),
    st.integers(1, 20),
    st.lists(st.floats(0, 1, width=32) | st.just(float("nan")), min_size=0, max_size=40),
    st.sampled_from([Glyphs(), ASCII]),
)
def test_any_modes_are_drawn_on_any_room(
    width: int, height: int, shares: list[float], glyphs: Glyphs
) -> None:
    whole = some(shares, [0.0, *[0.1] * (len(shares) - 1)] if shares else [])
    cells = draw_modes(whole, width, height, glyphs)
    assert cells.size == (height, width)
    assert glyphs.unicode or "".join(lines(cells)).isascii()


def test_the_strip_is_dark_where_a_mode_was_lost() -> None:
    steps = np.array([10, 20, 30, 40])
    shares = np.array([[1, 0], [1, 0], [0.5, 0.5], [0.5, 0.5]], np.float32)
    expected = np.array([0.5, 0.5], np.float32)
    cells, begins = draw_strip(ModeTrail(steps, shares), expected, 5, 10, 1, 50, ASCII)
    assert begins.tolist() == [0, 1]
    # Nothing before the first reading (step 10, second column) nor after the newest.
    assert lines(cells) == [" ####+++  ", " xxxx+++  "]
    shaded = draw_strip(ModeTrail(steps, shares), expected, 5, 10, 1, 50, Glyphs())[0]
    assert lines(shaded) == ["          ", " ····     "]
    grounds = [fronts(shaded, 0, 2)[1], fronts(shaded, 1, 6)[1], fronts(shaded, 1, 9)[1]]
    assert len(set(grounds)) == 3 and grounds[2] == palette.SURFACE


def test_of_modes_that_share_a_row_the_scarcest_is_shown() -> None:
    steps, expected = np.array([1, 2, 3, 4]), np.full(4, 0.25, np.float32)
    shares = np.tile(np.array([0.5, 0.0, 0.25, 0.25], np.float32), (4, 1))
    cells, begins = draw_strip(ModeTrail(steps, shares), expected, 2, 4, 1, 4, ASCII)
    assert begins.tolist() == [0, 2]
    assert lines(cells) == ["xxxx", "++++"]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.integers(1, 30), st.integers(1, 30), st.integers(1, 9), st.data())
def test_any_trail_is_drawn_on_any_room(
    rows: int, columns: int, count: int, readings: int, data: st.DataObject
) -> None:
    value = st.floats(0, 1, width=32) | st.just(float("nan"))
    flat = data.draw(st.lists(value, min_size=count * readings, max_size=count * readings))
    first, last = sorted(data.draw(st.tuples(st.integers(0, 99), st.integers(0, 99))))
    steps = np.cumsum(data.draw(st.lists(st.integers(1, 20), min_size=readings, max_size=readings)))
    shares = np.array(flat, np.float32).reshape(readings, count)
    expected = np.full(count, 1 / count, np.float32)
    cells, begins = draw_strip(
        ModeTrail(steps, shares), expected, rows, columns, first, last, Glyphs()
    )
    assert cells.size[1] == columns and cells.size[0] == len(begins) <= rows


def test_rebinning_keeps_all_counts() -> None:
    edges = np.linspace(-2, 3, 21)
    counts = np.random.default_rng(0).integers(0, 50, 20)
    for columns in (1, 7, 20, 64):
        assert rebinned(counts, edges, columns).sum() == pytest.approx(1)
    assert np.allclose(rebinned(counts, edges, 20), counts / counts.sum())
    pairs = counts.reshape(10, 2).sum(axis=1) / counts.sum()
    assert np.allclose(rebinned(counts, edges, 10), pairs)
    assert not rebinned(np.zeros(20, np.int64), edges, 9).any()


def hills(real: list[int], fake: list[int], held_out: list[int] | None = None) -> Scores:
    edges = np.linspace(-1, 1, len(real) + 1).astype(np.float32)
    held = None if held_out is None else np.array(held_out)
    return Scores(7, edges, np.array(real), np.array(fake), held)


@BOTH_GLYPHS
def test_histograms_show_both_the_overlap_the_threshold_and_letters(glyphs: Glyphs) -> None:
    apart = draw_scores(hills([0, 0, 0, 4], [4, 0, 0, 0]), 0.0, 40, 9, glyphs)
    rows = lines(apart)
    assert rows[0].index("F") < 10 <= 30 <= rows[0].index("R"), "letters at the peaks"
    assert [row[20] for row in rows[:8]] == [glyphs.marker] * 8
    assert rows[-1].split() == ["-1", "0", "1"]
    ground = rows[-2]
    if not glyphs.unicode:
        assert ground == "f" * 10 + " " * 10 + "|" + " " * 9 + "r" * 10
    assert fronts(apart, 7, 35)[0] == palette.REAL and fronts(apart, 7, 5)[0] == palette.FAKE
    same = draw_scores(hills([1, 2, 1], [1, 2, 1]), None, 30, 9, glyphs)
    assert fronts(same, 7, 15)[0] == BOTH
    assert glyphs.unicode or lines(same)[-2] == "x" * 30


def test_a_lower_hill_in_front_of_a_higher_one_ends_within_its_colour() -> None:
    cells = draw_scores(hills([8, 8, 0, 0], [3, 5, 4, 4]), None, 4, 5, Glyphs())
    assert lines(cells)[3] == "████"
    tips = {fronts(cells, row, 0) for row in range(4) if lines(cells)[row][0] not in " RF"}
    assert (BOTH, palette.REAL) in tips


def test_reals_held_out_are_dots() -> None:
    rows = lines(draw_scores(hills([0, 4], [4, 0], [4, 0]), None, 20, 9, Glyphs()))
    assert sum(row[:10].count("•") + row[:10].count("F") for row in rows) == 10
    assert sum(row[10:].count("•") for row in rows) == 0


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 70),
    st.integers(1, 15),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=30),
    st.floats(width=32),
    st.floats(width=32),
    st.sampled_from([Glyphs(), ASCII]),
)
def test_any_scores_are_drawn_on_any_room(
    width: int, height: int, counts: list[int], low: float, high: float, glyphs: Glyphs
) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        edges = np.linspace(low, high, len(counts) + 1).astype(np.float32)
        scores = Scores(1, edges, np.array(counts), np.array(counts[::-1]), np.array(counts))
        cells = draw_scores(scores, 0.0, width, height, glyphs)
    assert cells.size == (height, width)
    assert glyphs.unicode or "".join(lines(cells)).isascii()


AXIS = Envelope(*3 * (np.empty(0, np.float32),), 1, 100, 90)


def one_envelope(series: Series, columns: int, axis: Envelope) -> Envelope:
    made = envelope_of([series], columns, axis)
    return replace(made, low=made.low[0], high=made.high[0], mean=made.mean[0])


def test_sparse_readings_become_a_line_that_ends_at_the_newest() -> None:
    series = Series(np.array([20, 40, 60]), np.array([1, 3, 2], np.float32))
    made = one_envelope(series, 100, AXIS)
    assert (made.first, made.last, made.newest) == (1, 100, 90)
    assert np.isnan(made.mean[:19]).all() and np.isnan(made.mean[60:]).all()
    assert made.mean[[19, 29, 39, 49, 59]] == pytest.approx([1, 2, 3, 2.5, 2])


def test_a_spike_among_many_readings_is_in_the_band() -> None:
    steps = np.arange(1, 101)
    values = np.zeros(100, np.float32)
    values[54] = 9
    values[70] = np.nan
    made = one_envelope(Series(steps, values), 10, AXIS)
    assert made.high.tolist() == [0, 0, 0, 0, 0, 9, 0, 0, 0, 0]
    assert not made.low.any() and np.isfinite(made.mean).all()


@given(st.lists(st.floats(width=32), max_size=20), st.integers(1, 40), st.integers(1, 200))
def test_any_series_becomes_columns(values: list[float], columns: int, last: int) -> None:
    series = Series(np.arange(len(values)) * 7 + 3, np.array(values, np.float32))
    with np.errstate(over="ignore", invalid="ignore"):
        made = one_envelope(series, columns, replace(AXIS, last=last))
    assert len(made.low) == len(made.high) == len(made.mean) == columns
    ordered = np.isfinite(made.low) & np.isfinite(made.high)
    assert (made.low[ordered] <= made.high[ordered]).all()
    inside = (series.steps <= last) & np.isfinite(series.values)
    assert np.isfinite(made.mean).any() == inside.any()


def plane(threshold: float | None = 0.0) -> Surface:
    """Real to the right, the surer the further up; 4 x 4 over -1..1."""
    sides = np.array([-1, -1, 1, 1])
    sure = np.array([4, 3, 2, 1])
    return Surface(5, (sure[:, None] * sides).astype(np.float32), (-1, 1, -1, 1), threshold)


def test_shades_tell_sides_and_sureness_and_where_nothing_is_known() -> None:
    x = np.array([-1.5, -0.5, 0.5, 1.5])
    y = np.array([0.9, -0.9])
    shades = shades_of(plane(), x, y)
    half = len(SHADES) // 2
    assert shades[:, 0].tolist() == shades[:, 3].tolist() == [NOWHERE, NOWHERE]
    assert shades[0].tolist()[1:3] == [0, len(SHADES) - 1], "the first row is at the top"
    assert shades[1].tolist()[1:3] == [half - 1, half]
    assert (shades_of(plane(-9.0), x, y)[:, 1:3] >= half).all(), "above the threshold is real"
    middle = shades_of(plane(None), x, y)
    assert middle[0, 1] < half <= middle[0, 2]


@pytest.mark.parametrize("scores", [np.full((3, 3), np.nan), np.zeros((3, 3)), np.zeros((1, 1))])
def test_surfaces_that_say_nothing_are_drawn_too(scores: Any) -> None:
    flat = Surface(1, scores.astype(np.float32), (-1, 1, -1, 1), None)
    shades = shades_of(flat, np.linspace(-1, 0.9, 5), np.linspace(0.9, -0.9, 4))
    assert shades.shape == (4, 5)
    assert len(np.unique(shades)) == 1


def test_points_stand_out_before_the_surface_and_stay_where_they_are() -> None:
    real = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)
    fake = np.array([[0.5, 0]], np.float32)
    bare = draw_scatter(real, fake, 20, 10, Glyphs())
    whole = draw_scatter(real, fake, 20, 10, Glyphs(), plane())
    assert lines(whole) == lines(bare)
    grounds = {look.bgcolor.name for look in looks(whole)}
    assert grounds - {palette.SURFACE} <= set(SHADES) and len(grounds) > 4
    fronts_seen = {fronts(whole, *place) for place in np.argwhere(whole.chars != " ").tolist()}
    assert {palette.FAKE_ON_GROUND, palette.DIM} == {front for front, _ in fronts_seen}
    plain = draw_scatter(real, fake, 20, 10, NO_COLOR, plane())
    assert {look.bgcolor.name for look in looks(plain)} == {palette.SURFACE}


def test_layers_are_thinned_evenly_and_their_scale_holds_them() -> None:
    layers = [Layer("G", str(i), 10.0 ** (-i), 1.0) for i in range(9)]
    assert [layer.name for layer in chosen(layers, 5)] == ["0", "2", "4", "6", "8"]
    assert chosen(layers, 0) == []
    assert decades(layers) == (-8, 0)
    odd = [Layer("D", "x", value, 1.0) for value in (0.0, float("nan"), float("inf"))]
    assert decades(odd) == (-1, 0)


ODD: dict[str, Diagnosis] = {
    "nothing": Diagnosis(),
    "whole": diagnosis(),
    "collapsed": diagnosis(lost=7),
    "one mode": diagnosis(modes=modes(1, 1), mode_trail=trail(modes(1, 1))),
    "thousand modes": diagnosis(modes=modes(600, 1000), mode_trail=None),
    "sixty-four modes": diagnosis(modes=modes(60, 64), mode_trail=trail(modes(60, 64))),
    "not a number": diagnosis(
        readings={name: Reading(float("nan"), 5) for name in diagnosis().readings},
        series={
            name: Series(np.array([5]), np.array([np.nan], np.float32))
            for name in diagnosis().series
        },
        layers=(Layer("D", "net\x1b[0m.weight", float("nan"), float("nan"), float("nan")),),
        modes=some([float("nan")] * 10),
        mode_trail=ModeTrail(np.array([5]), np.full((1, 10), np.nan, np.float32)),
        scores=hills([0, 0], [0, 0]),
    ),
    "no modes": diagnosis(modes=None, mode_trail=None, note=""),
}


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("name", ODD)
def test_every_panel_draws_anything_on_any_room(panel: type[Panel], name: str) -> None:
    board = running(200, alarms=(COLLAPSE, RANGE))
    snapshot = replace(
        board.snapshot, diagnosis=ODD[name], info=RunInfo(data="d", diagnose_every=250)
    )
    for glyphs in (Glyphs(), ASCII, NO_COLOR):
        frame = Frame(snapshot, board.history, board.events(), glyphs=glyphs)
        drawn = panel()
        for width, height in [
            (1, 1),
            (5, 2),
            (9, 3),
            (20, 5),
            (36, 12),
            (57, 6),
            (84, 11),
            (9, 40),
        ]:
            strips = drawn.draw(frame, width, height).strips()
            assert [strip.cell_length for strip in strips] == [width] * height
            text = "".join(strip.text for strip in strips)
            assert "\x1b" not in text
            assert glyphs.unicode or text.isascii()
