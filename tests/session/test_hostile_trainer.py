"""A watcher outlives a trainer that says what cannot be, and names what was wrong."""

from __future__ import annotations

import re
import socket
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganterm.core.controls import Controls
from ganterm.core.errors import UserError
from ganterm.core.findings import (
    Alarm,
    Diagnosis,
    Layer,
    Measure,
    Modes,
    ModeTrail,
    Reading,
    Scores,
    Series,
    Surface,
)
from ganterm.core.snapshot import Event, Pause, Refusal, RunInfo, Sample, SetControl, Snapshot
from ganterm.dashboard.app import Dashboard
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.panels.banner import BannerPanel
from ganterm.dashboard.panels.diagnosis import DiagnosisPanel
from ganterm.dashboard.panels.layers import LayersPanel
from ganterm.dashboard.panels.modes import ModesPanel
from ganterm.dashboard.panels.readings import ReadingsPanel
from ganterm.dashboard.panels.samples import SamplesPanel
from ganterm.dashboard.panels.scores import ScoresPanel
from ganterm.dashboard.panels.status import StatusPanel
from ganterm.rundir import follow, reader
from ganterm.session import bounds, wire
from ganterm.session import client as client_module
from ganterm.session.client import RemoteSession
from tests.dashboard.test_dashboard import TIME, notices, running, screen_text
from tests.helpers.deadlines import until
from tests.helpers.frames import content, framed, packed, table
from tests.helpers.hostile import WELCOME, run_directory, trainer

HUGE = 1 << 40
F4, I8, U1 = np.float32, np.int64, np.uint8


def diagnosis() -> Diagnosis:
    steps = np.array([100, 200], I8)
    return Diagnosis(
        step=200,
        measures={"coverage": Measure("Coverage", "%", "How much of the data G makes.")},
        readings={"coverage": Reading(70.0, 200)},
        series={"coverage": Series(steps, np.array([60, 70], F4))},
        modes=Modes(
            200,
            ("0", "1"),
            np.array([1, 0], F4),
            np.array([0.5, 0.5], F4),
            np.array([1, 0], bool),
            9,
        ),
        mode_trail=ModeTrail(steps, np.array([[1, 0], [1, 0]], F4)),
        scores=Scores(200, np.arange(4, dtype=F4), np.arange(3), np.arange(3)),
        layers=(Layer("G", "0 Linear", 1.0, 2.0), Layer("D", "0 Linear", 0.1, 2.0, 0.5)),
        surface=Surface(200, np.zeros((3, 4), F4), (-1.0, 1.0, -1.0, 1.0), 0.0),
        cost=0.01,
    )


def snapshot() -> Snapshot:
    alarm = Alarm("collapse", "Collapse", "Digits are gone.", 100, 120, evidence={"lost": ["3"]})
    return replace(running().snapshot, alarms=(alarm,), diagnosis=Diagnosis(), sample=None)


PICTURES = Sample(5, images=np.zeros((4, 8, 8, 1), U1))
CLOUD = Sample(5, points=np.zeros((4, 2), F4), real_points=np.zeros((9, 2), F4))

