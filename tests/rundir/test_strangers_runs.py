"""Run directories as a stranger may hand them over: no link is followed, nothing is waited for
without end, nothing is read beyond bounds, and nothing outside is touched."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import time
from pathlib import Path

import pytest

from ganterm.cli import runs
from ganterm.core.errors import UserError
from ganterm.launch import resumption
from ganterm.rundir import find, reader
from ganterm.rundir.columns import read_history
from ganterm.rundir.follow import Follower
from tests.training.test_mutated_checkpoints import NEWEST, there, trained
from tests.training.test_resume import resumed

__all__ = ["there", "trained"]

KINDS = ("link", "pipe", "folder", "socket", "hole")
FILES = (
    *("run.json", "preset.toml", "events.jsonl", "metrics.jsonl", "diagnosis.jsonl", "run.lock"),
    *("history/step.i8", "history/branch.i4", "history/d_loss.f4", "checkpoints/LATEST"),
    *(f"checkpoints/{NEWEST}/{name}" for name in ("MANIFEST.json", "state.json")),
    f"checkpoints/{NEWEST}/tensors.safetensors",
)
FOLDERS = ("history", "samples", "checkpoints", f"checkpoints/{NEWEST}")
HOLE = 40 * 10**9
SECONDS = 10.0


def content_of(folder: Path) -> dict[str, str]:
    """Every file below a folder, by what is in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def spoil(path: Path, kind: str, outside: Path) -> None:
    """Have something else than a file of ganterm's in a run directory."""
    if kind == "hole":
        os.truncate(path, HOLE)
        return
    if path.exists():
        shutil.copy(path, outside / "victim")
        path.unlink()
    match kind:
        case "link":
            path.symlink_to(outside / "victim")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                # A socket's path must be short.
                short = path.parent / "s"
                here = Path.cwd()
                os.chdir(path.parent)
                try:
                    bound.bind("s")
                finally:
                    os.chdir(here)
                short.rename(path)


def look(run: Path) -> list[str]:
    """What the readers say against a run directory, each by itself."""
    refusals = []
    for read in (
        lambda: find.about(run),
        lambda: Follower(run).look(),
        lambda: read_history(run, 1, 4),
        lambda: reader.read_events(run),
        lambda: reader.read_diagnosis(run, 4),
        lambda: reader.newest_number(run),
        lambda: find.newest(run),
        lambda: resumption(run, 6),
    ):
        try:
            read()
        except (UserError, OSError) as error:
            refusals.append(str(error))
    return refusals


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "victim").write_bytes(b"precious, without a line feed")
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "runs" / "run"))


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_readers_refuse_what_is_no_file_of_ours(
    kind: str, file: str, run: Path, outside: Path
) -> None:
    spoil(run / file, kind, outside)
    before = content_of(outside)
    began = time.thread_time()
    told = list(runs.lines(runs.all_runs(run.parent)))
    refusals = look(run)
    assert time.thread_time() - began < SECONDS
    assert len(told) == 2
    assert all("\n" not in refusal for refusal in refusals)
    assert content_of(outside) == before
    read_by_none_of_them = file in ("metrics.jsonl", "run.lock") or str(NEWEST) in file
    bounded = kind == "hole" and file in (
        "diagnosis.jsonl",
        "history/step.i8",
        "checkpoints/LATEST",
    )
    if not read_by_none_of_them and not bounded:
        assert any(Path(file).name in refusal for refusal in refusals), refusals


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", ["link", "hole"])
def test_a_resume_refuses_it_too_or_goes_on_and_touches_nothing_outside(
    kind: str, file: str, run: Path, outside: Path
) -> None:
    spoil(run / file, kind, outside)
    before = content_of(outside)
    try:
        failure = resumed(run, 6).snapshot.failure
    except UserError as error:
        assert "\n" not in str(error) and Path(file).name in str(error)
    else:
        if failure is not None:
            assert Path(file).name in failure.message and failure.mistake and not failure.trace
        else:
            assert kind == "hole", "a link is followed by nobody"
    assert content_of(outside) == before


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_that_is_a_link_is_refused_and_nothing_behind_it_changes(
    folder: str, run: Path, outside: Path
) -> None:
    victim = outside / "folder"
    shutil.copytree(run / folder, victim)
    shutil.rmtree(run / folder)
    (run / folder).symlink_to(victim)
    for name in (".thesis.2024.tmp", ".step_0000000001-b0.png.7.tmp", ".LATEST.7.tmp"):
        (victim / name).write_text("precious")
    (victim / ".step_0000000001-b0.7.tmp").mkdir()
    (victim / ".step_0000000001-b0.7.tmp" / "thesis.tex").write_text("precious")
    before = content_of(outside)
    try:
        failure = resumed(run, 6).snapshot.failure
        assert failure is not None and failure.mistake
        told = failure.message
    except UserError as error:
        told = str(error)
    assert f"{Path(folder).name}: a link to another place; ganterm follows none" in told
    assert content_of(outside) == before


@pytest.mark.parametrize("folder", ["", "history", "samples", "checkpoints"])
def test_only_what_ganterm_would_have_written_is_swept_away(folder: str, run: Path) -> None:
    mine = (".draft.7.tmp", ".step_x.png.7.tmp", ".LATEST.0.tmp", ".latest.7.tmp", "LATEST.7.tmp")
    for name in mine:
        (run / folder / name).write_text("precious")
    (run / folder / ".work.2024.tmp").mkdir()
    (run / folder / ".run.json.7.tmp").mkdir()
    assert resumed(run, 6).snapshot.state == "finished"
    kept = {path.name for path in (run / folder).iterdir()}
    assert {*mine, ".work.2024.tmp", ".run.json.7.tmp"} <= kept


def test_a_run_behind_a_link_is_gone_on_with(run: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").symlink_to(run.parent)
    (tmp_path / "linked").symlink_to(run)
    assert resumed(tmp_path / "scratch" / "run", 6).snapshot.state == "finished"
    assert resumed(tmp_path / "linked", 8).snapshot.state == "finished"
    assert find.about(run).step == 8


def test_a_log_without_a_line_feed_is_neither_read_whole_nor_emptied(run: Path) -> None:
    os.truncate(run / "metrics.jsonl", HOLE)
    failure = resumed(run, 6).snapshot.failure
    assert failure is not None and "metrics.jsonl: no line ends in its last" in failure.message
    assert (run / "metrics.jsonl").stat().st_size == HOLE
