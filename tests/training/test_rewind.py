"""Back to health: which checkpoints no alarm speaks against, and the ways to go on from them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganterm.core.events import RefusedEvent, ResumeEvent
from ganterm.core.findings import Alarm
from ganterm.core.history import History
from ganterm.core.metrics import METRICS
from ganterm.core.snapshot import Rewind, SaveCheckpoint, SetControl, Unpause
from ganterm.dashboard.app import Dashboard
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.panels.events import describe
from ganterm.launch import Launch, resumption
from ganterm.losses.logistic import NonSaturating
from ganterm.rundir import find, reader
from ganterm.rundir.columns import read_history
from ganterm.rundir.find import CheckpointName, point
from ganterm.session.address import pointers
from ganterm.session.client import RemoteSession
from ganterm.session.local import LocalSession
from ganterm.training import recorder
from ganterm.training.checkpoints import health, retention, schedule, storage
from tests.cli.test_cli import ganterm
from tests.conftest import Train
from tests.helpers.deadlines import DEADLINE, until
from tests.training.test_checkpoint import held, some_state, some_tensors
from tests.training.test_resume import resumed, saved
from tests.training.test_trainer import events, rows

Make = Callable[..., Launch]


def alarm(name: str, since: int, raised: int) -> Alarm:
    return Alarm(name, "T", "m", since, raised)


# --- which checkpoints are healthy --------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "checkpoints").mkdir()
    return tmp_path


def put(run: Path, step: int, *alarms: Alarm, branch: int = 0, **other: Any) -> CheckpointName:
    state = some_state(step, branch, alarms=list(alarms))
    return storage.save(held(run), some_tensors(step), state, **other)


def log(run: Path, step: int, branch: int, kind: str, **data: Any) -> None:
    line = {"step": step, "branch": branch, "time": "t", "kind": kind, **data}
    with (run / "events.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def told(run: Path, name: str, since: int, raised: int, branch: int = 0, **data: Any) -> None:
    about = {"name": name, "state": "raised", "message": "m", "since": since, **data}
    log(run, raised, branch, "alarm", **about)


def test_an_alarm_speaks_against_what_was_saved_while_it_was_raised(run: Path) -> None:
    good = put(run, 10)
    put(run, 20, alarm("collapse", 15, 18))
    put(run, 30, alarm("nonfinite", 30, 30))
    assert health.healthy(run) == [good]
    assert find.newest(run) == CheckpointName(0, 30)


def test_an_alarm_speaks_against_what_was_saved_since_it_began(run: Path) -> None:
    first, _, _, fourth = (put(run, step) for step in (10, 20, 30, 40))
    told(run, "exploding", since=20, raised=35)
    log(run, 38, 0, "alarm", name="exploding", state="cleared", message="m")
    assert health.healthy(run) == [fourth, first]


def test_troubles_of_the_disk_and_warnings_are_no_illness(run: Path) -> None:
    name = put(run, 10, *(alarm(n, 5, 6) for n in ("recording", "attach", "save", "lost_modes")))
    told(run, "recording", 1, 12)
    assert health.healthy(run) == [name]


def test_only_what_leads_to_the_newest_branch_is_a_way_back(run: Path) -> None:
    origin = put(run, 10)
    put(run, 90)
    log(run, 10, 1, "rewind", checkpoint=str(origin), from_step=90, changed={})
    assert health.healthy(run) == [origin]
    newer = put(run, 20, branch=1)
    assert health.healthy(run) == [newer, origin]
    told(run, "collapse", since=5, raised=25, branch=1)
    assert health.healthy(run) == []


def test_an_alarm_of_an_abandoned_branch_says_nothing_of_the_next(run: Path) -> None:
    origin = put(run, 10)
    told(run, "collapse", since=15, raised=40)
    log(run, 10, 1, "resume", checkpoint=str(origin), differs=[])
    newer = put(run, 20, branch=1)
    assert health.healthy(run) == [newer, origin]


def test_a_checkpoint_that_cannot_be_read_is_not_healthy(run: Path) -> None:
    good, torn = put(run, 10), put(run, 20)
    (run / "checkpoints" / str(torn) / "state.json").write_text("{")
    assert health.healthy(run) == [good]


def test_resume_passes_a_blow_up_over_and_nothing_else(run: Path) -> None:
    good, ill = put(run, 10), put(run, 20, alarm("collapse", 15, 18))
    assert health.to_resume(run) == (ill, None)
    ruin = put(run, 30, alarm("nonfinite", 25, 30))
    assert health.to_resume(run) == (good, ruin)


def test_without_a_healthy_one_the_newest_is_taken(run: Path) -> None:
    ruin = put(run, 30, alarm("nonfinite", 25, 30))
    assert health.to_resume(run) == (ruin, None)
    assert "no healthy checkpoint" in health.last_good(run, [alarm("nonfinite", 25, 30)])


@pytest.mark.parametrize("megabytes", [1, 1000])
def test_the_healthy_one_is_never_pruned(run: Path, megabytes: int) -> None:
    good = put(run, 10)
    point(held(run), good, health.HEALTHY)
    for step in range(20, 90, 10):
        put(run, step, alarm("collapse", 15, 18))
    about_to_be = CheckpointName(0, 20)
    retention.prune(held(run), megabytes, about_to_be)
    kept = [name.step for name in reversed(find.checkpoints(run))]
    assert kept == [10, 20, 60, 70, 80]


@pytest.mark.parametrize(
    ("series", "began"),
    [
        ([1.0] * 20 + [1e3] * 5, 21),
        ([1.0] * 20 + [1e3, np.nan, 1e9, np.nan], 21),
        ([1.0] * 25, 26),
        ([5e3] * 25, 26),
        ([1e3, *[1.0] * 24], 26),
    ],
)
def test_what_leads_to_a_refused_update_is_part_of_it(series: list[float], began: int) -> None:
    history = History(tuple(METRICS))
    rows = np.ones((len(series), len(METRICS)), np.float32)
    rows[:, list(METRICS).index("d_loss")] = series
    history.append(rows)
    assert recorder.onset(history.view, len(series) + 1) == min(began, len(series) + 1)


# --- going back ---------------------------------------------------------------------------------


def goes_wrong(monkeypatch: pytest.MonkeyPatch, rate: float) -> None:
    """Have D's loss be NaN while its learning rate is ``rate`` or more."""
    plain = NonSaturating.d_loss

    def poisoned(self: Any, real: Any, fake: Any, play: Any) -> Any:
        loss = plain(self, real, fake, play)
        return loss * float("nan") if play.controls.lr_d >= rate else loss

    monkeypatch.setattr(NonSaturating, "d_loss", poisoned)


