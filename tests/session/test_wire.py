"""What goes over the socket comes out as it went in, and nothing else comes out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
import numpy as np
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
    Rewind,
    RunInfo,
    Sample,
    SetControl,
    Snapshot,
    Stop,
    View,
)
from ganterm.core.text import clean
from ganterm.session import wire
from tests.helpers.frames import HEAD, array, content, framed, packed, table

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
    st.builds(Rewind, TEXT),
    *(st.builds(kind) for kind in get_args(Command) if not fields(kind)),
)
CLIENT_MESSAGES = st.one_of(
    st.builds(wire.Hello, st.integers(0, 99), st.booleans(), TEXT),
    st.builds(wire.Do, STEP, COMMANDS),
    st.builds(wire.Watch, st.floats(0, 100), VIEWS),
    st.builds(wire.Note, st.sampled_from(["attach", "detach"]), st.dictionaries(TEXT, JSON)),
)
SERVER_MESSAGES = st.one_of(
    st.builds(wire.Greeting, STEP, TEXT, STEP, TEXT),
    st.builds(wire.SnapshotUpdate, SNAPSHOTS),
    st.builds(wire.SampleUpdate, st.none() | SAMPLES),
    st.builds(wire.DiagnosisUpdate, diagnoses()),
    st.builds(wire.Heartbeat),
    st.builds(wire.Answer, STEP, STEP, TEXT),
    st.builds(wire.Goodbye, st.booleans(), TEXT),
)


def same(one: Any, other: Any) -> bool:
    """Whether both are alike in every field, kind and bit; NaN is like NaN."""
    if isinstance(one, np.ndarray):
        alike = (one.dtype, one.shape) == (other.dtype, other.shape)
        return alike and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, msgspec.Struct):
        values = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
        return type(one) is type(other) and all(same(*pair) for pair in values)
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


@given(CLIENT_MESSAGES)
def test_a_watchers_message_arrives_as_it_was_sent(message: wire.ClientMessage) -> None:
    frame = wire.frame(message)
    assert int.from_bytes(frame[:HEAD]) == len(frame) - HEAD
    assert same(wire.client_message(frame[HEAD:]), message)


@given(SERVER_MESSAGES)
@settings(max_examples=200)
def test_a_trainers_message_arrives_as_it_was_sent(message: wire.ServerMessage) -> None:
    assert same(wire.server_message(content(message)), message)


@given(ANY_TEXT)
def test_text_arrives_safe_to_show(text: str) -> None:
    try:
        message = content(wire.SnapshotUpdate(replace(EMPTY, doing=text, scalars={text: 1.0})))
    except UnicodeEncodeError:
        return  # A lone surrogate has no UTF-8.
    update = wire.server_message(message)
    assert isinstance(update, wire.SnapshotUpdate)
    assert update.snapshot.doing == clean(text, 4000)
    assert list(update.snapshot.scalars) == [clean(text, 4000)]


@given(CLIENT_MESSAGES | SERVER_MESSAGES, st.data())
@settings(max_examples=300)
def test_a_mutated_message_is_refused_or_another_valid_message(
    message: wire.ClientMessage | wire.ServerMessage, data: st.DataObject
) -> None:
    mutated = bytearray(content(message))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(mutated) - 1))
        if data.draw(st.booleans()):
            mutated[place] = data.draw(st.integers(0, 255))
        else:
            del mutated[place:]
            break
        if not mutated:
            break
    sides = (
        (wire.client_message, wire.ClientMessage),
        (wire.server_message, wire.ServerMessage),
    )
    for read, kinds in sides:
        try:
            message = read(bytes(mutated))
        except wire.WireError:
            continue
        assert isinstance(message, kinds)
        # Whatever got through is of the right types in every field, so it survives the trip.
        assert same(read(content(message)), message)


@given(st.lists(CLIENT_MESSAGES, max_size=4), st.data())
def test_messages_are_the_same_however_the_socket_cuts_them(
    messages: list[wire.ClientMessage], data: st.DataObject
) -> None:
    reader, arrived = wire.FrameReader(1 << 16), []
    rest = b"".join(map(wire.frame, messages))
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        reader.feed(rest[:size])
        rest = rest[size:]
        while (message := reader.next()) is not None:
            arrived.append(message)
    assert arrived == [content(message) for message in messages]


def test_a_message_that_is_too_long_is_refused_by_its_length_alone() -> None:
    reader = wire.FrameReader(100)
    reader.feed(framed(b"x" * 100) + (101).to_bytes(HEAD))
    assert reader.next() == b"x" * 100
    with pytest.raises(wire.WireError, match="101 bytes; 100 are allowed"):
        reader.next()


def do(name: Any, fields: Any) -> bytes:
    return packed({"type": "Do", "number": 1, "command": [name, fields]})


def set_(name: Any, value: Any, **more: Any) -> bytes:
    return do("SetControl", {"name": name, "value": value, **more})


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


PAUSE = ["Pause", {}]
BAD = {
    "nothing": b"",
    "cut": content(wire.Do(1, Stop()))[:-3],
    "more behind it": content(wire.Hello(2)) + b"\0",
    "no text": b"\x81\xa2\xff\xfe\x01",
    "a list of four billion": b"\xdd\xff\xff\xff\xff",
    "a table of four billion": b"\xdf\xff\xff\xff\xff",
    "a text of four billion": b"\xdb\xff\xff\xff\xff",
    "NaN": packed({"type": "Watch", "samples_per_s": math.nan}),
    "infinite": packed({"type": "Watch", "samples_per_s": math.inf}),
    "NaN by name": packed({"type": "Watch", "samples_per_s": "nan"}),
    "NaN in a note": packed({"type": "Note", "kind": "attach", "data": {"x": math.nan}}),
    "deep": b"\x91" * 60_000,
    "deep in a note": packed({"type": "Note", "kind": "attach", "data": {"x": nested(50)}}),
    "long": packed({"type": "Hello", "protocol": 2, "terminal": "x" * 70_000}),
    "a list": packed([]),
    "another message": packed({"type": "SnapshotUpdate"}),
    "no message": packed({"type": "System"}),
    "no type": packed({"number": 1, "command": PAUSE}),
    "type a list": packed({"type": ["Do"]}),
    "number as text": packed({"type": "Do", "number": "1", "command": PAUSE}),
    "number a fraction": packed({"type": "Do", "number": 1.5, "command": PAUSE}),
    "number missing": packed({"type": "Do", "command": PAUSE}),
    "one field too many": packed({"type": "Do", "number": 1, "command": PAUSE, "x": 1}),
    "one field too many in a view": packed(
        {"type": "Watch", "samples_per_s": 1, "view": {"name": "real", "x": 1}}
    ),
    "bytes": packed({"type": "Note", "kind": "attach", "data": {"x": b"x"}}),
    "an array": packed({"type": "Note", "kind": "attach", "data": {"x": array("|u1", [1], b"x")}}),
    "a time": packed({"type": "Note", "kind": "attach", "data": {"x": datetime.now(UTC)}}),
    "a name that is a number": packed({"type": "Note", "kind": "attach", "data": {1: 1}}),
    "command too much": do("Pause", {"now": True}),
    "command no list": packed({"type": "Do", "number": 1, "command": {"type": "Pause"}}),
    "command a name": packed({"type": "Do", "number": 1, "command": "Pause"}),
    "no command": do("System", {}),
    "no such class": do("Snapshot", {}),
    "truth as number": set_("k", True),
    "text as number": set_("lr_d", "1e-3"),
    "out of range": set_("k", 101),
    "half a k": set_("k", 1.5),
    "no control": set_("rm -rf", 1),
    "control a list": set_(["k"], 1),
    "value a list": set_("k", [1]),
    "value null": set_("k", None),
    "no loss": set_("loss", "gan\x1b[2J"),
    "no view": packed({"type": "Watch", "samples_per_s": 1, "view": {"name": "x"}}),
    "note of another kind": packed({"type": "Note", "kind": "stop", "data": {}}),
}


@pytest.mark.parametrize("message", BAD.values(), ids=list(BAD))
def test_what_must_not_be_asked_is_refused_in_a_few_safe_words(message: bytes) -> None:
    with pytest.raises(wire.WireError) as caught:
        wire.client_message(message)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


ARRAY = {"dtype": "|u1", "shape": [1, 2, 2, 1], "content": bytes(4)}


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
        {"content": bytes(3)},
        {"content": "AAAA"},
        {"content": 5},
        {"code": 2},
    ],
)
def test_an_array_must_be_what_it_says(wrong: dict[str, Any]) -> None:
    def picture(**parts: Any) -> bytes:
        return packed({"type": "SampleUpdate", "sample": {"step": 1, "images": array(**parts)}})

    good = wire.server_message(picture(**ARRAY))
    assert isinstance(good, wire.SampleUpdate) and good.sample.images.shape == (1, 2, 2, 1)
    with pytest.raises(wire.WireError):
        wire.server_message(picture(**{**ARRAY, **wrong}))


@pytest.mark.parametrize("images", [b"1234", [1, 2], {"dtype": "|u1"}, "x"])
def test_only_an_array_is_one(images: Any) -> None:
    with pytest.raises(wire.WireError):
        wire.server_message(
            packed({"type": "SampleUpdate", "sample": {"step": 1, "images": images}})
        )


def test_a_newer_trainer_may_tell_more_than_is_known_here() -> None:
    message = table(content(wire.SnapshotUpdate(EMPTY)))
    message["of_the_future"] = message["snapshot"]["of_the_future"] = 1
    assert same(wire.server_message(packed(message)).snapshot, EMPTY)
