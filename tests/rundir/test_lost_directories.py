"""Run directories that are moved, deleted, replaced or full while they are written: the networks
are saved, and it is told where."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganterm.core.errors import UserError
from ganterm.core.events import NoteEvent
from ganterm.core.snapshot import Sample
from ganterm.launch import Launch
from ganterm.rundir import find, writer
from ganterm.rundir.directory import RunDirectory
from ganterm.session.local import LocalSession
from ganterm.system.files import Folder
from ganterm.training.checkpoints import schedule
from tests.helpers.deadlines import DEADLINE, until
from tests.rundir.test_rundir import make, some_rows
from tests.training.test_resume import resumed

Make = Callable[..., Launch]


@pytest.fixture
def training(launch: Make) -> LocalSession:
    """A run that trains, and has been recorded for a while."""
    session = LocalSession(launch(steps=None))
    session.start()
    until(lambda: session.snapshot.step > 5 and session.events())
    until(lambda: (Path(session.snapshot.info.directory) / "history" / "step.i8").stat().st_size)
    return session


def stopped(session: LocalSession) -> Path:
    """Stop a run; where it says that it is."""
    session.stop("test")
    assert session.ended.wait(DEADLINE)
    return Path(session.snapshot.info.directory)


def steps_in(run: Path) -> list[int]:
    _, *lines = (run / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(line)["step"] for line in lines]
    assert np.fromfile(run / "history" / "step.i8", "<i8").tolist() == found
    return found


def goes_on(run: Path) -> bool:
    at = find.about(run).step
    assert at is not None
    return resumed(run, at + 2).snapshot.state == "finished"


@pytest.mark.parametrize("replaced", [False, True])
def test_a_directory_that_is_moved_is_written_on_where_it_is(
    training: LocalSession, replaced: bool, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "run"
    moved = run.rename(tmp_path / "elsewhere")
    if replaced:
        run.mkdir()
    until(lambda: training.snapshot.info.directory == str(moved))
    assert stopped(training) == moved
    assert training.snapshot.state == "stopped" and not training.snapshot.alarms
    assert steps_in(moved) == list(range(1, training.snapshot.step + 1))
    assert not replaced or list(run.iterdir()) == []
    assert goes_on(moved)


def test_a_directory_that_is_deleted_is_told_and_all_is_saved_beside_it(
    training: LocalSession, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "runs" / "run")
    until(lambda: any("was deleted" in alarm.message for alarm in training.snapshot.alarms))
    saved = stopped(training)
    assert saved == tmp_path / "runs" / "run-saved"
    failure = training.snapshot.failure
    assert failure is not None and not failure.mistake and training.snapshot.state == "failed"
    assert f"ganterm resume {saved}" in failure.message
    assert steps_in(saved) == list(range(1, training.snapshot.step + 1))
    kinds = [json.loads(line)["kind"] for line in (saved / "events.jsonl").read_text().splitlines()]
    assert (kinds[0], kinds[-1]) == ("start", "stop")
    about = json.loads((saved / "run.json").read_text())
    assert about["name"] == "run-saved" and about["parent"]["id"] != about["id"]
    assert goes_on(saved)


def test_where_the_runs_are_gone_too_all_is_saved_in_the_temporary_folder(
    training: LocalSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "runs").write_text("in the way")
    saved = stopped(training)
    assert saved.parent.parent == tmp_path / "temporary"
    assert stat.S_IMODE(saved.parent.stat().st_mode) == 0o700
    assert goes_on(saved)


@pytest.mark.parametrize("folder", ["history", "samples", "checkpoints"])
def test_a_folder_that_is_deleted_is_told_and_made_again(
    training: LocalSession, folder: str, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "run"
    shutil.rmtree(run / folder)
    told = f"{folder}: deleted while it trained, and made again"
    until(lambda: any(told in alarm.message for alarm in training.snapshot.alarms))
    assert stopped(training) == run
    assert training.snapshot.state == "stopped"
    assert steps_in(run) == list(range(1, training.snapshot.step + 1))
    assert any((run / "samples").iterdir())
    assert goes_on(run)


class Full:
    """A disk without room below one folder, while ``full``."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = True
        plain = Folder.write_atomically

        def write(where: Folder, name: str, content: bytes) -> None:
            if self.full and where.path.is_relative_to(folder):
                raise OSError(errno.ENOSPC, "No space left on device")
            plain(where, name, content)

        monkeypatch.setattr(Folder, "write_atomically", write)


