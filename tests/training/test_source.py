"""A run on a folder of pictures: where they are looked for again, and what is done without them."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

from ganterm import presets
from ganterm.cli import attach, headless
from ganterm.core.errors import UserError
from ganterm.core.snapshot import EMPTY, Failure, RunInfo, Snapshot, Stop, Unpause
from ganterm.data.source import Files
from ganterm.launch import Launch, resumption
from ganterm.rundir import find
from ganterm.rundir.lock import RunLock
from ganterm.session.client import RemoteSession
from ganterm.session.local import LocalSession
from ganterm.system.files import Folder
from ganterm.training import batches
from ganterm.training.checkpoints import manifest
from tests.data.test_folder import fill, workers
from tests.data.test_pictures import varied
from tests.helpers.deadlines import DEADLINE
from tests.training.test_resume import folder_of, resumed, same

SMALL = ("generator.hidden=[8]", "discriminator.hidden=[8]", "generator.latent_dim=4")
FEW = ("data.name=folder", "data.side=8", "data.batch_size=4", "run.diagnosis=0", *SMALL)
STREAMED = (*FEW, "data.side=64", "data.memory_mb=1")
"""A hundred pictures of 64 x 64 are more than one MiB holds."""

Train = Callable[..., LocalSession]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is away is tried again soon."""
    monkeypatch.setattr(batches, "FIRST_GAP", 0.1)
    monkeypatch.setattr(batches, "LONGEST_GAP", 0.2)


def launch_of(tmp_path: Path, *overrides: str, steps: int | None, name: str, **more: Any) -> Launch:
    given = {override.partition("=")[0]: override for override in overrides}
    known, preset = presets.load("mnist_mlp", given.values())
    return Launch(known, preset, "cpu", steps, None, tmp_path / "runs", name, **more)


def ran(tmp_path: Path, *overrides: str, steps: int = 3, name: str = "run", **more: Any) -> Path:
    session = LocalSession(launch_of(tmp_path, *overrides, steps=steps, name=name, **more))
    session.start()
    assert session.ended.wait(DEADLINE)
    assert session.snapshot.state == "finished", session.snapshot.failure
    return folder_of(session)


def reached(session: LocalSession, wanted: Callable[[Snapshot], bool]) -> Snapshot:
    end = time.monotonic() + DEADLINE
    while not wanted(session.snapshot):
        assert time.monotonic() < end and not session.ended.is_set(), session.snapshot
        time.sleep(0.01)
    return session.snapshot


def kinds(session: LocalSession, *kind: str) -> list[dict[str, Any]]:
    return [event.table() for event in session.events() if event.kind in kind]


def told(run: Path, **options: Any) -> list[str]:
    """What a resume to one more step says of the data, and of what differs."""
    step = json.loads((run / "run.json").read_text())["step"]
    session = resumed(run, step + 1, **options)
    assert session.snapshot.state == "finished", session.snapshot.failure
    before = session.snapshot.info.events_before
    told = [e.details() for e in session.events(before) if e.kind in ("data", "resume")]
    return [line for data in told for line in [data.get("text", ""), *data.get("differs", [])]]


# Where the pictures are looked for again


def test_a_relative_folder_is_kept_as_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    varied(tmp_path / "photos", 12)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    run = ran(tmp_path, *FEW, "data.folder=photos")
    about = json.loads((run / "run.json").read_text())
    assert about["data"]["folder"] == str(tmp_path / "photos")
    assert about["data"]["samples"] == 12
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert not any(told(run))
    # The preset alone starts the same again, from anywhere.
    _, again = presets.load(str(run / "preset.toml"))
    assert again.data.folder == str(tmp_path / "photos")
    assert (again.data.channels, again.data.bits) == (3, 16)