SNAPSHOTS = {
    "step": {"step": -1},
    "branch": {"branch": HUGE * HUGE},
    "progress": {"progress": 1e300},
    "memory_bytes": {"memory_bytes": -5},
    "info.steps": {"info": RunInfo(steps=0)},
    "info.views": {"info": RunInfo(views=("samples",) * 1000)},
    "info.threads": {"info": RunInfo(threads=-1)},
    "info.diagnose_every": {"info": RunInfo(diagnose_every=-1)},
    "alarms": {"alarms": (snapshot().alarms * 1000)},
    "alarms.since": {"alarms": (replace(snapshot().alarms[0], since=-1),)},
}
SAMPLES = {
    "images": [
        replace(PICTURES, images=None),
        replace(PICTURES, images=np.zeros((0, 1 << 25, 1 << 25, 3), U1)),
        replace(PICTURES, images=np.zeros((4, 8, 8, 7), U1)),
        replace(PICTURES, images=np.zeros((9,), U1)),
        replace(PICTURES, images=np.zeros((1, 1, 4000, 1), U1)),
    ],
    "beside": [
        replace(PICTURES, beside=np.zeros((4, 0, 8, 1), U1)),
        replace(CLOUD, beside=np.zeros((4, 8, 8, 1), U1)),
    ],
    "distances": [replace(PICTURES, distances=np.zeros(4, F4))],
    "real_points": [replace(CLOUD, real_points=None)],
    "points": [replace(CLOUD, points=np.zeros((1 << 18, 2), F4))],
    "rows": [replace(PICTURES, rows=-1)],
    "across": [replace(PICTURES, across=HUGE)],
    "view.first": [replace(PICTURES, view=replace(PICTURES.view, first=HUGE))],
}
MODES, SCORES, SURFACE = diagnosis().modes, diagnosis().scores, diagnosis().surface
assert MODES is not None and SCORES is not None and SURFACE is not None
OF_DIAGNOSIS = {
    "layers": {"layers": diagnosis().layers * 5000},
    "readings": {"readings": {str(n): Reading(0.0, 1) for n in range(5000)}},
    "series.values": {"series": {"x": Series(np.arange(3), np.zeros(4, F4))}},
    "series.steps": {"series": {"x": Series(np.array([5, 3]), np.zeros(2, F4))}},
    "modes.shares": {"modes": replace(MODES, shares=np.array([9, 0], F4))},
    "modes.found": {"modes": replace(MODES, found=np.ones(77, bool))},
    "mode_trail.shares": {"mode_trail": ModeTrail(np.arange(2), np.zeros(2, F4))},
    "scores.edges": {"scores": replace(SCORES, edges=np.zeros(0, F4))},
    "scores.fake": {"scores": replace(SCORES, fake=np.array([1, -1, 1]))},
    "surface.scores": {"surface": replace(SURFACE, scores=np.zeros((0, 9), F4))},
    "surface.extent": {"surface": replace(SURFACE, extent=(1.0, 1.0, 0.0, 1.0))},
}


def test_what_a_trainer_really_shows_is_taken() -> None:
    bounds.check_snapshot(snapshot())
    bounds.check_diagnosis(diagnosis())
    for sample in (None, PICTURES, CLOUD, replace(PICTURES, beside=PICTURES.images)):
        bounds.check_sample(sample)


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_snapshot_that_cannot_be_is_refused_by_the_name_of_its_field(name: str) -> None:
    with pytest.raises(wire.WireError, match=f"^{name}: "):
        bounds.check_snapshot(replace(snapshot(), **SNAPSHOTS[name]))


@pytest.mark.parametrize(("name", "sample"), [(n, s) for n, many in SAMPLES.items() for s in many])
def test_a_sample_that_cannot_be_is_refused_by_the_name_of_its_field(
    name: str, sample: Sample
) -> None:
    with pytest.raises(wire.WireError, match=f"^{name}: "):
        bounds.check_sample(sample)


@pytest.mark.parametrize("name", OF_DIAGNOSIS)
def test_a_diagnosis_that_cannot_be_is_refused_by_the_name_of_its_field(name: str) -> None:
    with pytest.raises(wire.WireError, match=f"^{name}: "):
        bounds.check_diagnosis(replace(diagnosis(), **OF_DIAGNOSIS[name]))


def test_counts_are_bounded_before_anything_is_made_of_them() -> None:
    message = table(content(wire.DiagnosisUpdate(diagnosis())))
    message["diagnosis"]["layers"] *= 1 << 16
    with pytest.raises(wire.WireError, match="diagnosis: layers: more than 65,536"):
        wire.server_message(packed(message))


PARTS = {
    "snapshot": content(wire.SnapshotUpdate(snapshot())),
    "diagnosis": content(wire.DiagnosisUpdate(diagnosis())),
    "pictures": content(wire.SampleUpdate(PICTURES)),
    "cloud": content(wire.SampleUpdate(CLOUD)),
}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.just(b"bytes"),
    st.sampled_from(["nan", "inf", "-inf", "", "\x1b[2J", "x" * 4000, [], {}, [0], [[0] * 9], -1]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all that is in a message."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = [path] if path else []
    if isinstance(value, dict | list):
        for key, part in inner:
            found += places(part, (*path, key)) if isinstance(part, dict | list) else [(*path, key)]
    return found


@settings(max_examples=150)
@given(part=st.sampled_from(sorted(PARTS)), data=st.data())
def test_what_is_taken_of_a_mutated_message_can_be_drawn(part: str, data: st.DataObject) -> None:
    message = table(PARTS[part])
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from([p for p in places(message) if p != ("type",)]))
        place = message
        for key in path:
            place = place[key]
        odd = deepcopy(data.draw(ODD))
        place[last] = place[last] * 3 if isinstance(place[last], list) and odd is None else odd
    shown = snapshot()
    try:
        match wire.server_message(packed(message)):
            case wire.SnapshotUpdate(news):
                bounds.check_snapshot(news)
                scalars = {**shown.scalars, **news.scalars}
                shown = replace(news, scalars=scalars, diagnosis=diagnosis(), sample=PICTURES)
            case wire.DiagnosisUpdate(found):
                bounds.check_diagnosis(found)
                shown = replace(shown, diagnosis=found, sample=CLOUD)
            case wire.SampleUpdate(sample):
                bounds.check_sample(sample)
                shown = replace(shown, diagnosis=diagnosis(), sample=sample)
    except wire.WireError as error:
        assert str(error)
        return
    frame = Frame(shown, running(20).history, glyphs=Glyphs())
    for kind in PANELS:
        cells = kind(id="x").draw(frame, 60, 16)
        assert cells.size == (16, 60)
        assert all(char == " " or char.isprintable() for char in cells.chars.ravel().tolist())