@pytest.fixture
def blown_up(launch: Make, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSession]:
    """A run that paused over a change that blew it up, with a healthy checkpoint before that."""
    goes_wrong(monkeypatch, 0.5)
    session = LocalSession(launch(steps=None))
    session.start()
    until(lambda: session.snapshot.step > 12)
    session.submit(SaveCheckpoint())
    until(lambda: session.snapshot.healthy is not None)
    session.submit(SetControl("lr_d", 0.7, "prompt"))
    until(lambda: session.snapshot.state == "paused")
    yield session
    session.stop("the test is over")
    assert session.ended.wait(DEADLINE)


def directory(session: LocalSession) -> Path:
    return Path(session.snapshot.info.directory)


def test_the_alarm_names_the_way_back_and_the_way_leads_there(blown_up: LocalSession) -> None:
    session, at = blown_up, blown_up.snapshot.step
    (raised,) = session.snapshot.alarms
    healthy = session.snapshot.healthy
    assert healthy is not None
    assert raised.remedies[0].press == "U"
    assert f"the healthy checkpoint of step {healthy:,}" in raised.remedies[0].does
    assert f"the healthy checkpoint of step {healthy:,}" in raised.message
    session.submit(Rewind("me"))
    until(lambda: session.snapshot.branch == 1)
    snapshot = session.snapshot
    assert (snapshot.step, snapshot.state, snapshot.alarms) == (healthy, "paused", ())
    assert snapshot.controls.lr_d == 1e-3
    assert session.history.last_step == session.history.rows == healthy
    assert snapshot.scalars["d_loss"] == pytest.approx(rows(session)[healthy - 1]["d_loss"])
    session.submit(Unpause())
    until(lambda: session.snapshot.step > healthy + 5)
    session.stop("test")
    assert session.ended.wait(DEADLINE)
    run = directory(session)
    (event,) = [event for event in events(session) if event["kind"] == "rewind"]
    assert (event["step"], event["branch"], event["by"]) == (healthy, 1, "me")
    assert (event["from_step"], event["from_branch"]) == (at, 0)
    assert event["checkpoint"] == str(CheckpointName(0, healthy))
    assert event["changed"] == {"lr_d": {"from": 0.7, "to": 1e-3}}
    assert event["controls"]["lr_d"] == 1e-3
    table = rows(session)
    assert next(row["step"] for row in table if row["branch"] == 1) == healthy + 1
    assert json.loads((run / "run.json").read_text())["branch"] == 1
    newest = reader.read_events(run)
    assert "alarm" not in [event.kind for event in newest]
    assert session.history.last_step == session.snapshot.step
    assert find.newest(run) == CheckpointName(1, session.snapshot.step)