def test_a_project_that_moved_as_a_whole_goes_on(tmp_path: Path) -> None:
    varied(tmp_path / "old" / "photos", 12)
    run = ran(tmp_path / "old", *FEW, f"data.folder={tmp_path}/old/photos")
    (tmp_path / "old").rename(tmp_path / "new")
    run = tmp_path / "new" / "runs" / run.name
    assert f"the pictures are read from {tmp_path}/new/photos" in told(run)
    # From then on it is known.
    assert not any("read from" in line for line in told(run))


def test_an_explicit_folder_wins(tmp_path: Path) -> None:
    varied(tmp_path / "photos", 12)
    run = ran(tmp_path, *FEW, f"data.folder={tmp_path}/photos")
    shutil.copytree(tmp_path / "photos", tmp_path / "copy", copy_function=shutil.copyfile)
    assert any(f"{tmp_path}/copy" in line for line in told(run, data_dir=tmp_path / "copy"))
    (tmp_path / "photos").rename(tmp_path / "gone")
    assert not any("read from" in line for line in told(run))
    (tmp_path / "copy").rename(tmp_path / "gone too")
    with pytest.raises(
        UserError, match=r"(?s)are not where they were; looked at: .*--data-dir FOLDER"
    ):
        resumption(run, 99)
    assert told(run, data_dir=tmp_path / "gone")
    # On a start it goes before what the preset says.
    other = launch_of(tmp_path, *FEW, f"data.folder={tmp_path}/no", steps=1, name="other")
    settled = replace(other, data_dir=tmp_path / "gone")
    assert settled.preset.data.folder == str(tmp_path / "gone")


@pytest.mark.parametrize("options", [FEW, STREAMED])
def test_contents_decide_and_not_times(tmp_path: Path, options: tuple[str, ...]) -> None:
    photos = varied(tmp_path / "photos", 100)
    run = ran(tmp_path, *options, f"data.folder={photos}")
    shutil.copytree(photos, tmp_path / "copy", copy_function=shutil.copyfile)
    shutil.rmtree(photos)
    (tmp_path / "copy").rename(photos)
    assert not any(told(run))
    (photos / "007.png").unlink()
    shutil.copy(photos / "003.png", photos / "004.png")
    varied(photos, 4, first=200)
    failure = resumed(run, 99).snapshot.failure
    assert failure is not None and failure.mistake
    what, help_ = failure.message.splitlines()
    assert what.endswith(
        "4 new (200.png, 201.png, 202.png, ...), 1 missing (007.png), 1 changed (004.png), "
        f"103 pictures of side {64 if options == STREAMED else 8} now, 100 then"
    )
    assert "--data-dir FOLDER" in help_


def test_the_same_files_with_other_pixels_go_on_and_it_is_told(tmp_path: Path) -> None:
    run = ran(tmp_path, *FEW, f"data.folder={varied(tmp_path / 'photos', 12)}")
    about = json.loads((run / "run.json").read_text())
    about["data"]["sha256"] = "0" * 64
    (run / "run.json").write_text(json.dumps(about))
    assert any("another version of Pillow" in line for line in told(run))


def made_old(run: Path, folder: str) -> None:
    """A run directory as runs left it before contents decided."""
    preset = (run / "preset.toml").read_text().splitlines()
    new = ("channels =", "bits =", "reading =", "folder =")
    kept = [line for line in preset if not line.startswith(new)]
    kept.insert(kept.index("[data]") + 1, f'folder = "{folder}"')
    (run / "preset.toml").write_text("\n".join(kept) + "\n")
    about = json.loads((run / "run.json").read_text())
    for name in ("samples", "from_run"):
        del about["data"][name]
    about["data"]["folder"] = None
    (run / "run.json").write_text(json.dumps(about))
    (run / manifest.NAME).unlink()


