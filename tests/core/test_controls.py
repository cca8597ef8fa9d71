from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganterm.core.controls import KNOBS, ControlError, Controls, knob_of, parse_assignment

numbers = [knob for knob in KNOBS.values() if not knob.choices]


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        name, value = parse_assignment(text)
    except ControlError as error:
        assert "\n" not in str(error)
        return
    assert Controls().with_(name, value).value(name) == value


@given(st.sampled_from(numbers), st.floats(allow_nan=True, allow_infinity=True))
def test_a_number_is_taken_exactly_inside_its_range(knob, value) -> None:  # type: ignore[no-untyped-def]
    inside = knob.low <= value <= knob.high and (not knob.whole or value == int(value))
    if inside:
        assert knob.check(value) == value
    else:
        with pytest.raises(ControlError):
            knob.check(value)


@given(st.sampled_from(numbers), st.data())
def test_nudges_stay_in_range_and_go_back(knob, data) -> None:  # type: ignore[no-untyped-def]
    strategy = (
        st.integers(int(knob.low), int(knob.high)) if knob.whole else st.floats(knob.low, knob.high)
    )
    value = data.draw(strategy)
    for direction in (-1, 1):
        assert knob.low <= knob.nudge(value, direction) <= knob.high
    if knob.factor and knob.low * 2 < value < knob.high / 2:
        there_and_back = knob.nudge(knob.nudge(value, 1), -1)
        assert there_and_back == pytest.approx(value, rel=2e-5)


def test_rates_step_by_a_quarter_and_return_exactly() -> None:
    knob = KNOBS["lr_d"]
    assert knob.nudge(5e-4, 1) == 6.25e-4
    assert knob.nudge(6.25e-4, -1) == 5e-4
    assert knob.show(5e-4) == "5.00e-4"


def test_losses_go_round() -> None:
    knob = KNOBS["loss"]
    seen = ["non_saturating"]
    for _ in knob.choices:
        seen.append(str(knob.nudge(seen[-1], 1)))
    assert set(seen) == set(knob.choices)
    assert seen[0] == seen[-1]


@pytest.mark.parametrize("value", [True, "3", None, 2.5, 0, 101, float("nan"), 10**400])
def test_k_refuses_what_is_no_count(value: object) -> None:
    with pytest.raises(ControlError, match=r"k: .* is not a whole number from 1 to 100"):
        Controls().with_("k", value)


def test_errors_name_the_nearest() -> None:
    with pytest.raises(ControlError, match="did you mean 'lr_d'"):
        knob_of("lrd")
    with pytest.raises(ControlError, match="did you mean 'hinge'"):
        parse_assignment("loss hing")
    with pytest.raises(ControlError, match="needs a value: a whole number from 1 to 100"):
        parse_assignment("k")


def test_controls_are_frozen_and_complete() -> None:
    controls = Controls()
    with pytest.raises(dataclasses.FrozenInstanceError):
        controls.k = 2  # type: ignore[misc]
    assert list(controls.table()) == list(KNOBS)
    assert controls.with_("k", 3).k == 3
    assert controls.k == 1