PANELS = [
    BannerPanel,
    DiagnosisPanel,
    LayersPanel,
    ModesPanel,
    ReadingsPanel,
    SamplesPanel,
    ScoresPanel,
    StatusPanel,
]


def started(run: Path, sent: bytes) -> str:
    """Why a watcher of a trainer that sends this does not begin."""

    def says(connection: socket.socket) -> None:
        connection.sendall(WELCOME + sent)

    with trainer(run, says) as pointer, pytest.raises(UserError) as failed:
        RemoteSession(pointer).start()
    return str(failed.value)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (framed(b"\x00\xff"), "not msgpack"),
        (framed(b"\x91" * 100_000), "not msgpack"),
        (framed(b"\x81\x80\xc0"), "not msgpack"),
        (
            framed(packed({"type": "SnapshotUpdate", "snapshot": {"step": "1"}})),
            "snapshot.step: Expected",
        ),
        (b"\xff" * 10, "bytes; 33,554,432 are allowed"),
        (
            wire.frame(wire.SnapshotUpdate(replace(snapshot(), progress=7.0))),
            "progress: not from 0 to 1",
        ),
        (wire.frame(wire.SampleUpdate(SAMPLES["images"][1])), "images: not 1 to"),
        (wire.frame(wire.Greeting(99, "", 1, "me")), "protocol 99"),
        (wire.frame(wire.SnapshotUpdate(snapshot()))[:30], "does not answer"),
        (b"", "does not answer"),
    ],
)
def test_a_watcher_that_cannot_begin_says_why(
    sent: bytes, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "WELCOME_SECONDS", 2.0)
    told = started(run_directory(tmp_path), sent)
    assert why in told and "\n" not in told


def test_a_message_that_is_too_long_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "LONGEST_SERVER_MESSAGE", 1 << 16)
    assert "65,536 are allowed" in started(run_directory(tmp_path), framed(b"x" * (1 << 22)))


def test_a_watcher_of_another_protocol_is_told_so_in_one_line(tmp_path: Path) -> None:
    """A newer watcher by the pointer, an older one by the answer to its line of JSON."""
    run = run_directory(tmp_path)
    with trainer(run, lambda connection: None) as pointer:
        other = msgspec.structs.replace(pointer, protocol=1)
        with pytest.raises(UserError, match="speaks protocol 1, this ganterm 2; attach") as failed:
            RemoteSession(other).start()
    assert "\n" not in str(failed.value)


def test_a_flood_is_read_no_faster_than_a_screen_can_bear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MOST_MESSAGES_A_LOOK", 10)
    sent = [0]

    def says(connection: socket.socket) -> None:
        connection.sendall(WELCOME + wire.frame(wire.SnapshotUpdate(snapshot())))
        flood = wire.frame(wire.Answer(1, 1, "x" * 3900))
        while True:
            connection.sendall(flood)
            sent[0] += 1

    with trainer(run_directory(tmp_path), says) as pointer:
        session = RemoteSession(pointer)
        session.start()
        until(lambda: sent[0])
        before, began = sent[0], time.monotonic()
        time.sleep(1)
        looks = 2 + (time.monotonic() - began) / client_module.LOOK_SECONDS
        # What a socket and the watcher hold of it, and then a look's share each look.
        held = ((1 << 21) + (1 << 20)) // 3900
        assert sent[0] - before <= held + 10 * looks
        session.close()


async def test_a_dashboard_stays_and_names_what_its_trainer_says_wrong(tmp_path: Path) -> None:
    bad = wire.frame(wire.SnapshotUpdate(replace(snapshot(), step=-7)))

    def says(connection: socket.socket) -> None:
        connection.sendall(WELCOME + wire.frame(wire.SnapshotUpdate(snapshot())))
        time.sleep(0.3)
        connection.sendall(bad)

    with trainer(run_directory(tmp_path), says) as pointer:
        session = RemoteSession(pointer)
        session.start()
        app = Dashboard(session)
        async with app.run_test(size=(120, 36)) as pilot:
            until_told = 100
            while "step: not from 0" not in screen_text(app):
                until_told -= 1
                assert until_told, screen_text(app)
                await pilot.pause(0.1)
            assert "is not understood" in screen_text(app)
            await pilot.press("q", "enter")
            await pilot.pause(0.1)
        assert app.return_code == 0
        session.close()