@pytest.mark.parametrize("options", [FEW, STREAMED])
def test_a_run_of_before_goes_on_with_what_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    photos = fill(tmp_path / "photos", 100)
    sums: list[str] = []

    def kept(run: Folder, files: Files) -> None:
        sums.append(files.by_times)
        write(run, files)

    write = manifest.write
    monkeypatch.setattr(manifest, "write", kept)
    # Its pictures are grey, and it had them in colour.
    run = ran(tmp_path, *options, f"data.folder={photos}", "data.reading=1")
    made_old(run, "photos")
    if options == STREAMED:
        about = json.loads((run / "run.json").read_text())
        about["data"]["sha256"] = sums[0]
        (run / "run.json").write_text(json.dumps(about))
    # What has come to be read since then is none of its samples.
    shutil.copy(photos / "0001.png", photos / "more.jfif")
    lines = told(run)
    assert f"the pictures are read from {photos}" in lines
    assert not any("compared" in line for line in lines)
    assert json.loads((run / "run.json").read_text())["data"]["samples"] == 100


def test_a_run_of_before_whose_times_are_others_goes_on_and_says_so(tmp_path: Path) -> None:
    photos = fill(tmp_path / "photos", 100)
    run = ran(tmp_path, *STREAMED, f"data.folder={photos}", "data.reading=1")
    made_old(run, "photos")
    about = json.loads((run / "run.json").read_text())
    about["data"]["sha256"] = "1" * 64
    (run / "run.json").write_text(json.dumps(about))
    assert any("could not be compared" in line for line in told(run))
    # Now it is known by its pictures.
    assert not any("compared" in line for line in told(run))


# What is done without them


@pytest.mark.usefixtures("quick")
def test_a_run_waits_for_pictures_that_are_away_and_nothing_differs(tmp_path: Path) -> None:
    photos = varied(tmp_path / "photos", 100)
    options = (*STREAMED, f"data.folder={photos}", "k=3")
    session = LocalSession(launch_of(tmp_path, *options, steps=None, name="part"))
    session.start()
    reached(session, lambda snapshot: snapshot.step >= 2)
    photos.rename(tmp_path / "away")
    seen = reached(session, lambda snapshot: snapshot.state == "paused" and bool(snapshot.alarms))
    (alarm,) = [alarm for alarm in seen.alarms if alarm.name == "source"]
    assert "no such file" in alarm.message and alarm.remedies[0].press == "space"
    (paused,) = kinds(session, "pause")
    assert paused["waits"] and paused["cause"] == alarm.message
    at = seen.step
    reached(session, lambda _: bool(find.checkpoints(folder_of(session))))
    (tmp_path / "away").rename(photos)
    last = reached(session, lambda snapshot: snapshot.step > at + 2)
    assert last.state == "running" and not [a for a in last.alarms if a.name == "source"]
    session.submit(Stop())
    assert session.ended.wait(DEADLINE)
    steps = session.snapshot.step
    whole = ran(tmp_path, *options, steps=steps, name="whole")
    same(whole, folder_of(session), "alarms")


def test_the_user_has_it_tried_at_once_or_has_it_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "FIRST_GAP", 10_000.0)
    monkeypatch.setattr(batches, "LONGEST_GAP", 10_000.0)
    photos = varied(tmp_path / "photos", 100)
    session = LocalSession(
        launch_of(tmp_path, *STREAMED, f"data.folder={photos}", steps=None, name="run")
    )
    session.start()
    reached(session, lambda snapshot: snapshot.step >= 2)
    photos.rename(tmp_path / "away")
    at = reached(session, lambda snapshot: snapshot.state == "paused").step
    session.submit(Unpause())
    reached(session, lambda _: len(kinds(session, "pause")) == 2)
    assert session.snapshot.step == at
    (tmp_path / "away").rename(photos)
    session.submit(Unpause())
    reached(session, lambda snapshot: snapshot.step > at)
    session.submit(Stop())
    assert session.ended.wait(DEADLINE)
    assert session.snapshot.state == "stopped"


