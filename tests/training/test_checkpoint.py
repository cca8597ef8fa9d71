"""Checkpoints: whole or not there, verified before use, kept as long as they should be."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import multiprocessing
import os
import pickle
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from safetensors.torch import save as pack
from torch import Tensor

from ganterm.core.findings import Alarm, Remedy
from ganterm.core.snapshot import Counters, SaveCheckpoint, SetControl
from ganterm.launch import Launch, resumption
from ganterm.rundir import find, writer
from ganterm.rundir.find import CheckpointName, point
from ganterm.session.local import LocalSession
from ganterm.system.files import Folder
from ganterm.training.checkpoints import restore, retention, schedule, storage
from ganterm.training.checkpoints.contents import RunState, architecture
from ganterm.training.checkpoints.restore import Unusable
from ganterm.training.checkpoints.schedule import CheckpointThread, Outcome, Request
from ganterm.training.checkpoints.storage import MANIFEST, STATE, TENSORS
from tests.conftest import TINY
from tests.helpers.deadlines import DEADLINE, until
from tests.training.test_resume import flip, resumed, trained_twice
from tests.training.test_trainer import events, rows

FILES = (TENSORS, STATE, MANIFEST)
RUN = "11111111-2222-3333-4444-555555555555"
DONE = threading.Event()
DONE.set()


def some_tensors(step: int = 0, size: int = 10) -> dict[str, Tensor]:
    return {"weights": torch.full((size,), float(step))}


def some_state(step: int, branch: int = 0, **other: Any) -> RunState:
    return RunState(
        **{
            "format": 1,
            "run": RUN,
            "step": step,
            "branch": branch,
            "controls": {"k": 2, "lr_d": 1e-4, "loss": "hinge"},
            "pending": [SetControl("l", 3, "prompt")],
            "scheduled": 0,
            "counters": Counters(1, 2, 3, 0.1),
            "d_updates": 5,
            "position": 0,
            "alarms": [
                Alarm(
                    "nonfinite",
                    "Not finite",
                    "a message",
                    since=3,
                    raised=4,
                    evidence={"tensor": "D loss", "worst": 1.5},
                    remedies=(Remedy("k", "fewer D updates"),),
                )
            ],
            "threads": 1,
            "device": "cpu",
            "versions": {"torch": "1"},
            "preset": "",
            "architecture": architecture(some_tensors()),
            **other,
        }
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory with a place for checkpoints."""
    (tmp_path / "checkpoints").mkdir()
    return tmp_path


def held(run: Path) -> Folder:
    return Folder.at(run / "checkpoints")


def save(
    run: Path, step: int, branch: int = 0, own: bool = False, size: int = 10
) -> CheckpointName:
    tensors = some_tensors(step, size)
    state = some_state(step, branch, architecture=architecture(tensors))
    return storage.save(held(run), tensors, state, own)


def steps_kept(run: Path) -> list[int]:
    return [name.step for name in reversed(find.checkpoints(run))]


def test_what_is_written_is_what_is_read(run: Path) -> None:
    name = save(run, 7)
    assert str(name) == "step_0000000007-b0"
    found = restore.read(run, name, RUN)
    assert found.state == some_state(7)
    assert torch.equal(found.tensors["weights"], some_tensors(7)["weights"])
    assert find.newest(run) == name
    assert not list(run.rglob("*.tmp"))


def test_an_alarm_with_its_figures_is_kept(run: Path) -> None:
    figures = {"share": np.float32(0.5), "counts": np.arange(3), "names": ("a", "b")}
    alarm = Alarm("collapse", "T", "m", 1, 2, evidence=figures, remedies=(Remedy("k", "more"),))
    name = storage.save(held(run), some_tensors(), some_state(3, alarms=[alarm]))
    (kept,) = restore.read(run, name, RUN).state.alarms
    assert kept.evidence == {"share": 0.5, "counts": [0, 1, 2], "names": ["a", "b"]}
    assert (kept.raised, kept.remedies) == (2, (Remedy("k", "more"),))


def test_a_step_saved_twice_is_two_checkpoints_and_the_newer_one_counts(run: Path) -> None:
    first, second, third = save(run, 7, own=True), save(run, 7), save(run, 7)
    assert [str(name) for name in (first, second, third)] == [
        "step_0000000007-b0",
        "step_0000000007-b0.1",
        "step_0000000007-b0.2",
    ]
    assert find.newest(run) == third > second > first
    assert restore.read(run, second, RUN).state.step == 7