def test_the_newest_of_a_flood_of_events_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "MOST_EVENTS", 1000)
    run = run_directory(tmp_path)
    lines = [
        msgspec.json.encode(Event(n, 0, TIME, "note", {"text": "x"}).table()) + b"\n"
        for n in range(3000)
    ]
    (run / "events.jsonl").write_bytes(b"y" * (reader.LONGEST_LINE + 5) + b"\n")
    with (run / "events.jsonl").open("ab") as file:
        file.write(b"".join(lines))
    follower = follow.Follower(run)
    for _ in range(4):
        follower.look()
    assert len(follower.events) <= 1000 and follower.events[-1].step == 2999
    assert follower.forgotten + len(follower.events) == 3000


def test_a_storm_of_resumes_is_read_in_a_moment() -> None:
    events = [Event(n, n, TIME, "resume", {}) for n in range(1, 100_000)]
    assert reader.newest_branch(events) == events


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4), st.booleans()), max_size=12))
def test_the_newest_branch_is_what_no_later_resume_abandoned(
    drawn: list[tuple[int, int, bool]],
) -> None:
    events = [Event(s, b, TIME, "resume" if again else "note", {}) for s, b, again in drawn]
    kept: list[Event] = []
    branch = 0
    for event in events:
        if event.kind == "resume" and event.branch > branch:
            kept = [earlier for earlier in kept if earlier.step <= event.step]
        branch = max(branch, event.branch)
        kept.append(event)
    assert reader.newest_branch(events) == kept


def test_a_hole_in_place_of_the_steps_is_told_and_not_read(tmp_path: Path) -> None:
    run = run_directory(tmp_path)
    with (run / "history" / "step.i8").open("wb") as file:
        file.truncate(40 << 30)

    def says(connection: socket.socket) -> None:
        connection.sendall(WELCOME + wire.frame(wire.SnapshotUpdate(snapshot())))

    with trainer(run, says) as pointer:
        session = RemoteSession(pointer)
        session.start()
        trouble = until(lambda: session.link.trouble)
        assert re.search(r"step\.i8: [\d,]+ rows; ganterm reads", trouble)
        session.close()


def test_answers_that_refuse_are_taken_once_and_none_is_kept(tmp_path: Path) -> None:
    def says(connection: socket.socket) -> None:
        connection.sendall(WELCOME + wire.frame(wire.SnapshotUpdate(snapshot())))
        received = wire.FrameReader(wire.LONGEST_CLIENT_MESSAGE)
        while chunk := connection.recv(1 << 16):
            received.feed(chunk)
            while (message := received.next()) is not None:
                do = wire.client_message(message)
                if isinstance(do, wire.Do):
                    connection.sendall(wire.frame(wire.Answer(do.number, 5, "32 wait already")))

    with trainer(run_directory(tmp_path), says) as pointer:
        session = RemoteSession(pointer)
        session.start()
        for _ in range(3):
            session.submit(SetControl("k", 3))
        refused: list[Refusal] = []

        def three_came() -> bool:
            refused.extend(session.take_refusals())
            return len(refused) == 3

        until(three_came)
        assert refused == [Refusal(SetControl("k", 3), "32 wait already")] * 3
        assert session.take_refusals() == ()
        for _ in range(3 * client_module.MOST_UNANSWERED):
            session.ask(Pause())
        assert len(session._answers) <= client_module.MOST_UNANSWERED
        session.close()


async def test_a_burst_of_refusals_is_one_line_and_the_panel_asks_for_nothing_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = running(controls=Controls(k=1))
    app = Dashboard(board)
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.press("K", "K", "space")
        app.tick()
        await pilot.pause(0.05)
        assert "k    1→3" in screen_text(app)
        refusals = [tuple(Refusal(command, "32 wait already") for command in board.commands)]
        monkeypatch.setattr(board, "take_refusals", lambda: refusals.pop() if refusals else ())
        app.tick()
        await pilot.pause(0.05)
        app.tick()
        await pilot.pause(0.05)
        assert notices(app).count("Refused: 32 wait already (3 commands)") == 1
        assert "→3" not in screen_text(app)