@pytest.mark.usefixtures("quick")
def test_headless_gives_up_after_a_while_saved_and_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(batches, "PATIENCE_SECONDS", 0.5)
    photos = varied(tmp_path / "photos", 100)

    class Reporter(headless.PlainReporter):
        def report(self, snapshot: Snapshot) -> None:
            super().report(snapshot)
            if snapshot.step >= 2 and photos.is_dir():
                photos.rename(tmp_path / "away")

    session = LocalSession(
        launch_of(tmp_path, *STREAMED, f"data.folder={photos}", steps=10**6, name="run")
    )
    session.start()
    assert headless.watch(session, Reporter()) == 1
    last = session.snapshot
    assert last.state == "failed" and last.failure is not None and not last.failure.mistake
    assert "no such file" in last.failure.message
    run = Path(last.info.directory)
    assert json.loads((run / "run.json").read_text())["state"] == "failed"
    assert str(find.newest(run)).startswith(f"step_{last.step:010}")
    printed = capsys.readouterr().out
    assert "100 samples of folder, 3 x 64 x 64" in printed and "ALARM source" in printed
    (tmp_path / "away").rename(photos)
    assert resumed(run, last.step + 2).snapshot.state == "finished"


@pytest.fixture
def session_of_workers(tmp_path: Path) -> Iterator[LocalSession]:
    photos = varied(tmp_path / "photos", 100)
    session = LocalSession(
        launch_of(tmp_path, *STREAMED, f"data.folder={photos}", steps=None, name="run")
    )
    session.start()
    yield session
    session.submit(Stop())
    assert session.ended.wait(DEADLINE)


def test_a_worker_that_is_killed_is_replaced(session_of_workers: LocalSession) -> None:
    session = session_of_workers
    at = reached(session, lambda snapshot: snapshot.step >= 2).step
    victims: list[psutil.Process] = workers()
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    reached(session, lambda _: bool(kinds(session, "data")))
    seen = reached(session, lambda snapshot: snapshot.step > at + 1)
    assert seen.state == "running" and not kinds(session, "pause")
    assert "others are started" in kinds(session, "data")[-1]["text"]


def test_odd_data_are_told_at_the_start(tmp_path: Path) -> None:
    photos = fill(tmp_path / "photos", 1)
    for number in range(4):
        shutil.copy(photos / "0000.png", photos / f"{number}.png")
    (photos / "a.heic").touch()
    run = ran(tmp_path, *FEW, f"data.folder={photos}")
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    first = lines[: [line["kind"] for line in lines].index("start")]
    warned = {line["name"] for line in first if line["kind"] == "alarm"}
    assert warned == {"data_unread", "data_dark", "data_alike"}
    assert any("1 .heic" in line.get("text", "") for line in first)


# What a dashboard says on leaving


def words(run: Path, snapshot: Snapshot) -> str:
    info = RunInfo(name=run.name, directory=str(run))
    session = SimpleNamespace(snapshot=replace(snapshot, info=info), events=lambda: ())
    return attach.last_words(cast(RemoteSession, session))


def test_the_last_words_are_of_the_runs_real_state(tmp_path: Path) -> None:
    run = ran(tmp_path, *FEW, f"data.folder={varied(tmp_path / 'photos', 8)}")
    # The connection was gone before the end was heard of.
    assert words(run, replace(EMPTY, state="running", step=3)).startswith("run finished at step 3")
    about = json.loads((run / "run.json").read_text())
    for state in ("failed", "running"):
        (run / "run.json").write_text(json.dumps(about | {"state": state}))
        said = words(run, replace(EMPTY, state="running", step=3))
        assert said.startswith("run failed at step 3") and "ganterm resume" in said
    said = words(run, replace(EMPTY, state="failed", failure=Failure("the cause")))
    assert "the cause; to go on" in said
    lock = RunLock(run)
    assert "run goes on" in words(run, replace(EMPTY, state="running"))
    assert "run is paused" in words(run, replace(EMPTY, state="paused"))
    lock.release()
