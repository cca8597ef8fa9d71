from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganterm.session.history import History


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
