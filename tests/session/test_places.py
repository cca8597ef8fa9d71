"""Where live runs are reached, and what becomes of them where a folder is missing or not safe."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ganterm.cli import runs
from ganterm.core.errors import UserError
from ganterm.core.events import AlarmEvent
from ganterm.data.download import data_folder
from ganterm.diagnosis.classifier import obtain
from ganterm.launch import Launch
from ganterm.session import address
from ganterm.session.address import Door, pointers, warnings
from ganterm.session.local import LocalSession
from ganterm.system import folders
from ganterm.system.folders import NoFolder, cache_folder, expanded
from tests.conftest import TINY
from tests.helpers.deadlines import DEADLINE
from tests.helpers.terminal import GANTERM

ID = "01234567-89ab-cdef-0123-456789abcdef"
NAMELESS = 23_456
"""A user's number that no system gives to anybody by itself."""
SMALL = [part for override in TINY for part in ("--set", override)]


def given_away(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(folder, 65_534, 65_534)


def open_to_all(folder: Path) -> None:
    folder.chmod(0o777)


def sticky(folder: Path) -> None:
    folder.chmod(0o1777)


def missing(folder: Path) -> None:
    folder.rmdir()


def a_file(folder: Path) -> None:
    folder.rmdir()
    folder.touch(0o700)


def linked_below(folder: Path) -> None:
    (folder / "elsewhere").mkdir(mode=0o700)
    (folder / "ganterm").symlink_to(folder / "elsewhere")


def open_below(folder: Path) -> None:
    (folder / "ganterm").mkdir(mode=0o700)
    (folder / "ganterm" / "v1").mkdir()
    (folder / "ganterm" / "v1").chmod(0o777)


def a_file_below(folder: Path) -> None:
    (folder / "ganterm").touch(0o700)


def given_away_below(folder: Path) -> None:
    (folder / "ganterm").mkdir(mode=0o700)
    given_away(folder / "ganterm")


UNSAFE: dict[Callable[[Path], None], str] = {
    given_away: "belongs to user 65534",
    open_to_all: "everybody can write to",
    sticky: "everybody can write to",
    missing: "there is no folder",
    a_file: "is not a directory",
    linked_below: "is not a directory",
    open_below: "mode 777 instead of 700",
    a_file_below: "is not a directory",
    given_away_below: "belongs to user 65534",
}


def is_used_instead(place: Path, told: str) -> None:
    """A run is served at ``place`` and found there, and one line says what is wrong elsewhere."""
    assert pointers() == []
    for serving in (False, True):
        (line,) = warnings(serving)
        assert told in line and line.endswith(f"live runs are reached through {place}"), line
        assert len(line.splitlines()) == 1
    door = Door.open(ID, place.parent)
    assert door.pointer.file.parent == place
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert pointers() == [door.pointer]
    door.close()


@pytest.mark.parametrize("unsafe", UNSAFE, ids=lambda unsafe: unsafe.__name__)
def test_an_unsafe_runtime_folder_is_passed_over(
    unsafe: Callable[[Path], None], runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = runtime / "given"
    folder.mkdir(mode=0o700)
    unsafe(folder)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    is_used_instead(runtime / "cache" / "ganterm" / "live" / "v1", UNSAFE[unsafe])


@pytest.mark.parametrize(
    ("given", "told"),
    [("relative/x", "no absolute path"), ("/" + "x/" * 60, "too long a path for a socket")],
)
def test_a_runtime_folder_that_can_be_none_is_passed_over(
    given: str, told: str, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", given)
    is_used_instead(runtime / "cache" / "ganterm" / "live" / "v1", told)
    assert not Path("relative").exists()


def test_where_the_best_place_is_good_nothing_is_said(runtime: Path) -> None:
    assert warnings() == [] and list(runtime.iterdir()) == [], "looking makes no folder"
    assert warnings(make=True) == [] and (runtime / "ganterm" / "v1").is_dir()


@pytest.fixture
def shared(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for /tmp, where there is neither a runtime nor a cache folder."""
    folder = runtime / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr(address, "SHARED", folder)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    return folder


def own(shared: Path) -> Path:
    return shared / f"ganterm-{os.geteuid()}"


def test_the_last_place_is_a_folder_of_ones_own_among_everybodys(shared: Path) -> None:
    for line in warnings():
        assert line.endswith(f"live runs are reached through {own(shared) / 'v1'}")
    runtime, cache = warnings()
    assert runtime.startswith("XDG_RUNTIME_DIR: ") and cache.startswith("XDG_CACHE_HOME=relative")
    door = Door.open(ID, shared)
    assert door.pointer.file.parent == own(shared) / "v1"
    assert stat.S_IMODE(own(shared).stat().st_mode) == 0o700
    assert pointers() == [door.pointer]
    door.close()


def squatted(shared: Path) -> None:
    own(shared).mkdir(mode=0o700)
    given_away(own(shared))


def linked(shared: Path) -> None:
    (shared / "theirs").mkdir(mode=0o700)
    own(shared).symlink_to(shared / "theirs")


def a_pipe(shared: Path) -> None:
    os.mkfifo(own(shared))


def not_sticky(shared: Path) -> None:
    shared.chmod(0o777)


def entered(shared: Path) -> None:
    own(shared).mkdir()
    own(shared).chmod(0o755)


def gone(shared: Path) -> None:
    shared.rmdir()


@pytest.mark.parametrize(
    "unsafe", [squatted, linked, a_pipe, not_sticky, entered, gone], ids=lambda f: f.__name__
)
def test_where_no_place_is_safe_training_goes_on_and_says_so(
    unsafe: Callable[[Path], None], shared: Path, launch: Callable[..., Launch]
) -> None:
    unsafe(shared)
    (line,) = warnings(make=True)
    assert line.startswith(address.OUT_OF_REACH) and line.count(";") == 2
    assert pointers() == [] and runs.live() == []
    with pytest.raises(UserError, match=address.OUT_OF_REACH):
        Door.open(ID, shared.parent)
    session = LocalSession(launch(steps=20))
    session.start()
    assert session.ended.wait(DEADLINE) and session.snapshot.state == "finished"
    alarms = [e.name for e in session.events() if isinstance(e, AlarmEvent)]
    assert alarms == ["attach"]
    assert runs.how_to_reach(os.getpid()) == (
        f"it cannot be attached to; to save and end it: kill -TERM {os.getpid()}",
    )
    assert list(shared.parent.rglob("*.sock")) == []


@pytest.mark.parametrize("number", [1, 2])
def test_how_to_reach_a_run_is_told_by_what_is_its_own(number: int, tmp_path: Path) -> None:
    doors = []
    for n in range(number):
        run = tmp_path / f"folder {n}" / "same"
        run.mkdir(parents=True)
        doors.append(Door.open(f"{n}{ID[1:]}", run))
    attach, stop = runs.how_to_reach(os.getpid())
    called = "same" if number == 1 else doors[0].pointer.id[:8]
    assert attach.endswith(f": ganterm attach {called}")
    assert stop.endswith(f": ganterm stop {called}")
    for door in doors:
        door.close()


def test_a_directory_that_no_pointer_can_hold_is_out_of_reach_and_no_more(tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"\xff")
    try:
        odd.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    with pytest.raises(UserError, match=address.OUT_OF_REACH) as raised:
        Door.open(ID, odd)
    assert str(raised.value).isprintable()


def test_a_pointer_whose_directory_is_no_path_is_passed_over(tmp_path: Path, runtime: Path) -> None:
    door = Door.open(ID, tmp_path)
    content = door.pointer.file.read_text()
    for wrong in (r"\u0000", r"runs", r"a\ud800b"):
        door.pointer.file.write_text(content.replace(str(tmp_path), wrong))
        assert pointers() == []
    door.close()


def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whose number has no name, as in many a container."""
    for variable in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)


def test_without_a_home_there_is_no_cache_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    homeless(monkeypatch)
    with pytest.raises(NoFolder, match="HOME is not set"):
        cache_folder()
    with pytest.raises(UserError, match="--data-dir"):
        data_folder(None)
    assert data_folder(tmp_path) == tmp_path
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    with pytest.raises(NoFolder, match="XDG_CACHE_HOME=here is no absolute path"):
        cache_folder()


def test_another_users_cache_folder_is_not_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "ganterm"
    assert cache_folder() == folder
    folder.mkdir()
    assert cache_folder() == folder
    folder.chmod(0o777)
    with pytest.raises(NoFolder, match="everybody can write"):
        cache_folder()
    folder.chmod(0o700)
    monkeypatch.setattr(folders.os, "geteuid", lambda: NAMELESS)
    if folder.stat().st_uid:
        with pytest.raises(NoFolder, match=f"belongs to user {folder.stat().st_uid}"):
            cache_folder()


def test_a_home_that_is_not_known_is_told() -> None:
    with pytest.raises(UserError, match="without '~'"):
        expanded("~no.such.user/x")
    assert expanded("x") == Path("x")


def test_a_classifier_is_had_without_a_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from ganterm.data.source import Dataset

    homeless(monkeypatch)
    judge = obtain.Classifier({}, ("a", "b"), 1.0, 2, "")
    monkeypatch.setattr(obtain, "train", lambda *_: judge)
    samples = torch.zeros(600, 1, 8, 8, dtype=torch.uint8)
    found = obtain.classifier_for(
        Dataset("x", samples, torch.arange(600) % 2, ("a", "b")),
        torch.device("cpu"),
        lambda doing, share: None,
    )
    assert found is not None
    assert found.notes == (
        f"classifier not kept: HOME is not set, and user {os.geteuid()} has no home of its own",
    )


@pytest.fixture
def nameless() -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run ganterm as a user without a name, in a folder of its own."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("only root can be another user, by setpriv")
    # Python may be installed where only root can read it.
    be = [setpriv, f"--reuid={NAMELESS}", f"--regid={NAMELESS}", "--clear-groups"]
    be += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    clean = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    can = subprocess.run([*be, sys.executable, "-c", ""], env=clean, capture_output=True)
    if can.returncode:
        pytest.skip(f"another user cannot be: {can.stderr.decode()}")
    folder = Path(f"/tmp/gt-nameless-{os.getpid()}")
    folder.mkdir(mode=0o700)
    os.chown(folder, NAMELESS, NAMELESS)

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*be, *GANTERM, *words],
            cwd=folder,
            env={**clean, **environment},
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            stdin=subprocess.DEVNULL,
        )

    yield run
    for left in (folder, Path(f"/tmp/ganterm-{NAMELESS}")):
        shutil.rmtree(left, ignore_errors=True)


TRAIN = ["--preset", "mnist_mlp", *SMALL, "--device", "cpu"]


@pytest.mark.parametrize("home", [None, "/"])
def test_a_user_without_a_name_or_a_home_trains_detaches_and_stops(
    home: str | None, nameless: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    environment = {} if home is None else {"HOME": home}
    there = nameless("runs", **environment)
    assert there.returncode == 0 and "no runs in runs" in there.stdout
    assert "live runs are reached through /tmp/ganterm-" in there.stderr
    assert len(there.stderr.splitlines()) == 1
    detached = nameless(*TRAIN, "--run", "d", "--detach", **environment)
    assert detached.returncode == 0, detached.stderr
    assert "to stop and save it: ganterm stop d" in detached.stderr
    stopped = nameless("stop", **environment)
    assert stopped.returncode == 0 and "saved in" in stopped.stdout, stopped.stderr
    needs = nameless("--preset", "fashion_dcgan", "--headless", "--steps", "2")
    assert needs.returncode == 2 and "--data-dir" in needs.stderr