def test_what_follows_is_what_follows_a_resume_of_it(
    blown_up: LocalSession, tmp_path: Path
) -> None:
    session = blown_up
    name = str(CheckpointName(0, session.snapshot.healthy or 0))
    other = Path(shutil.copytree(directory(session), tmp_path / "other" / "run"))
    session.submit(Rewind())
    until(lambda: session.snapshot.branch == 1)
    session.submit(SetControl("k", 2))
    session.submit(Unpause())
    until(lambda: session.snapshot.step > int(name[5:15]) + 8)
    session.stop("test")
    assert session.ended.wait(DEADLINE)
    run = directory(session)
    twin = resumed(other, session.snapshot.step, SetControl("k", 2), checkpoint=name)
    assert twin.snapshot.branch == 1
    first, second = saved(run), saved(directory(twin))
    assert [n for n in first if not torch.equal(first[n], second[n])] == []
    ends = [read_history(path, 1, session.snapshot.step).view for path in (run, directory(twin))]
    for metric in METRICS:
        if metric != "elapsed":
            one, two = (end.newest(metric, 100)[1] for end in ends)
            assert np.array_equal(one, two, equal_nan=True), metric


def test_it_can_be_done_again_and_killed_in_between(blown_up: LocalSession) -> None:
    session, healthy = blown_up, blown_up.snapshot.healthy
    for branch in (1, 2):
        session.submit(Rewind())
        until(lambda branch=branch: session.snapshot.branch == branch)  # type: ignore[misc]
        assert session.snapshot.step == healthy
        session.submit(SetControl("lr_d", 0.7))
        session.submit(Unpause())
        until(lambda: "nonfinite" in [alarm.name for alarm in session.snapshot.alarms])
    latest = directory(session) / "checkpoints" / "LATEST"
    until(lambda: latest.read_text().strip() == str(CheckpointName(0, healthy or 0)))
    assert (latest.parent / "HEALTHY").read_text() == latest.read_text()


def test_without_a_way_back_that_is_said(launch: Make) -> None:
    session = LocalSession(launch(steps=None))
    session.start()
    until(lambda: session.snapshot.step > 3)
    session.submit(Rewind("me"))
    until(lambda: any(event.kind == "refused" for event in session.events()))
    refused = next(event for event in session.events() if isinstance(event, RefusedEvent))
    assert (refused.key, refused.by) == ("rewind", "me")
    assert "no healthy checkpoint" in describe(refused, Glyphs())[0]
    assert (session.snapshot.branch, session.snapshot.state) == (0, "running")
    session.stop("test")
    assert session.ended.wait(DEADLINE)


def test_a_damaged_one_is_passed_over(blown_up: LocalSession) -> None:
    session = blown_up
    path = (
        directory(session) / "checkpoints" / str(CheckpointName(0, session.snapshot.healthy or 0))
    )
    (path / "tensors.safetensors").write_bytes(b"no")
    session.submit(Rewind())
    until(lambda: any(event.kind == "refused" for event in session.events()))
    refused = next(event for event in session.events() if isinstance(event, RefusedEvent))
    assert "tensors.safetensors" in refused.reason
    assert session.snapshot.branch == 0


def test_a_watcher_of_another_process_follows(blown_up: LocalSession) -> None:
    (pointer,) = pointers()
    remote = RemoteSession(pointer)
    remote.start()
    try:
        until(lambda: remote.history.last_step == blown_up.history.last_step)
        assert "alarm" in [event.kind for event in remote.events()]
        answer = remote.answer(remote.ask(Rewind()), 30)
        assert answer is not None and not answer.refused
        until(lambda: remote.snapshot.branch == 1)
        until(lambda: remote.history.last_step == remote.snapshot.step)
        remote.submit(Unpause())
        until(lambda: "unpause" in [event.kind for event in remote.events()])
        until(lambda: remote.history.last_step > (remote.snapshot.healthy or 0) + 3)
        kinds = [event.kind for event in remote.events()]
        assert kinds[-2:] == ["rewind", "unpause"] and "alarm" not in kinds
        shown = remote.history.newest("d_loss", 10_000)[1]
        assert np.isfinite(shown).all(), "rows of the blow-up are not shown"
    finally:
        remote.close()