@pytest.mark.parametrize(
    "text",
    ["step_7-b0", "step_0000000007", "step_0000000007-b0.0", "step_00000000007-b0", "x", ""],
)
def test_other_names_are_none(text: str) -> None:
    assert CheckpointName.parse(text) is None


def test_newer_branches_are_newer(run: Path) -> None:
    names = [CheckpointName(0, 9000), CheckpointName(1, 500), CheckpointName(1, 500, 1)]
    assert sorted(names, reverse=True)[0] == names[2]
    for name in names:
        assert CheckpointName.parse(str(name)) == name


# --- damage -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests work on copies."""
    return trained_twice(tmp_path_factory.mktemp("runs"), "mnist_mlp", TINY)


NEWEST = CheckpointName(0, 4)


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def folder(run: Path) -> Path:
    return run / "checkpoints" / str(NEWEST)


def run_id(run: Path) -> str:
    return find.about(run).id


def refused(run: Path) -> str:
    """What a resume says; it must be a user's error that offers the checkpoint of step 2, and
    leave everything as it is."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    failure = resumed(run, 6).snapshot.failure
    assert failure is not None and failure.mistake and not failure.trace
    reason, offer = failure.message.splitlines()
    assert reason.startswith(f"checkpoint {NEWEST} of run 'run' cannot be used: ")
    assert offer == f"the newest good one: ganterm resume {run} --from step_0000000002-b0"
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    lock = run / "run.lock"
    assert before | {lock: b""} == after | {lock: b""}
    return reason.partition("cannot be used: ")[2]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_truncated_or_flipped_file_is_read(trained: Path, data: st.DataObject) -> None:
    path = folder(trained) / data.draw(st.sampled_from(FILES))
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        harmed = content[:at]
    else:
        flipped = content[at] ^ (1 << data.draw(st.integers(0, 7)))
        harmed = content[:at] + bytes([flipped]) + content[at + 1 :]
    try:
        path.write_bytes(harmed)
        with pytest.raises(Unusable):
            restore.read(trained, NEWEST, run_id(trained))
    finally:
        path.write_bytes(content)
    restore.read(trained, NEWEST, run_id(trained))


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(copy: Path, file: str) -> None:
    (folder(copy) / file).unlink()
    assert refused(copy) == f"{file}: No such file or directory"


def test_a_flipped_bit_is_told_and_the_good_one_offered_works(copy: Path) -> None:
    flip(folder(copy) / TENSORS, 4000)
    assert refused(copy) == f"{TENSORS}: damaged, its sha256 is not the manifest's"
    session = resumed(copy, 6, checkpoint="step_0000000002-b0")
    assert session.snapshot.state == "finished"
    assert session.snapshot.branch == 1
    assert folder(copy).is_dir(), "what is damaged is not removed"


def test_where_no_other_is_good_that_is_told(copy: Path) -> None:
    flip(folder(copy) / TENSORS, 4000)
    (copy / "checkpoints" / "step_0000000002-b0" / STATE).write_text("{}")
    failure = resumed(copy, 6).snapshot.failure
    assert failure is not None
    assert failure.message.endswith("\nno other checkpoint of this run can be used")


def test_a_truncated_file_tells_its_length(copy: Path) -> None:
    path = folder(copy) / STATE
    length = path.stat().st_size
    os.truncate(path, 100)
    assert refused(copy) == f"{STATE}: 100 bytes, {length:,} were written"


def test_a_link_is_no_file(copy: Path) -> None:
    path = folder(copy) / TENSORS
    path.rename(copy / "elsewhere")
    path.symlink_to(copy / "elsewhere")
    assert refused(copy).startswith(f"{TENSORS}: a link to another place; ganterm follows none")


def reseal(run: Path, file: str, content: bytes, **manifest: Any) -> None:
    """Put other content into a checkpoint whose manifest agrees, as an attacker can."""
    (folder(run) / file).write_bytes(content)
    table = json.loads((folder(run) / MANIFEST).read_text())
    digest = hashlib.sha256(content).hexdigest()
    table["files"][file] = {"bytes": len(content), "sha256": digest}
    (folder(run) / MANIFEST).write_text(json.dumps(table | manifest))


def reseal_state(run: Path, changes: dict[str, Any]) -> None:
    state = json.loads((folder(run) / STATE).read_text())
    reseal(run, STATE, json.dumps(state | changes).encode())


def reseal_tensors(run: Path, tensors: dict[str, Tensor]) -> None:
    reseal(run, TENSORS, pack(tensors))
    reseal_state(run, {"architecture": architecture(tensors)})


class Evil:
    """Unpickled, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self._path),)


