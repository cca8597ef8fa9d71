"""What goes over the socket comes out as it went in, and nothing else comes out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from ganterm.core.controls import KNOBS, Controls
from ganterm.core.findings import (
    Alarm,
    Diagnosis,
    Layer,
    Measure,
    Modes,
    ModeTrail,
    Reading,
    Remedy,
    Scores,
    Series,
    Surface,
)
from ganterm.core.metrics import METRICS
from ganterm.core.snapshot import (
    EMPTY,
    Command,
    Counters,
    Failure,
    Rates,
    RunInfo,
    Sample,
    SetControl,
    Snapshot,
    Stop,
    View,
)
from ganterm.core.text import clean
from ganterm.session import wire

TEXT = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=30)
ANY_TEXT = st.text(max_size=40)
FLOAT = st.floats()
STEP = st.integers(0, 10**12)


def arrays(dtype: str, *shape: int) -> st.SearchStrategy[Any]:
    return nps.arrays(np.dtype(f"<{dtype}"), shape)


@st.composite
def diagnoses(draw: st.DrawFn) -> Diagnosis:
    count = draw(st.integers(0, 4))
    series = Series(draw(arrays("i8", count)), draw(arrays("f4", count)))
    modes = Modes(
        draw(STEP),
        tuple(draw(st.lists(TEXT, max_size=3))),
        draw(arrays("f4", 3)),
        draw(arrays("f4", 3)),
        draw(nps.arrays(bool, 3)),
        draw(STEP),
        draw(TEXT),
    )
    scores = Scores(
        draw(STEP),
        draw(arrays("f4", 4)),
        draw(arrays("i8", 3)),
        draw(arrays("i8", 3)),
        draw(st.none() | arrays("i8", 3)),
    )
    threshold = draw(st.none() | FLOAT | st.just(0))
    return Diagnosis(
        step=draw(STEP),
        measures={"m": Measure(draw(TEXT), "%", draw(TEXT))},
        readings=draw(st.dictionaries(TEXT, st.builds(Reading, FLOAT, STEP), max_size=3)),
        series={"m": series},
        modes=draw(st.none() | st.just(modes)),
        mode_trail=ModeTrail(series.steps, draw(arrays("f4", count, 2))),
        scores=draw(st.none() | st.just(scores)),
        layers=(Layer("G", draw(TEXT), draw(FLOAT), draw(FLOAT)),),
        surface=Surface(draw(STEP), draw(arrays("f4", 2, 3)), (0.0, 1.0, -1.0, 2.5), threshold),
        cost=draw(FLOAT),
        note=draw(TEXT),
    )


VIEWS = st.builds(
    View,
    st.sampled_from(["", "samples", "classes", "real", "walk", "nearest"]),
    st.sampled_from(["raw", "averaged", "both"]),
    STEP,
)
SAMPLES = st.builds(
    Sample,
    STEP,
    images=st.none() | arrays("u1", 2, 3, 3, 1),
    points=st.none() | arrays("f4", 3, 2),
    real_points=st.none() | arrays("f4", 2, 2),
    view=VIEWS,
    across=st.integers(0, 9),
    labels=st.lists(TEXT, max_size=3).map(tuple),
    beside=st.none() | arrays("f4", 3, 2) | arrays("u1", 1, 2, 2, 3),
    distances=st.none() | arrays("f4", 2),
    note=TEXT,
)
CONTROLS = st.builds(
    Controls,
    k=st.integers(1, 100),
    lr_d=st.floats(1e-8, 1),
    loss=st.sampled_from(KNOBS["loss"].choices),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ALARMS = st.builds(
    Alarm,
    TEXT,
    TEXT,
    TEXT,
    STEP,
    STEP,
    st.sampled_from(["alarm", "warning"]),
    st.dictionaries(TEXT, JSON, max_size=3),
    st.lists(st.builds(Remedy, TEXT, TEXT), max_size=2).map(tuple),
)
SNAPSHOTS = st.builds(
    Snapshot,
    state=st.sampled_from(["loading", "running", "paused", "finished", "stopped", "failed"]),
    step=STEP,
    branch=st.integers(0, 9),
    info=st.builds(
        RunInfo, name=TEXT, title=TEXT, steps=st.none() | STEP, views=st.just(("walk",))
    ),
    controls=CONTROLS,
    counters=st.builds(Counters, STEP, STEP, STEP, FLOAT),
    rates=st.builds(Rates, FLOAT, FLOAT),
    scalars=st.fixed_dictionaries(dict.fromkeys(METRICS, FLOAT)),
    sample=st.none() | SAMPLES,
    diagnosis=diagnoses(),
    alarms=st.lists(ALARMS, max_size=2).map(tuple),
    progress=st.none() | st.floats(0, 1) | st.just(1),
    failure=st.none() | st.builds(Failure, TEXT, st.booleans(), TEXT),
)
COMMANDS = st.one_of(
    st.builds(SetControl, st.just("k"), st.integers(1, 100), TEXT),
    st.builds(SetControl, st.just("lr_g"), st.floats(1e-8, 1), TEXT),
    st.builds(SetControl, st.just("loss"), st.sampled_from(KNOBS["loss"].choices), TEXT),
    st.builds(Stop, TEXT),
    *(st.builds(kind) for kind in get_args(Command) if not fields(kind)),
)
ASKED = st.one_of(
    st.builds(wire.Hello, st.integers(0, 99), st.booleans(), TEXT),
    st.builds(wire.Do, STEP, COMMANDS),
    st.builds(wire.Watch, st.floats(0, 100), VIEWS),
    st.builds(wire.Note, st.sampled_from(["attach", "detach"]), st.dictionaries(TEXT, JSON)),
)
TOLD = st.one_of(
    st.builds(wire.Welcome, STEP, TEXT, STEP, TEXT),
    st.builds(wire.News, SNAPSHOTS),
    st.builds(wire.Picture, st.none() | SAMPLES),
    st.builds(wire.Found, diagnoses()),
    st.builds(wire.Beat),
    st.builds(wire.Answer, STEP, STEP, TEXT),
    st.builds(wire.Goodbye, st.booleans(), TEXT),
)


def same(one: Any, other: Any) -> bool:
    """Whether both are alike in every field, kind and bit; NaN is like NaN."""
    if isinstance(one, np.ndarray):
        alike = (one.dtype, one.shape) == (other.dtype, other.shape)
        return alike and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if is_dataclass(one):
        return type(one) is type(other) and all(
            same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one)
        )
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    return one == other and isinstance(one, bool) == isinstance(other, bool)


@given(ASKED)
def test_what_is_asked_arrives_as_it_was_sent(message: wire.Asked) -> None:
    line = wire.line(message)
    assert line.endswith(b"\n") and b"\n" not in line[:-1]
    assert same(wire.asked(line), message)


@given(TOLD)
@settings(max_examples=200)
def test_what_is_told_arrives_as_it_was_sent(message: wire.Told) -> None:
    assert same(wire.told(wire.line(message)), message)


@given(ANY_TEXT)
def test_text_arrives_safe_to_show(text: str) -> None:
    try:
        line = wire.line(wire.News(replace(EMPTY, doing=text, scalars={text: 1.0})))
    except TypeError:
        return  # Lone surrogates are no text that JSON could carry.
    news = wire.told(line)
    assert isinstance(news, wire.News)
    assert news.snapshot.doing == clean(text, 4000)
    assert list(news.snapshot.scalars) == [clean(text, 4000)]


@given(ASKED | TOLD, st.data())
@settings(max_examples=300)
def test_a_mutated_line_is_refused_or_another_valid_message(
    message: wire.Asked | wire.Told, data: st.DataObject
) -> None:
    line = bytearray(wire.line(message))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(line) - 1))
        if data.draw(st.booleans()):
            line[place] = data.draw(st.integers(0, 255))
        else:
            del line[place:]
            break
        if not line:
            break
    for read, kinds in ((wire.asked, wire.Asked), (wire.told, wire.Told)):
        try:
            made = read(bytes(line))
        except wire.WireError:
            continue
        assert isinstance(made, kinds)
        # Whatever got through is of the right types in every field, so it survives the trip.
        assert same(read(wire.line(made)), made)


def do(**command: Any) -> bytes:
    return orjson.dumps({"is": "Do", "number": 1, "command": command})


def set_(name: Any, value: Any, **more: Any) -> bytes:
    return do(**{"is": "SetControl", "name": name, "value": value, **more})


BAD = {
    "nothing": b"",
    "no JSON": b"{",
    "NaN": b'{"is":"Watch","samples_per_s":NaN}',
    "NaN by name": b'{"is":"Watch","samples_per_s":"nan"}',
    "1e309": b'{"is":"Watch","samples_per_s":1e309}',
    "deep": b"[" * 100_000,
    "deep in a note": b'{"is":"Note","kind":"attach","data":{"x":' + b"[" * 50 + b"]" * 50 + b"}}",
    "huge": b'{"is":"Do","number":' + b"9" * 5000 + b"}",
    "long": b'{"is":"Hello","protocol":1,"terminal":"' + b"x" * 70_000 + b'"}',
    "a list": b"[]",
    "another message": b'{"is":"News"}',
    "no message": b'{"is":"System"}',
    "is a list": b'{"is":["Do"]}',
    "number as text": b'{"is":"Do","number":"1","command":{"is":"Pause"}}',
    "number missing": b'{"is":"Do","command":{"is":"Pause"}}',
    "one field too many": b'{"is":"Do","number":1,"command":{"is":"Pause"},"x":1}',
    "command too much": do(**{"is": "Pause", "now": True}),
    "no command": do(**{"is": "System"}),
    "truth as number": set_("k", True),
    "text as number": set_("lr_d", "1e-3"),
    "out of range": set_("k", 101),
    "half a k": set_("k", 1.5),
    "no control": set_("rm -rf", 1),
    "control a list": set_(["k"], 1),
    "value a list": set_("k", [1]),
    "value null": set_("k", None),
    "no loss": set_("loss", "gan\x1b[2J"),
    "no view": b'{"is":"Watch","samples_per_s":1,"view":{"name":"x"}}',
    "note of another kind": b'{"is":"Note","kind":"stop","data":{}}',
}


@pytest.mark.parametrize("line", BAD.values(), ids=list(BAD))
def test_what_must_not_be_asked_is_refused_in_a_few_safe_words(line: bytes) -> None:
    with pytest.raises(wire.WireError) as caught:
        wire.asked(line)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


ARRAY = {"dtype": "|u1", "shape": [1, 2, 2, 1], "base64": "AAAAAA=="}


@pytest.mark.parametrize(
    "wrong",
    [
        {"dtype": "|O"},
        {"dtype": "<f4"},
        {"dtype": 1},
        {"shape": [1, 2, 2, 2]},
        {"shape": [-1, 2, -2, 1]},
        {"shape": [1, 2, True, 2]},
        {"shape": "4"},
        {"shape": [4] + [1] * 10},
        {"shape": [2**62, 2**62]},
        {"base64": "AAAA"},
        {"base64": "AAAAAA=\n="},
        {"base64": 5},
        {"more": 1},
    ],
)
def test_an_array_must_be_what_it_says(wrong: dict[str, Any]) -> None:
    def picture(**array: Any) -> bytes:
        return orjson.dumps({"is": "Picture", "sample": {"step": 1, "images": array}})

    good = wire.told(picture(**ARRAY))
    assert isinstance(good, wire.Picture) and good.sample.images.shape == (1, 2, 2, 1)
    with pytest.raises(wire.WireError):
        wire.told(picture(**{**ARRAY, **wrong}))


def test_a_newer_trainer_may_tell_more_than_is_known_here() -> None:
    table = orjson.loads(wire.line(wire.News(EMPTY)))
    table["snapshot"]["of_the_future"] = 1
    assert same(wire.told(orjson.dumps(table)).snapshot, EMPTY)