def test_a_disk_that_has_room_again_in_time_takes_the_last_save(
    training: LocalSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, second = tmp_path / "runs" / "run", tmp_path / "runs" / "run-saved"
    monkeypatch.setattr(schedule, "WAIT_SECONDS", 60)
    monkeypatch.setattr(schedule, "TRY_SECONDS", 0.05)
    disk = Full(run, monkeypatch)
    training.stop("test")
    until(lambda: any(alarm.name == "save" for alarm in training.snapshot.alarms))
    (alarm,) = (alarm for alarm in training.snapshot.alarms if alarm.name == "save")
    assert "No space left" in alarm.message and f"they lie in {second}" in alarm.message
    assert find.newest(second) is not None, "a kill would lose nothing now"
    disk.full = False
    assert training.ended.wait(DEADLINE)
    assert training.snapshot.failure is None and training.snapshot.state == "stopped"
    assert find.newest(run) is not None and not second.exists()
    assert goes_on(run)


def test_a_disk_that_stays_full_at_the_end_loses_no_networks(
    training: LocalSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "WAIT_SECONDS", 0.2)
    Full(tmp_path / "runs" / "run", monkeypatch)
    saved = stopped(training)
    assert saved == tmp_path / "runs" / "run-saved"
    failure = training.snapshot.failure
    assert failure is not None and "No space left on device" in failure.message
    assert goes_on(saved)


def test_where_nothing_takes_the_networks_that_is_told(
    training: LocalSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "WAIT_SECONDS", 0.2)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    Full(tmp_path, monkeypatch)
    assert stopped(training) == tmp_path / "runs" / "run"
    failure = training.snapshot.failure
    assert failure is not None and "could not be saved: No space left" in failure.message
    assert list((tmp_path / "temporary").iterdir()) == []
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["run"]


def test_a_picture_that_cannot_be_written_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.05)
    directory = make(tmp_path)
    in_the_way = directory.path / "samples"
    in_the_way.rmdir()
    in_the_way.write_text("")
    directory.sample(Sample(1, images=np.zeros((4, 8, 8, 1), np.uint8)), 0)
    directory.rows(np.arange(1, 21), 0, some_rows(20))
    directory.event(NoteEvent(step=20, text="later"))
    assert directory.settled().wait(DEADLINE)
    assert len((directory.path / "metrics.jsonl").read_text().splitlines()) == 21
    assert (directory.path / "history" / "step.i8").stat().st_size == 20 * 8
    assert "later" in (directory.path / "events.jsonl").read_text()
    assert directory.trouble is not None and "samples: a file, not a folder" in directory.trouble
    in_the_way.unlink()
    in_the_way.mkdir()
    until(lambda: directory.trouble is None)
    assert (in_the_way / "step_0000000001-b0.png").exists()
    directory.close()


@pytest.mark.parametrize("failing", range(12))
def test_a_start_that_fails_leaves_its_name_free(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the first files in turn finds no room; then there is room."""
    plain, calls = os.open, iter(range(10**6))

    def no_room(path: Any, flags: int, *arguments: Any, **more: Any) -> int:
        if flags & os.O_CREAT and next(calls) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(path, flags, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", no_room)
        with pytest.raises(UserError, match="No space left on device") as refused:
            make(tmp_path)
    assert "\n" not in str(refused.value)
    assert list((tmp_path / "runs").iterdir()) == []
    make(tmp_path).close()


def test_a_disk_without_room_for_a_checkpoint_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"MB are free there, and a start .* take"):
        RunDirectory.create(tmp_path / "runs", "a", "", {"id": "1"}, room=1 << 60)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_run_that_breaks_before_its_first_step_leaves_its_name_free(
    launch: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganterm.training.loop import Training

    def broken(_: Training) -> None:
        raise RuntimeError("no such kernel")

    with monkeypatch.context() as patch:
        patch.setattr(Training, "loop", broken)
        session = LocalSession(launch(steps=2))
        session.start()
        assert session.ended.wait(DEADLINE)
    failure = session.snapshot.failure
    assert failure is not None and "no such kernel" in failure.message
    assert list((tmp_path / "runs").iterdir()) == []
    again = LocalSession(launch(steps=2))
    again.start()
    assert again.ended.wait(DEADLINE) and again.snapshot.state == "finished"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_is_written_to(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.fsync

    def no_folders(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        plain(handle)

    monkeypatch.setattr(os, "fsync", no_folders)
    directory = make(tmp_path)
    directory.update(state="finished")
    directory.close()
    assert directory.alarm is None
    assert json.loads((directory.path / "run.json").read_text())["state"] == "finished"