def test_a_pickle_is_not_unpickled(copy: Path, tmp_path: Path) -> None:
    for content in (pickle.dumps(Evil(tmp_path / "evil")), _torch_saved(Evil(tmp_path / "evil"))):
        reseal(copy, TENSORS, content)
        assert refused(copy).startswith(f"{TENSORS}: ")
    assert not (tmp_path / "evil").exists()


def _torch_saved(thing: object) -> bytes:
    file = io.BytesIO()
    torch.save(thing, file)
    return file.getvalue()


@pytest.mark.parametrize(
    "wrong", [{"run": "../x"}, {"counters": Counters(1, 2, 3, float("nan"))}, {"threads": -1}]
)
def test_what_could_not_be_read_again_is_not_written(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected"):
        storage.save(Folder.at(tmp_path), some_tensors(), some_state(4, **wrong))
    assert list(tmp_path.iterdir()) == []


def test_other_formats_are_told_apart(copy: Path) -> None:
    state = (folder(copy) / STATE).read_bytes()
    reseal(copy, STATE, state, format=2, something="new")
    newer = "MANIFEST.json: format 2, of a newer ganterm; this one reads format 1"
    assert refused(copy) == newer
    reseal(copy, STATE, state, format=0)
    assert "format 0, of an older ganterm" in refused(copy)
    (folder(copy) / MANIFEST).write_text('{"files": {}}')
    assert refused(copy) == "MANIFEST.json: object missing required field `format`"
    (folder(copy) / MANIFEST).write_text('{"format": 1,')
    assert refused(copy) == "MANIFEST.json: input data was truncated"
    (folder(copy) / MANIFEST).write_text("[1]")
    assert refused(copy) == "MANIFEST.json: expected `object`, got `array`"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"run": "99999999-2222-3333-4444-555555555555"}, "it belongs to another run"),
        ({"step": 5}, "it holds step 5 of branch 0, not what it names"),
        ({"step": -4}, "state.json: step: "),
        ({"step": "4"}, "state.json: step: "),
        ({"controls": {"k": 1000}}, "state.json: k: 1000 is not a whole number from 1 to 100"),
        ({"controls": {"\x1b]52;": 1}}, "state.json: there is no control '^[]52;'"),
        ({"controls": {"loss": "began"}}, "state.json: loss began needs another D"),
        ({"position": 3}, "state.json: position: 3 is not 0 to 1218 batches of 8"),
        ({"position": 10**6}, "state.json: position: "),
        ({"surprise": 1}, "state.json: object contains unknown field `surprise`"),
        ({"architecture": "0"}, f"{TENSORS} and {STATE} are not of one checkpoint"),
    ],
)
def test_a_state_that_cannot_be_is_refused(
    copy: Path, changes: dict[str, Any], reason: str
) -> None:
    reseal_state(copy, changes)
    assert refused(copy).startswith(reason)


def _nan(tensors: dict[str, Tensor]) -> None:
    tensors["optimizer_g.exp_avg"][3] = float("nan")


def _more(tensors: dict[str, Tensor]) -> None:
    tensors["generator.\x1b[2J"] = torch.zeros(1)


def _fewer(tensors: dict[str, Tensor]) -> None:
    del tensors["balance"]


def _other_type(tensors: dict[str, Tensor]) -> None:
    tensors["balance"] = tensors["balance"].double()


def _places(tensors: dict[str, Tensor]) -> None:
    tensors["sampler.chosen"][0] = 10**9


def _random(tensors: dict[str, Tensor]) -> None:
    tensors["random.noise"] = torch.zeros(5056, dtype=torch.uint8)