async def test_the_key_goes_back_and_twice_where_nothing_is_wrong(blown_up: LocalSession) -> None:
    session = blown_up
    app = Dashboard(session)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("U")
        until(lambda: session.snapshot.branch == 1)
        await pilot.pause(0.3)
        frame = app._frame(session.snapshot)
        assert (session.snapshot.healthy, "U") in frame.marks
        assert "!" not in [sign for _, sign in frame.marks]
        await pilot.press("U")
        await pilot.pause(0.1)
        assert not session.commands and session.snapshot.branch == 1
        await pilot.press("U")
        until(lambda: session.snapshot.branch == 2)


# --- where checkpoints come from, and what is said at the end -------------------------------------


def test_a_first_way_back_is_kept_before_a_change(
    launch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "WORTH_KEEPING", 5)
    changes = "schedule=[{step=9,set={lr_d=1e-4}},{step=12,set={lr_d=2e-4}}]"
    session = LocalSession(launch(changes, steps=20))
    session.start()
    assert session.ended.wait(DEADLINE)
    told = [event for event in events(session) if event["kind"] == "checkpoint"]
    assert [event["path"] for event in told] == ["checkpoints/step_0000000008-b0"]


@pytest.mark.parametrize("options", [("run.diagnosis=0",), ("run.diagnosis=1",)])
def test_a_first_way_back_is_kept_after_the_warm_up(
    train: Train, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setattr(schedule, "WARM_UP", 10)
    session = train(*options, "run.diagnose_every=5", steps=40)
    told = [event for event in events(session) if event["kind"] == "checkpoint"]
    assert len(told) == 1
    step = CheckpointName.parse(Path(told[0]["path"]).name)
    assert step is not None and 10 <= step.step <= 20


def test_none_is_kept_where_there_are_to_be_none(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "WARM_UP", 10)
    session = train("run.checkpoint_minutes=0", steps=40)
    assert "checkpoint" not in [event["kind"] for event in events(session)]


BLOW_UP = [
    *("--preset", "ring8", "--run", "r", "--device", "cpu", "--headless", "--set", "loss=lsgan"),
    *("--set", "optimizer.name=sgd", "--steps", "2000", "--set", "data.batch_size=8"),
    *("--set", "schedule=[{step=150,set={lr_d=1.0,lr_g=1.0}}]"),
]
"""So large rates overflow within a few steps."""


def test_a_run_that_blew_up_says_where_it_was_good_and_resumes_there(tmp_path: Path) -> None:
    done = ganterm(tmp_path, *BLOW_UP)
    assert done.returncode == 1
    (run,) = (tmp_path / "runs").iterdir()
    good, ruin = CheckpointName(0, 149), find.newest(run)
    assert (run / "checkpoints" / "HEALTHY").read_text().strip() == str(good)
    assert f"the last good one, of step 149: ganterm resume runs/r --from {good}" in done.stderr
    launch = resumption(run)
    assert (launch.checkpoint, launch.passed_over) == (str(good), str(ruin))
    assert resumption(run, checkpoint=str(ruin)).checkpoint == str(ruin)
    again = ganterm(tmp_path, "resume", "r", "--headless")
    assert f"goes on from {good}, the newest healthy checkpoint" in again.stderr
    assert f"--from {ruin}" in again.stderr
    begun = [event for event in reader.all_events(run) if isinstance(event, ResumeEvent)]
    assert begun[0].passed_over == str(ruin)


def test_an_old_directory_without_the_pointer_is_understood(tmp_path: Path) -> None:
    ganterm(tmp_path, *BLOW_UP)
    (run,) = (tmp_path / "runs").iterdir()
    (run / "checkpoints" / "HEALTHY").unlink()
    assert resumption(run).checkpoint == str(CheckpointName(0, 149))
    session = resumed(run, 149 + 1)
    assert (run / "checkpoints" / "HEALTHY").exists()
    assert session.snapshot.branch == 1
