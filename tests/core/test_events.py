"""A line of events.jsonl is read as the event that it was written from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganterm.core.controls import KNOBS
from ganterm.core.events import KINDS, AlarmEvent, Event, OtherEvent, StopEvent, from_table
from ganterm.core.findings import Alarm, Remedy
from ganterm.core.json_text import json_bytes, parse_json
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.panels.events import describe
from ganterm.rundir.reader import event_of

HEAD = b'{"step":7,"branch":1,"time":"2026-01-01T00:00:00.000+00:00","kind":'
LINES = (
    b'"start","controls":{"loss":"hinge","k":1}}',
    b'"change","key":"k","from":1,"to":2,"by":"key"}',
    b'"schedule","key":"lr_d","from":0.0005,"to":0.00025,"by":"preset"}',
    b'"refused","key":"k","to":"0","by":"pid 7","reason":"k: 1 to 100"}',
    b'"refused","key":"rewind","to":"","reason":"no healthy checkpoint"}',
    b'"data","text":"12 pictures are grey"}',
    b'"data","files":["a.png","b.png"],"why":"skipped on loading"}',
    b'"pause"}',
    b'"pause","cause":"d_loss is not finite","waits":true}',
    b'"unpause"}',
    b'"alarm","name":"collapse","severity":"warning","title":"Collapse","message":"3 of 10 digits",'
    b'"since":5,"evidence":{"left":["0"],"share":0.1},"remedies":[{"press":"U","does":"go back"}],'
    b'"state":"raised"}',
    b'"checkpoint","path":"checkpoints/step_0000000007-b1","own":false}',
    b'"checkpoint","path":"checkpoints/step_0000000007-b1","own":true,"cfid":43.219}',
    b'"resume","from_step":7,"checkpoint":"step_0000000007-b0","discards":false,"differs":[],'
    b'"controls":{"k":1}}',
    b'"resume","from_step":7,"checkpoint":"step_0000000007-b0","passed_over":"step_0000000009-b0",'
    b'"discards":true,"differs":["torch 2.6 -> 2.7"],"controls":{"k":1}}',
    b'"rewind","checkpoint":"step_0000000007-b0","from_step":9,"from_branch":0,"by":"key",'
    b'"changed":{"k":{"from":2,"to":1}},"controls":{"k":1}}',
    b'"note","text":"fresh fixed noise"}',
    b'"warning","text":"data.dequantize does nothing here"}',
    b'"attach","by":"pts/1","screen":"80x24"}',
    b'"detach","by":"pts/1","lost":true}',
    b'"error","message":"memory ran out"}',
    b'"stop","reason":"7 steps done","state":"finished","saved":null}',
    b'"stop","reason":"q","state":"stopped","saved":"checkpoints/x","healthy":"checkpoints/y"}',
    b'"fork","of":"a kind of a later version","deep":{"x":[1,null]}}',
)


def event(line: bytes) -> Event:
    read = event_of(line)
    assert read is not None, line
    return read


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_is_read_and_written_again_is_the_same(line: bytes) -> None:
    assert json_bytes(event(HEAD + line).table()) == HEAD + line


def test_every_kind_has_a_line_here() -> None:
    kinds = {event(HEAD + line).kind for line in LINES}
    missing = set(KINDS) - kinds
    assert not missing, f"add a line to LINES for each of these kinds of events: {missing}"


def test_what_another_version_adds_to_a_line_is_passed_over() -> None:
    stop = event(HEAD + b'"stop","reason":"q","weather":"fine"}')
    assert stop == StopEvent(step=7, branch=1, time=stop.time, reason="q")
    assert isinstance(event(HEAD + b'"weather","x":1}'), OtherEvent)


def test_an_alarm_of_an_old_line_began_at_its_own_step() -> None:
    alarm = event(HEAD + b'"alarm","name":"a","state":"raised","message":"m"}')
    assert isinstance(alarm, AlarmEvent) and (alarm.first_step, alarm.raised) == (7, True)


def test_the_event_of_an_alarm_says_what_the_alarm_says() -> None:
    alarm = Alarm("a", "A", "m", 3, 5, "warning", {"x": 1}, (Remedy("k", "more of D"),))
    placed = AlarmEvent.of(alarm, "cleared").placed(5, 0, "")
    assert (placed.first_step, placed.raised, placed.severity) == (3, False, "warning")
    assert placed.remedies == ({"press": "k", "does": "more of D"},)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """A line of another version: a valid one in which some fields are gone or odd."""
    table = parse_json(HEAD + draw(st.sampled_from(LINES)))
    for name in draw(st.lists(st.sampled_from([*table, *KNOBS]), max_size=3)):
        if draw(st.booleans()):
            table.pop(name, None)
        else:
            table[name] = draw(_VALUES)
    return table


@given(tables())
def test_an_odd_line_is_passed_over_or_can_be_shown(table: dict[str, Any]) -> None:
    read = from_table(table)
    if read is not None:
        describe(read, Glyphs())
        assert read.table()["kind"] == table["kind"]