def _no_random(tensors: dict[str, Tensor]) -> None:
    del tensors["random.torch"]


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_nan, "optimizer_g.exp_avg is not finite"),
        (_more, "its networks are not this run's: generator.^[[2J is 1 float32 there and nothing"),
        (_fewer, "its networks are not this run's: balance is nothing there and scalar float32"),
        (_other_type, "its networks are not this run's: balance is scalar float64 there"),
        (_places, "sampler.chosen: there are no such samples"),
        (_random, "random.noise: not the state of a random generator"),
        (_no_random, "random.torch: not the state of a random generator"),
    ],
)
def test_tensors_that_cannot_be_are_refused(
    copy: Path, harm: Callable[[dict[str, Tensor]], None], reason: str
) -> None:
    tensors = load_file(folder(copy) / TENSORS)
    harm(tensors)
    reseal_tensors(copy, tensors)
    assert refused(copy).startswith(reason)


def test_a_huge_header_is_refused(copy: Path) -> None:
    reseal(copy, TENSORS, (1 << 40).to_bytes(8, "little") + b"{}")
    assert refused(copy) == f"{TENSORS}: its header is too large"


def test_another_architecture_lists_what_differs(copy: Path) -> None:
    text = (copy / "preset.toml").read_text()
    (copy / "preset.toml").write_text(text.replace("    16,\n", "    24,\n"))
    failure = resumed(copy, 6).snapshot.failure
    assert failure is not None and failure.mistake
    listed = failure.message.splitlines()[0].partition("its networks are not this run's: ")[2]
    assert listed.count("there and") == restore.SHOWN
    assert "average.body.0.weight is 16x16 float32 there and 24x16 float32 here" in listed
    assert listed.endswith(" more")
    assert "no other checkpoint of this run can be used" in failure.message


# --- kills --------------------------------------------------------------------------------------


def _above_two(acknowledged: Any) -> bool:
    return bool(acknowledged.value > 2)


def _save_for_ever(run: Path, acknowledged: Any) -> None:
    for step in range(1, 10**6):
        save(run, step, size=20_000)
        retention.prune(held(run), 10**6)
        acknowledged.value = step


def kill_savers(run: Path, count: int, seed: int) -> None:
    """Processes that save for ever are killed; what each leaves must be whole, and no older than
    what it had acknowledged."""
    processes = multiprocessing.get_context("fork")
    draws = random.Random(seed)
    for _ in range(count):
        shutil.rmtree(run / "checkpoints")
        (run / "checkpoints").mkdir()
        acknowledged = processes.Value("q", 0)
        saver = processes.Process(target=_save_for_ever, args=(run, acknowledged))
        saver.start()
        until(partial(_above_two, acknowledged))
        time.sleep(draws.uniform(0, 0.1))
        saver.kill()
        saver.join()
        name = find.newest(run)
        assert name is not None and name.step >= acknowledged.value
        assert restore.read(run, name, RUN).tensors["weights"][0] == name.step
        for other in find.checkpoints(run):
            restore.read(run, other, RUN)


def test_whatever_the_moment_of_a_kill_the_newest_checkpoint_is_whole(run: Path) -> None:
    kill_savers(run, 20, seed=0)


@pytest.mark.slow
def test_of_200_kills_none_harms_a_checkpoint(run: Path) -> None:
    kill_savers(run, 200, seed=1)


