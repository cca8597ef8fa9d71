from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganterm.core.history import LIMIT, WIDTHS, History
from ganterm.core.metrics import METRICS
from ganterm.rundir.columns import read_history


def filled(values: np.ndarray, chunk: int = 700, limit: int = 1 << 18) -> History:
    history = History(("a", "b"), limit=limit)
    for start in range(0, len(values), chunk):
        part = values[start : start + chunk]
        history.append(np.stack([part, -part], axis=1).astype(np.float32))
    return history


def direct(values: np.ndarray, columns: int, width: int) -> list[np.ndarray]:
    edges = np.arange(columns + 1) * width // columns
    return [values[a : max(b, a + 1)] for a, b in itertools.pairwise(edges)]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3000), st.integers(1, 130), st.integers(1, 900))
def test_envelope_equals_a_direct_computation_over_raw_rows(
    rows: int, columns: int, chunk: int
) -> None:
    values = np.random.default_rng(rows).normal(size=rows).astype(np.float32)
    view = filled(values, chunk).view
    envelope = view.envelope("a", columns)
    width = envelope.last - envelope.first + 1
    assert rows <= width <= max(columns, 1.25 * rows + 1)
    if width // columns < 16:  # No coarser level is in play, so the columns' edges are exact.
        for place, part in enumerate(direct(values, columns, width)):
            if len(part):
                assert envelope.low[place] == part.min()
                assert envelope.high[place] == part.max()
                assert envelope.mean[place] == pytest.approx(part.mean(), abs=1e-5)
            else:
                assert np.isnan(envelope.low[place])
    assert np.nanmin(envelope.low) == values.min()
    assert np.nanmax(envelope.high) == values.max()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 299_999), st.sampled_from([3, 56, 120]))
def test_a_one_step_spike_is_never_lost(at: int, columns: int) -> None:
    values = np.zeros(300_000, np.float32)
    values[at] = 7
    envelope = filled(values, 50_000).view.envelope("a", columns)
    assert np.nanmax(envelope.high) == 7
    width = envelope.last - envelope.first + 1
    expected = at * columns // width
    assert abs(int(np.nanargmax(envelope.high)) - expected) <= 1


def test_views_do_not_change_while_rows_come_in() -> None:
    history = filled(np.arange(1000.0))
    view = history.view
    before = view.envelope("a", 40)
    for _ in range(50):
        history.append(np.full((500, 2), 99, np.float32))
    after = view.envelope("a", 40)
    assert view.rows == 1000
    assert np.array_equal(before.high, after.high, equal_nan=True)


def test_columns_stay_where_they_are_while_the_run_grows() -> None:
    history = filled(np.sin(np.arange(4000.0)))
    before = history.view.envelope("a", 50)
    history.append(np.zeros((20, 2), np.float32))
    after = history.view.envelope("a", 50)
    known = np.count_nonzero(np.isfinite(before.low)) - 1
    assert (before.first, before.last) == (after.first, after.last)
    assert np.array_equal(before.low[:known], after.low[:known])


def test_memory_is_bounded_and_old_rows_live_on_in_coarser_levels() -> None:
    values = np.zeros(40_000, np.float32)
    values[100] = 5
    view = filled(values, 500, limit=256).view
    assert view.levels[0].low.shape[1] < 4 * 4 * 256 + 2000
    assert np.nanmax(view.envelope("a", 30).high) == 5


def test_what_is_not_finite_is_no_value() -> None:
    values = np.array([1.0, np.nan, np.inf, 3.0])
    view = filled(values).view
    envelope = view.envelope("a", 1)
    assert (envelope.low[0], envelope.high[0], envelope.mean[0]) == (1, 3, 2)
    gone = filled(np.full(100, np.nan)).view.envelope("a", 3)
    assert np.isnan(gone.mean).all()


def test_a_span_shows_the_newest_rows() -> None:
    view = filled(np.arange(10_000.0)).view
    envelope = view.envelope("a", 20, span=200)
    assert envelope.first > 9_700
    assert np.nanmax(envelope.high) == 9_999


def test_steps_follow_record_every() -> None:
    history = History(("a",), first_step=10, every=10)
    assert history.view.last_step == 0
    history.append(np.zeros((5, 1), np.float32))
    assert history.view.last_step == 50


def on_disk(folder: Path, steps: np.ndarray, values: np.ndarray) -> None:
    (folder / "history").mkdir()
    steps.astype("<i8").tofile(folder / "history" / "step.i8")
    for place, name in enumerate(METRICS):
        (values * (place + 1)).astype("<f4").tofile(folder / "history" / f"{name}.f4")


@pytest.mark.parametrize("case", ["whole", "with gaps", "abandoned"])
def test_what_is_read_when_it_is_looked_at_is_what_it_would_have_been(
    tmp_path: Path, case: str
) -> None:
    count = LIMIT + 9 * WIDTHS[-1] + 77
    random = np.random.default_rng(1)
    steps, values = np.arange(1, count + 1), random.normal(size=count).astype(np.float32)
    values[[5, 4321]] = 50, np.nan
    if case == "with gaps":
        kept = random.random(count) < 0.9
        kept[5] = kept[-1] = True
        steps, values = steps[kept], values[kept]
    if case == "abandoned":
        steps = np.concatenate([np.arange(1, 9001), np.full(5, 7), steps])
        values = np.concatenate([np.full(9005, 1e9, np.float32), values])
    on_disk(tmp_path, steps, values)
    history = read_history(tmp_path, 1, count)
    eager = History(tuple(METRICS))
    rows = np.full((count, len(METRICS)), np.nan, np.float32)
    rows[steps - 1] = values[:, None] * np.arange(1, len(METRICS) + 1, dtype=np.float32)
    eager.append(rows)
    for added in (0, 3, 100_000):
        more = random.normal(size=(added, len(METRICS))).astype(np.float32)
        history.append(more)
        eager.append(more)
        count += added
        assert history.view.rows == history.view.last_step == count
        for name, columns, span in itertools.product(("d_loss", "elapsed"), (3, 300), (None, 2000)):
            one = history.view.envelope(name, columns, span)
            other = eager.view.envelope(name, columns, span)
            for field in ("low", "high", "mean"):
                assert np.array_equal(getattr(one, field), getattr(other, field), equal_nan=True)
        assert np.nanmax(history.view.envelope("d_loss", 40).high) == 50
        there, newest = history.view.newest("k", 500)
        assert np.array_equal(newest, eager.view.newest("k", 500)[1], equal_nan=True)
        assert there.tolist() == list(range(count - 499, count + 1))


def test_a_history_that_is_cut_short_meanwhile_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    count = LIMIT + 2 * WIDTHS[-1]
    on_disk(tmp_path, np.arange(1, count + 1), np.ones(count, np.float32))
    view = read_history(tmp_path, 1, count).view
    with (tmp_path / "history" / "d_loss.f4").open("r+b") as file:
        file.truncate(4 * WIDTHS[-1])
    (tmp_path / "history" / "g_loss.f4").unlink()
    assert view.archive is not None and view.archive.rows == 2 * WIDTHS[-1]
    seen = view.envelope("d_loss", count // WIDTHS[-1]).mean
    assert seen[0] == seen[3] == 1 and np.isnan(seen[1])
    assert np.isnan(view.envelope("g_loss", count // WIDTHS[-1]).mean[:2]).all()
