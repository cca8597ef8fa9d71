"""The canned session of `ganterm demo`: it goes on, obeys, and depends on its step alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from ganterm.core.events import AlarmEvent, ChangeEvent
from ganterm.core.snapshot import (
    ENDED,
    VIEWS,
    NewNoise,
    OneStep,
    Pause,
    Rewind,
    SaveCheckpoint,
    SaveSamples,
    SetControl,
    Stop,
    Unpause,
    View,
)
from ganterm.dashboard.demo import COLLAPSE_AT, RECOVERY_AT, DemoSession
from tests.dashboard.test_dashboard import shown


def test_the_demo_needs_no_torch() -> None:
    program = "import sys, ganterm.dashboard.demo; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_step_looks_the_same_however_it_was_reached() -> None:
    at_once, in_parts = DemoSession(300), DemoSession(100)
    for _ in range(20):
        in_parts.advance(10)
    for name in ("d_loss", "diversity"):
        one, other = (s.history.newest(name, 300)[1] for s in (at_once, in_parts))
        np.testing.assert_array_equal(one, other)
    assert at_once.events() == in_parts.events()


def test_changes_are_acknowledged_at_their_step() -> None:
    session = DemoSession(500)
    session.submit(SetControl("k", 3))
    session.submit(SetControl("loss", "hinge", "prompt"))
    session.obey()
    assert (session.snapshot.controls.k, session.snapshot.controls.loss) == (3, "hinge")
    changes = [event for event in session.events() if isinstance(event, ChangeEvent)]
    assert [(e.step, e.key, e.before, e.after) for e in changes] == [
        (500, "k", 1, 3),
        (500, "loss", "non_saturating", "hinge"),
    ]
    session.advance(1)
    assert session.snapshot.scalars["k"] == 3


def test_pause_one_step_noise_and_stop_are_obeyed() -> None:
    session = DemoSession(500)
    for command, state, step in (
        (Pause(), "paused", 500),
        (OneStep(), "paused", 501),
        (Unpause(), "running", 501),
        (OneStep(), "paused", 502),
        (Stop("enough"), "stopped", 502),
        (Unpause(), "stopped", 502),
        (OneStep(), "stopped", 502),
    ):
        session.submit(command)
        session.obey()
        assert (session.snapshot.state, session.snapshot.step) == (state, step)
    assert session.snapshot.state in ENDED
    assert session.ended.is_set()


def test_fresh_noise_makes_another_picture() -> None:
    session = DemoSession(500)
    before = session.snapshot.sample
    assert before is not None and before.images is not None
    session.submit(NewNoise())
    session.obey()
    after = session.snapshot.sample
    assert after is not None and after.images is not None
    assert not np.array_equal(before.images, after.images)


@pytest.mark.parametrize("command", [SaveCheckpoint(), SaveSamples(), Rewind()])
def test_what_needs_a_trainer_is_refused(command: SaveCheckpoint | SaveSamples | Rewind) -> None:
    session = DemoSession(500)
    session.submit(command)
    session.obey()
    assert session.events()[-1].kind == "refused"


def test_the_collapse_comes_and_goes() -> None:
    session = DemoSession(COLLAPSE_AT - 1)
    assert not session.snapshot.alarms
    session.advance(1)
    assert [alarm.name for alarm in session.snapshot.alarms] == ["collapse"]
    session.advance(RECOVERY_AT - COLLAPSE_AT)
    assert not session.snapshot.alarms
    states = [event.state for event in session.events() if isinstance(event, AlarmEvent)]
    assert states == ["raised", "cleared"]


@pytest.mark.parametrize("name", VIEWS)
async def test_every_view_of_the_demo_is_drawn(name: str) -> None:
    session = DemoSession(500)
    async with shown(session) as (app, pilot):
        session.watch(2, View(name))
        session.obey()
        app.tick()
        await pilot.pause()
        assert session.snapshot.sample is not None
        assert session.snapshot.sample.view.name == name
    assert not [event for event in session.notes if event[0] == "note"], "no panel has failed"


async def test_the_demo_goes_on_by_itself() -> None:
    session = DemoSession(500)
    session.start()
    async with shown(session) as (_, pilot):
        for _ in range(200):
            await pilot.pause(0.05)
            if session.snapshot.step > 500:
                break
    session.ended.set()
    assert session.snapshot.step > 500