@pytest.mark.parametrize("kind", ["open", "fsync", "rename", "mkdir"])
def test_whichever_call_to_the_disk_fails_what_was_there_stays(
    run: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Each call of that kind, the first to the last, fails once; without a failure it is saved."""
    save(run, 1)
    plain = getattr(os, kind)
    for failing in range(100):
        calls = iter(range(100))

        def call(*arguments: Any, failing: int = failing, calls: Any = calls, **more: Any) -> Any:
            if next(calls) == failing:
                raise OSError(errno.EIO, "Input/output error")
            return plain(*arguments, **more)

        step = 2 + failing
        with monkeypatch.context() as patch:
            patch.setattr(os, kind, call)
            try:
                save(run, step)
                break
            except OSError:
                pass
        newest = find.newest(run)
        assert newest is not None
        # What failed behind the rename is there, though nobody was told that it is.
        assert newest.step in (1, step)
        restore.read(run, newest, RUN)
        assert not list(run.rglob("*.tmp"))
        shutil.rmtree(run / "checkpoints")
        (run / "checkpoints").mkdir()
        save(run, 1)
    assert failing > 0
    assert find.newest(run) == CheckpointName(0, step)


# --- retention ----------------------------------------------------------------------------------


def test_the_newest_three_the_users_own_and_the_best_stay(run: Path) -> None:
    for step in range(1, 9):
        save(run, step, own=step in (2, 7))
        if step == 3:
            point(held(run), CheckpointName(0, 3), retention.BEST)
        retention.prune(held(run), 1000)
    assert steps_kept(run) == [2, 3, 5, 6, 7, 8]
    assert not list(run.rglob("*.tmp"))


def test_over_the_budget_the_oldest_automatic_ones_go_first(run: Path) -> None:
    size = 2**20 // 4 // 2
    for step in (1, 2, 3, 4):
        save(run, step, own=step == 1, size=size)
    point(held(run), CheckpointName(0, 2), retention.BEST)
    retention.prune(held(run), 10)
    assert steps_kept(run) == [1, 2, 3, 4], "half a megabyte each"
    assert [name.step for name in retention.prune(held(run), 2)] == [3]
    assert [name.step for name in retention.prune(held(run), 1)] == [2]
    assert steps_kept(run) == [1, 4], "the user's own and the newest stay whatever they take"
    save(run, 5, own=True, size=size)
    point(held(run), CheckpointName(0, 4))
    assert retention.prune(held(run), 1) == []
    assert steps_kept(run) == [1, 4, 5], "LATEST is never left without what it names"


def test_what_is_damaged_or_foreign_is_not_removed(run: Path) -> None:
    for step in range(1, 7):
        save(run, step)
    (run / "checkpoints" / "step_0000000001-b0" / MANIFEST).write_text("?")
    (run / "checkpoints" / "mine").mkdir()
    retention.prune(held(run), 1)
    assert steps_kept(run) == [1, 4, 5, 6]
    assert (run / "checkpoints" / "mine").is_dir()


# --- the writer ---------------------------------------------------------------------------------


def take(the_keeper: CheckpointThread, step: int) -> None:
    the_keeper.take(some_tensors(step), some_state(step), DONE)


def told(the_keeper: CheckpointThread) -> Outcome:
    the_keeper.wait()
    news = the_keeper.outcome()
    assert news is not None
    return news


def test_it_is_time_every_few_minutes_but_not_twice_at_a_step(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(schedule.time, "monotonic", lambda: clock[0])
    never, every_five = (
        CheckpointThread(Folder.at(run), 0, 1),
        CheckpointThread(Folder.at(run), 5, 1),
    )
    clock[0] += 299
    assert not every_five.due(8)
    clock[0] += 1
    assert every_five.due(8)
    assert not never.due(8)
    take(every_five, 8)
    assert told(every_five) == Outcome(CheckpointName(0, 8), None)
    clock[0] += 300
    assert not every_five.due(8), "nothing has happened since"
    assert every_five.due(9)
    never.ask(Request(own=True))
    assert never.due(8)


def test_one_at_a_time_and_wishes_meanwhile_become_one(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, go_on = threading.Event(), threading.Event()
    plain = storage.save

    def slow(*arguments: Any) -> CheckpointName:
        writing.set()
        assert go_on.wait(DEADLINE)
        return plain(*arguments)

    monkeypatch.setattr(storage, "save", slow)
    the_keeper = CheckpointThread(Folder.at(run), 0, 1)
    the_keeper.ask(Request(own=True))
    take(the_keeper, 1)
    assert writing.wait(DEADLINE)
    for wish in (Request(own=True), Request(cfid=7.5), Request(own=True)):
        the_keeper.ask(wish)
        assert not the_keeper.due(2)
    assert steps_kept(run) == []
    go_on.set()
    assert told(the_keeper) == Outcome(CheckpointName(0, 1), None, Request(own=True))
    assert the_keeper.due(2)
    take(the_keeper, 2)
    assert told(the_keeper) == Outcome(CheckpointName(0, 2), None, Request(own=True, cfid=7.5))
    assert not the_keeper.due(3)
    assert (run / "checkpoints" / "BEST").read_text() == "step_0000000002-b0\n"


class FullDisk:
    """While ``full``, nothing that is written aside gets a place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        plain = Folder.write_atomically

        def write(folder: Folder, name: str, content: bytes) -> None:
            if self.full and name == MANIFEST:
                raise OSError(errno.ENOSPC, "No space left on device")
            plain(folder, name, content)

        monkeypatch.setattr(Folder, "write_atomically", write)


def test_a_full_disk_is_told_tried_again_and_harms_nothing(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "RETRY_SECONDS", 0.2)
    disk = FullDisk(monkeypatch)
    session = LocalSession(launch(steps=None))
    session.start()
    until(lambda: session.snapshot.step > 3)
    run = Path(session.snapshot.info.directory)
    session.submit(SaveCheckpoint())
    until(lambda: find.newest(run) is not None)
    before = find.newest(run)
    disk.full = True
    session.submit(SaveCheckpoint())
    until(lambda: bool(session.snapshot.alarms))
    assert "no checkpoint could be written: No space left" in session.snapshot.alarms[0].message
    at = session.snapshot.step
    until(lambda: session.snapshot.step > at + 20)
    assert find.newest(run) == before is not None
    restore.read(run, before, run_id(run))
    # A try that is just being made has a folder of its own, as long as it lasts.
    until(lambda: not list((run / "checkpoints").glob(".*.tmp")))
    disk.full = False
    until(lambda: find.newest(run) != before)
    until(lambda: not session.snapshot.alarms)
    session.stop("test")
    assert session.ended.wait(DEADLINE)
    kinds = [e["kind"] for e in events(session)]
    assert kinds == ["start", "checkpoint", "alarm", "checkpoint", "alarm", "stop"]
    own = [e["own"] for e in events(session) if e["kind"] == "checkpoint"]
    assert own == [True, True], "a wish is not forgotten"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "ganterm-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_full_and_has_room_again(
    launch: Callable[..., Launch], small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "RETRY_SECONDS", 0.2)
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.2)
    session = LocalSession(replace(launch(steps=None), runs_dir=small_disk / "runs"))
    session.start()
    until(lambda: session.snapshot.step > 3)
    session.submit(SaveCheckpoint())
    run = Path(session.snapshot.info.directory)
    until(lambda: find.newest(run) is not None)
    before = find.newest(run)
    assert before is not None
    with (small_disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while ballast.write(bytes(1 << 12)):
            pass
    session.submit(SaveCheckpoint())
    raised = {"checkpoint", "recording"}
    until(lambda: raised <= {alarm.name for alarm in session.snapshot.alarms})
    assert all("No space left" in alarm.message for alarm in session.snapshot.alarms)
    at = session.snapshot.step
    until(lambda: session.snapshot.step > at + 100)
    assert find.newest(run) == before
    restore.read(run, before, run_id(run))
    (small_disk / "ballast").unlink()
    until(lambda: find.newest(run) != before)
    until(lambda: not session.snapshot.alarms)
    session.stop("test")
    assert session.ended.wait(DEADLINE)
    last = session.snapshot.step
    assert [row["step"] for row in rows(session)] == list(range(1, last + 1))
    assert np.fromfile(run / "history" / "step.i8", "<i8").tolist() == list(range(1, last + 1))
    for name in find.checkpoints(run):
        restore.read(run, name, run_id(run))
    assert not list(run.rglob("*.tmp"))
    again = LocalSession(resumption(run, last + 2))
    again.start()
    assert again.ended.wait(DEADLINE) and again.snapshot.state == "finished"


def test_the_last_bytes_of_a_disk_are_left_to_the_logs(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 9))
    with pytest.raises(OSError, match="No space left"):
        save(run, 1)
    assert list((run / "checkpoints").iterdir()) == []


def test_checkpoints_are_written_while_training_goes_on(launch: Callable[..., Launch]) -> None:
    session = LocalSession(launch("run.checkpoint_minutes=0.002", steps=None))
    session.start()
    run = Path()

    def saved() -> Iterator[dict[str, Any]]:
        return (e.table() for e in session.events() if e.kind == "checkpoint")

    until(lambda: len(list(saved())) >= 5)
    session.stop("test")
    assert session.ended.wait(DEADLINE)
    run = Path(session.snapshot.info.directory)
    assert all(not event["own"] for event in saved())
    assert len(find.checkpoints(run)) == retention.NEWEST
    newest = find.newest(run)
    assert newest is not None and newest.step == session.snapshot.step
    for name in find.checkpoints(run):
        restore.read(run, name, run_id(run))
    at = newest.step
    assert resumed(run, at + 2).snapshot.state == "finished"
