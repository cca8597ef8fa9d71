"""A run that was interrupted and resumed is the run that was not, bit for bit."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ganterm import presets
from ganterm.core.errors import UserError
from ganterm.core.events import AlarmEvent, CheckpointEvent, ResumeEvent
from ganterm.core.metrics import METRICS
from ganterm.core.snapshot import NewNoise, Pause, SaveCheckpoint, SetControl, Stop
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.panels.events import describe
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.launch import Launch, resumption
from ganterm.rundir import find
from ganterm.rundir.columns import read_history
from ganterm.rundir.reader import event_of, read_events
from ganterm.session.local import LocalSession
from ganterm.system.files import Folder
from ganterm.training import alarms
from ganterm.training.checkpoints import restore, storage
from ganterm.training.checkpoints.contents import RunState
from tests.cli.test_cli import TRAIN, ganterm, json_lines
from tests.conftest import TINY, Train
from tests.data.test_folder import fill
from tests.helpers.deadlines import DEADLINE, until
from tests.helpers.terminal import GANTERM
from tests.training.test_forward import needs_compiler
from tests.training.test_trainer import events, rows

Make = Callable[..., Launch]
ELAPSED = "elapsed"


def saved(run: Path, name: str | None = None) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, the newest by default."""
    return load_file(run / "checkpoints" / (name or str(find.newest(run))) / "tensors.safetensors")


def state_of(run: Path) -> dict[str, Any]:
    """The rest of the newest checkpoint, without what tells the time or which run it is."""
    state = json.loads((run / "checkpoints" / str(find.newest(run)) / "state.json").read_text())
    del state["run"]
    del state["counters"][ELAPSED]
    return dict(state)


def resumed(
    run: Path, steps: int | None, *commands: SetControl | NewNoise, **options: Any
) -> LocalSession:
    """Go on with a run to its end."""
    session = LocalSession(resumption(run, steps, **options))
    for command in commands:
        session.submit(command)
    session.start()
    assert session.ended.wait(DEADLINE)
    return session


def trained_twice(folder: Path, preset: str, overrides: tuple[str, ...]) -> Path:
    """A run "run" in ``folder`` with checkpoints at steps 2 and 4."""
    known, loaded = presets.load(preset, overrides)
    session = LocalSession(Launch(known, loaded, "cpu", 2, None, folder, "run"))
    session.start()
    assert session.ended.wait(DEADLINE)
    return folder_of(resumed(folder_of(session), 4))


def folder_of(session: LocalSession) -> Path:
    failure = session.snapshot.failure
    assert failure is None, failure
    return Path(session.snapshot.info.directory)


def same(one: Path, other: Path, *but: str) -> None:
    """All that two runs hold at their ends is equal: tensors, state and rows."""
    unlike = dict.fromkeys(("preset", *but))
    first, second = saved(one), saved(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert state_of(one) | unlike == state_of(other) | unlike
    for name in METRICS:
        if name != ELAPSED:
            columns = [(run / "history" / f"{name}.f4").read_bytes() for run in (one, other)]
            assert columns[0] == columns[1], name


BEGAN = ("data.name=mnist10k", "discriminator.code=4", "balance_rate=0.5")
RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "dropout, batch norm, average": ("mnist_mlp", ()),
    "a schedule on both sides": (
        "ring8",
        ("schedule=[{step=5,set={k=2}},{step=14,set={loss='hinge',lr_g=1e-4}}]",),
    ),
    "BEGAN's balance": ("began_mnist", BEGAN),
    "lazy R1, packing, flips": (
        "ring8",
        ("r1=0.1", "r_every=4", "k=3", "discriminator.pack=2", "label_flips=0.1"),
    ),
    "fading noise, RMSprop": (
        "mnist_mlp",
        ("optimizer.name=rmsprop", "instance_noise=0.3", "noise_steps=30", "d_input_dropout=0.2"),
    ),
    "spectral norm, labels": (
        "mnist_cgan",
        ("data.name=mnist10k", "discriminator.conditional=projection"),
    ),
    "compiled": ("ring8", ("run.compile=true", "loss=hinge", "r1=0.0")),
    "bfloat16": ("mnist_mlp", ("run.precision=bf16", "run.deterministic=true")),
    "an epoch smaller than a batch": ("mnist_mlp", ("data.limit=5",)),
    "several epochs": ("mnist_mlp", ("data.limit=50", "optimizer.name=sgd")),
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(name, marks=needs_compiler) if name == "compiled" else name for name in RUNS],
)
def test_an_interrupted_run_is_the_uninterrupted_one(train: Train, case: str) -> None:
    preset, overrides = RUNS[case]
    whole = folder_of(train(*overrides, preset=preset, steps=21, name="whole"))
    part = folder_of(train(*overrides, preset=preset, steps=9, name="part"))
    halfway = saved(part)
    session = resumed(part, 21)
    same(whole, folder_of(session))
    assert not torch.equal(halfway["random.torch"], saved(whole)["random.batches"])
    assert session.snapshot.counters.d_updates == state_of(whole)["counters"]["d_updates"]
    assert session.snapshot.branch == 0
    assert session.history.rows == session.history.last_step == 21


def test_spectral_norms_vectors_go_on(launch: Make, train: Train) -> None:
    options = ("data.name=mnist10k", "data.limit=64", "k=2")
    small = ("data.batch_size=4", "generator.width=4", "discriminator.width=4")
    network = (*options, *small, "discriminator.norm=spectral")
    whole = folder_of(train(*network, preset="mnist_dcgan", steps=6, name="whole", tiny=()))
    part = folder_of(train(*network, preset="mnist_dcgan", steps=2, name="part", tiny=()))
    assert any(name.endswith("._u") for name in saved(part))
    same(whole, folder_of(resumed(part, 6)))


def test_a_streamed_folder_goes_on_where_it_was(tmp_path: Path, train: Train) -> None:
    pictures = fill(tmp_path / "pictures", 30)
    options = (f"data.folder={pictures}", "data.side=64", "data.batch_size=7", "data.memory_mb=1")
    small = ("generator.width=2", "discriminator.width=2")
    whole, part = (
        folder_of(train(*options, *small, preset="dcgan64_folder", steps=steps, name=name, tiny=()))
        for name, steps in (("whole", 9), ("part", 5))
    )
    same(whole, folder_of(resumed(part, 9)))


def test_live_changes_and_new_noise_go_on(launch: Make, train: Train) -> None:
    schedule = "schedule=[{step=1,set={k=2}},{step=7,set={lr_d=3e-3,loss='lsgan'}}]"
    whole = folder_of(train(schedule, steps=12, name="whole"))
    session = LocalSession(launch(steps=6, name="part"))
    session.submit(SetControl("k", 2))
    session.submit(NewNoise())
    session.start()
    assert session.ended.wait(DEADLINE)
    part = folder_of(session)
    noise = saved(part)["sampler.noise"]
    changes = (SetControl("lr_d", 3e-3), SetControl("loss", "lsgan"))
    assert folder_of(resumed(part, 12, *changes)) == part
    first, second = saved(whole), saved(part)
    assert torch.equal(second["sampler.noise"], noise)
    assert not torch.equal(first["sampler.noise"], noise)
    other = [n for n in first if not n.startswith(("sampler.", "random.sampler"))]
    assert all(torch.equal(first[name], second[name]) for name in other)
    table = {row["step"]: row["k"] for row in rows(session)}
    assert set(table.values()) == {2}, "the live change holds after the resume"


def test_what_was_asked_beside_a_stop_acts_after_the_resume(launch: Make, train: Train) -> None:
    session = LocalSession(launch(steps=None, name="part"))
    session.start()
    until(lambda: session.snapshot.step > 3)
    session.commands.extend([SetControl("k", 3, "prompt"), Stop("test")])
    assert session.ended.wait(DEADLINE)
    part, at = folder_of(session), session.snapshot.step
    assert state_of(part)["pending"] == [{"name": "k", "value": 3, "by": "prompt"}]
    resumed(part, at + 4)
    change = next(event for event in events(session) if event["kind"] == "change")
    assert (change["step"], change["key"], change["by"]) == (at + 1, "k", "prompt")
    schedule = f"schedule=[{{step={at + 1},set={{k=3}}}}]"
    same(folder_of(train(schedule, steps=at + 4, name="whole")), part, "scheduled")


LAZY = ("r1=0.1", "r_every=4", "k=3", "schedule=[{step=7,set={l=2}}]")
SPECTRAL = (
    *("data.name=mnist10k", "data.limit=64", "data.batch_size=4", "k=2"),
    *("generator.width=4", "discriminator.width=4", "discriminator.norm=spectral"),
    "lr_d=0.02",
)
AGED = {
    "lazy": ("mnist_mlp", (*TINY, *LAZY, "data.limit=100")),
    "seldom": ("mnist_mlp", (*TINY, "r1=0.1", "r_every=8")),
    "balanced": ("began_mnist", (*TINY, *BEGAN, "gamma=0.99", "balance_rate=0.01")),
    "spectral": ("mnist_dcgan", SPECTRAL),
}
ITEMS = {
    "lazy": (
        *("generator", "discriminator", "average", "optimizer_g", "optimizer_d"),
        *("random.torch", "random.noise", "random.batches", "random.sampler", "sampler.noise"),
        *("controls", "scheduled", "counters", "d_updates", "position"),
    ),
    "seldom": ("squares",),
    "balanced": ("balance",),
    "spectral": ("._v",),
}
"""What a checkpoint holds, by the run that shows that it is needed. Pending changes and alarms have
tests of their own. One of spectral norm's two vectors is computed from the other."""


@pytest.fixture(scope="module")
def long_ago(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """Runs with checkpoints at steps 4 and 10, between which everything has changed, and what they
    are at step 16.

    The later one is 6 batches into the third epoch of 100 samples: 3 batches of 8 in each step.
    """

    @cache
    def made(case: str) -> tuple[Path, Path]:
        name, overrides = AGED[case]
        known, preset = presets.load(name, overrides)
        launch = Launch(known, preset, "cpu", 4, None, tmp_path_factory.mktemp("runs"), "run")
        session = LocalSession(launch)
        session.start()
        assert session.ended.wait(DEADLINE)
        aged = folder_of(resumed(folder_of(session), 10, NewNoise()))
        whole = Path(shutil.copytree(aged, aged.with_name("whole")))
        resumed(whole, 16)
        return aged, whole

    return made


def mixed(long_ago: Path, folder: Path, item: str) -> Path:
    """A copy whose checkpoint at step 10 has one item as it was at step 4."""
    run = Path(shutil.copytree(long_ago, folder / "mixed"))
    old, new = (run / "checkpoints" / f"step_{step:010d}-b0" for step in (4, 10))
    state = [json.loads((path / "state.json").read_text()) for path in (old, new)]
    tensors = [load_file(path / "tensors.safetensors") for path in (old, new)]
    if item in state[1]:
        assert state[0][item] != state[1][item]
        state[1][item] = state[0][item]
    else:
        names = [name for name in tensors[1] if name.startswith(item) or name.endswith(item)]
        assert any(not torch.equal(tensors[0][name], tensors[1][name]) for name in names)
        tensors[1].update({name: tensors[0][name] for name in names})
    shutil.rmtree(new)
    storage.save(Folder.at(new.parent), tensors[1], msgspec.convert(state[1], RunState))
    return run


def are_the_same(one: Path, other: Path) -> bool:
    try:
        same(one, other)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize(
    ("case", "item"), [(case, item) for case in AGED for item in ("", *ITEMS[case])]
)
def test_no_item_of_the_state_could_be_left_out(
    long_ago: Callable[[str], tuple[Path, Path]], tmp_path: Path, case: str, item: str
) -> None:
    aged, whole = long_ago(case)
    part = mixed(aged, tmp_path, item) if item else Path(shutil.copytree(aged, tmp_path / "part"))
    resumed(part, 16)
    assert are_the_same(whole, part) == (item == "")


def test_every_item_of_the_state_has_its_test(
    long_ago: Callable[[str], tuple[Path, Path]],
) -> None:
    elsewhere = {"pending", "alarms", "streaks", "sampler.chosen"}
    about = {"format", "run", "step", "branch", "threads", "device", "versions", "preset"}
    tried = {item for items in ITEMS.values() for item in items} | elsewhere | about
    for case in AGED:
        aged, _ = long_ago(case)
        names = {*saved(aged), *state_of(aged)} - {"architecture"}
        assert {name for name in names if not name.startswith(tuple(tried))} == set()


def test_the_same_directory_goes_on(train: Train) -> None:
    part = folder_of(train(steps=5))
    before = json.loads((part / "run.json").read_text())
    session = resumed(part, 8)
    told = events(session)
    assert [event["kind"] for event in told] == ["start", "stop", "resume", "stop"]
    resume = told[2]
    assert (resume["step"], resume["from_step"], resume["branch"]) == (5, 5, 0)
    assert (resume["checkpoint"], resume["differs"]) == ("step_0000000005-b0", [])
    assert [e.kind for e in session.events()] == [event["kind"] for event in told]
    assert [row["step"] for row in rows(session)] == list(range(1, 9))
    about = json.loads((part / "run.json").read_text())
    assert (about["id"], about["created"]) == (before["id"], before["created"])
    assert (about["state"], about["step"], about["steps"]) == ("finished", 8, 8)
    assert session.snapshot.counters.elapsed > before_elapsed(part)
    assert np.all(np.diff(np.fromfile(part / "history" / "elapsed.f4", "<f4")) > 0)


def before_elapsed(run: Path) -> float:
    first = run / "checkpoints" / "step_0000000005-b0" / "state.json"
    return float(json.loads(first.read_text())["counters"][ELAPSED])


def test_steps_that_are_given_up_stay_as_an_older_branch(train: Train) -> None:
    run = folder_of(train("k=2", steps=6))
    folder_of(resumed(run, 10, SetControl("k", 3)))
    session = resumed(run, 8, checkpoint="step_0000000006-b0")
    assert session.snapshot.branch == 1
    assert find.newest(run) == find.CheckpointName(branch=1, step=8)
    table = rows(session)
    assert [(row["branch"], row["step"]) for row in table] == [
        *((0, step) for step in range(1, 11)),
        *((1, step) for step in range(7, 9)),
    ]
    history = session.history
    assert (history.rows, history.last_step) == (8, 8)
    shown = history.envelope("k", 8).mean[:8]
    assert shown.tolist() == [2] * 8, "k was 3 on the branch that was given up"
    kinds = [(event.kind, event.branch) for event in session.events()]
    assert kinds == [("start", 0), ("stop", 0), ("resume", 0), ("resume", 1), ("stop", 1)]
    straight = folder_of(train("k=2", steps=8, name="straight"))
    first, second = saved(straight), saved(run)
    assert all(torch.equal(first[name], second[name]) for name in first)
    again = resumed(run, 9)
    assert again.snapshot.branch == 1, "nothing was given up this time"
    assert again.history.rows == 9


def test_a_resume_from_an_older_checkpoint_is_what_the_next_one_goes_on_from(
    train: Train, launch: Make
) -> None:
    run = folder_of(train(steps=6))
    folder_of(resumed(run, 10))
    session = LocalSession(resumption(run, 20, checkpoint="step_0000000006-b0"))
    session.stop("at once")
    session.start()
    assert session.ended.wait(DEADLINE)
    assert session.snapshot.step == 0, "it was stopped while loading"
    assert find.newest(run) == find.CheckpointName(0, 10)
    killed = folder_of(resumed(run, 7, checkpoint="step_0000000006-b0"))
    about = json.loads((killed / "run.json").read_text())
    (killed / "run.json").write_text(json.dumps(about | {"state": "running", "step": None}))
    assert resumed(run, 8).snapshot.branch == 2, "what ended nobody knows how has lost steps"


def tear(run: Path) -> None:
    """Leave a run as a kill in the middle of writing does."""
    about = json.loads((run / "run.json").read_text())
    del about["ended"]
    (run / "run.json").write_text(json.dumps(about | {"state": "running", "step": None}))
    for name, torn in (
        ("metrics.jsonl", b'{"step":9,"branch":0,"d_lo'),
        ("events.jsonl", b'{"step":9,'),
        ("history/d_loss.f4", b"\0\0\0\0\0\0\0\0\0"),
        ("history/k.f4", b"\0\0\0\0"),
        ("history/branch.i4", b"\0\0"),
    ):
        with (run / name).open("ab") as file:
            file.write(torn)
    (run / ".run.json.123.tmp").write_text("half")
    half = run / "checkpoints" / ".step_0000000009-b0.123.tmp"
    half.mkdir()
    (half / "tensors.safetensors").write_bytes(b"half")


def test_torn_tails_are_mended(train: Train) -> None:
    run = folder_of(train(steps=6))
    tear(run)
    session = resumed(run, 9)
    table = rows(session)
    assert [row["step"] for row in table] == list(range(1, 10))
    assert [event["kind"] for event in events(session)] == ["start", "stop", "resume", "stop"]
    assert events(session)[2]["branch"] == 1
    lengths = {(run / "history" / f"{name}.f4").stat().st_size for name in METRICS}
    assert lengths == {9 * 4}
    assert np.fromfile(run / "history" / "step.i8", "<i8").tolist() == list(range(1, 10))
    column = np.fromfile(run / "history" / "d_loss.f4", "<f4")
    assert column.tolist() == pytest.approx([row["d_loss"] for row in table])
    assert not list(run.rglob("*.tmp"))


@pytest.mark.parametrize("name", ["events.jsonl", "history/k.f4", "run.lock"])
def test_a_link_out_of_the_run_directory_is_not_written_through(
    train: Train, tmp_path: Path, name: str
) -> None:
    run = folder_of(train(steps=2))
    outside = tmp_path / "outside"
    outside.write_bytes(b"no line feed")
    (run / name).unlink()
    (run / name).symlink_to(outside)
    if name == "events.jsonl":
        # Which checkpoint to go on from is read from the events, before anything is loaded.
        with pytest.raises(UserError, match="a link to another place"):
            resumed(run, 4)
    else:
        failure = resumed(run, 4).snapshot.failure
        assert failure is not None and failure.mistake
        assert "a link to another place" in failure.message
    assert outside.read_bytes() == b"no line feed"


def test_a_metric_that_came_later_has_no_values_before(train: Train) -> None:
    run = folder_of(train(steps=3))
    (run / "history" / "convergence.f4").unlink()
    resumed(run, 5)
    column = np.fromfile(run / "history" / "convergence.f4", "<f4")
    assert np.isnan(column[:3]).all()
    assert column[3:].tolist() == [0, 0]


def test_rows_that_are_missing_are_gaps(train: Train) -> None:
    run = folder_of(train("run.record_every=2", steps=9))
    for path in (run / "history").glob("*.*[48]"):
        width = int(path.suffix[-1])
        content = path.read_bytes()
        path.write_bytes(content[:width] + content[2 * width :])
    history = read_history(run, 2, 9).view
    assert (history.rows, history.last_step) == (4, 8)
    losses = history.envelope("d_loss", 4).mean
    assert np.isnan(losses).tolist() == [False, True, False, False]
    longer = read_history(run, 2, 13).view
    assert np.isnan(longer.envelope("d_loss", 6).mean).tolist()[4:] == [True, True]


def test_foreign_lines_among_the_events_are_passed_over(train: Train) -> None:
    run = folder_of(train(steps=2))
    good = json.loads((run / "events.jsonl").read_text().splitlines()[0])
    evil = [
        b"[1]",
        b"\xff\xfe",
        json.dumps(good | {"step": "1"}).encode(),
        json.dumps(good | {"kind": "change", "key": "nothing"}).encode(),
        json.dumps(good | {"kind": "change", "key": "k", "from": 1, "to": "x", "by": 1}).encode(),
        json.dumps(good | {"kind": "data", "files": [], "why": ""}).encode(),
        json.dumps(good | {"kind": "resume", "checkpoint": "", "differs": [1]}).encode(),
        json.dumps(good | {"kind": "refused", "key": [], "to": 1, "reason": ""}).encode(),
        json.dumps({"step": 1}).encode(),
    ]
    with (run / "events.jsonl").open("ab") as file:
        file.write(b"\n".join([*evil, b""]))
    assert [event.kind for event in read_events(run)] == ["start", "stop"]


def test_a_live_run_is_refused(launch: Make) -> None:
    session = LocalSession(launch(steps=None))
    session.start()
    until(lambda: session.snapshot.step > 3)
    session.submit(Pause())
    session.submit(SaveCheckpoint())
    run = Path(session.snapshot.info.directory)
    until(lambda: find.newest(run) is not None)
    second = LocalSession(resumption(run, 10**6))
    second.start()
    assert second.ended.wait(DEADLINE)
    failure = second.snapshot.failure
    assert failure is not None and failure.mistake
    assert f"is live: process {os.getpid()}" in failure.message
    assert [e["kind"] for e in events(session)].count("resume") == 0
    session.stop("test")
    assert session.ended.wait(DEADLINE)
    at = session.snapshot.step
    assert resumed(run, at + 1).snapshot.state == "finished"


def test_other_samples_are_refused(train: Train) -> None:
    run = folder_of(train(steps=2))
    about = json.loads((run / "run.json").read_text())
    about["data"]["sha256"] = "0" * 64
    (run / "run.json").write_text(json.dumps(about))
    before = (run / "events.jsonl").read_bytes()
    failure = resumed(run, 5).snapshot.failure
    assert failure is not None and failure.mistake
    assert "was trained on other samples of mnist10k" in failure.message
    assert (run / "events.jsonl").read_bytes() == before


def test_what_differs_is_told(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    run = folder_of(train(steps=2))
    monkeypatch.setattr(torch, "__version__", "9.9.0")
    text = (run / "preset.toml").read_text()
    (run / "preset.toml").write_text(text.replace("threads = 1", "threads = 2"))
    try:
        session = resumed(run, 3)
    finally:
        torch.set_num_threads(1)
    monkeypatch.undo()
    differs = events(session)[2]["differs"]
    torch_told = f"torch {torch.__version__} -> 9.9.0"
    assert differs == [torch_told, "threads 1 -> 2", "preset.toml was changed"]


class Wary(Rule):
    """Finds something in every judgement, and wants to be sure of it."""

    name, title, severity, raise_after = "wary", "Wary", "warning", 5

    def judge(self, record: Record, raised: bool) -> Finding:
        return Finding("as ever")


def test_an_alarm_is_raised_in_the_round_in_which_it_would_have_been(
    launch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarms, "rules", lambda: [Wary()])
    # A judgement at the start, and one after each step.
    each = ("run.diagnosis=1", "run.diagnose_every=1", "data.held_out=0")

    def raised(session: LocalSession) -> list[tuple[int, int]]:
        told = [e for e in session.events() if isinstance(e, AlarmEvent)]
        return [(e.step, e.first_step) for e in told]

    whole = LocalSession(launch(*each, steps=6, name="whole"))
    whole.start()
    assert whole.ended.wait(DEADLINE)
    part = LocalSession(launch(*each, steps=3, name="part"))
    part.start()
    assert part.ended.wait(DEADLINE)
    assert state_of(folder_of(part))["streaks"] == {"wary": [4, 0]}
    again = resumed(folder_of(part), 6)
    assert raised(part) == []
    assert raised(again) == raised(whole) == [(4, 0)]


def test_a_run_that_paused_over_a_value_goes_on(
    launch: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganterm.losses.logistic import NonSaturating

    plain = NonSaturating.d_loss
    with monkeypatch.context() as patch:
        patch.setattr(NonSaturating, "d_loss", lambda *a: plain(*a) + float("nan"))
        session = LocalSession(launch(steps=None))
        session.start()
        until(lambda: session.snapshot.state == "paused")
        session.stop("test")
        assert session.ended.wait(DEADLINE)
    run, at = folder_of(session), session.snapshot.step
    again = resumed(run, at + 3)
    assert again.snapshot.state == "finished"
    assert again.snapshot.alarms == ()
    states = [e["state"] for e in events(again) if e["kind"] == "alarm"]
    assert states == ["raised", "cleared"]


def test_what_cannot_be_resumed_is_told(train: Train, tmp_path: Path) -> None:
    run = folder_of(train(steps=4))
    with pytest.raises(UserError, match=r"at step 4 .* is to end at 4.*resume .*run --steps 8"):
        resumption(run)
    with pytest.raises(UserError, match="is to end at 3"):
        resumption(run, 3)
    with pytest.raises(UserError, match=r"--from 'step_0000000003-b0'.*did you mean '.*4-b0'"):
        resumption(run, 9, "step_0000000003-b0")
    with pytest.raises(UserError, match=r"--from '\.\./\.\./x'"):
        resumption(run, 9, "../../x")
    with pytest.raises(UserError, match=r"there is no run 'rum'.*did you mean 'run'"):
        find.find("rum", run.parent)
    with pytest.raises(UserError, match="there is none yet"):
        find.find("run", tmp_path / "nowhere")
    assert find.find(str(run), tmp_path) == run
    about = (run / "run.json").read_text()
    (run / "run.json").write_text(about.replace('"format": 1', '"format": 7'))
    with pytest.raises(UserError, match="format 7, of a newer ganterm; this one reads format 1"):
        resumption(run, 9)
    (run / "run.json").write_text("{}")
    with pytest.raises(UserError, match=r"run\.json: object missing required field `format`"):
        resumption(run, 9)
    for wrong, told in (
        ({"id": "./../../victim/settings"}, r"run\.json: id: expected `str` matching regex"),
        ({"format": 10**30}, r"run\.json: format: expected `int` <"),
        ({"stop_on": ["colapse"]}, r"run\.json: stop_on: .* 'colapse'; did you mean 'collapse'"),
    ):
        (run / "run.json").write_text(json.dumps(json.loads(about) | wrong))
        with pytest.raises(UserError, match=told) as caught:
            resumption(run, 9)
        assert len(str(caught.value)) < 500
    assert resumption(run, 9, stop_on=("nonfinite",)).stop_on == ("nonfinite",)
    for content, told in ((b'{"format": 1, "id": "\xff"}', "not UTF"), (b"{]", "JSON is ")):
        (run / "run.json").write_bytes(content)
        with pytest.raises(UserError, match=rf"run\.json: {told}"):
            resumption(run, 9)
    (run / "run.json").write_text(about)
    for path in (run / "checkpoints").iterdir():
        path.rename(run / path.name)
    with pytest.raises(UserError, match=r"no checkpoint yet.*--preset .*run/preset\.toml"):
        resumption(run, 9)


OFTEN = ["--set", "run.checkpoint_minutes=0.002"]


def test_a_killed_run_resumes_through_the_command_line(tmp_path: Path, train: Train) -> None:
    process = subprocess.Popen(
        [*GANTERM, *TRAIN, *OFTEN, "--seed", "3"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if " checkpoint " in line:
            break
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.stdout.read()
    process.wait()
    run = tmp_path / "runs" / "r"
    newest = find.newest(run)
    assert newest is not None
    goal = newest.step + 30
    done = ganterm(tmp_path, "resume", "r", "--headless", "--json", "--steps", str(goal))
    assert (done.returncode, done.stderr) == (0, "")
    lines = json_lines(done.stdout)
    assert lines[0]["kind"] == "start"
    told = [line["event"] for line in lines if line["kind"] == "event"]
    assert told[0]["kind"] == "resume", "events of before are not told again"
    assert (told[0]["from_step"], told[0]["branch"]) == (newest.step, 1)
    assert lines[-1] == {"kind": "stop", "state": "finished", "step": goal, "error": None}
    whole = folder_of(train("run.seed=3", steps=goal, name="whole"))
    first, second = saved(run), saved(whole)
    assert all(torch.equal(first[name], second[name]) for name in first)
    flip(run / "checkpoints" / str(find.newest(run)) / "tensors.safetensors", 1000)
    damaged = ganterm(tmp_path, "resume", "r", "--headless", "--steps", str(goal + 5))
    assert damaged.returncode == 2
    assert "cannot be used: tensors.safetensors: damaged" in damaged.stderr
    command = damaged.stderr.splitlines()[1].partition("the newest good one: ")[2].split()
    assert command[:4] == ["ganterm", "resume", "runs/r", "--from"]
    mended = resumed(run, goal + 5, checkpoint=command[4])
    assert mended.snapshot.state == "finished"


KILLS = 30


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_is_the_run_that_was_not(
    tmp_path: Path, train: Train
) -> None:
    """SIGKILL at random moments, each after a save that was told; nothing of it is ever undone."""
    run, draws, told_of = tmp_path / "runs" / "r", random.Random(4), 0
    words = [*TRAIN, *OFTEN, "--seed", "3"]
    for _ in range(KILLS):
        process = subprocess.Popen(
            [*GANTERM, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        saved_one = False
        while not saved_one:
            line = process.stdout.readline()
            assert line, "it has ended by itself"
            saved_one = b" checkpoint " in line
        time.sleep(draws.uniform(0, 1.5))
        process.send_signal(signal.SIGKILL)
        process.stdout.read()
        process.wait()
        lines = (run / "events.jsonl").read_bytes().splitlines()
        acknowledged = [e for e in map(event_of, lines) if isinstance(e, CheckpointEvent)]
        assert acknowledged[-1].step >= told_of
        told_of = int(acknowledged[-1].path.partition("step_")[2][:10])
        newest = find.newest(run)
        assert newest is not None and newest.step >= told_of
        for name in find.checkpoints(run):
            restore.read(run, name, find.about(run).id)
        words = ["resume", "r", "--headless", "--steps", str(10**7)]
    goal = newest.step + 20
    last = folder_of(resumed(run, goal))
    whole = folder_of(train("run.seed=3", steps=goal, name="whole"))
    first, second = saved(last), saved(whole)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    steps, values = read_history(run, 1, goal).view.newest("d_loss", 10**6)
    assert len(steps) == goal and np.isfinite(values).all()


@pytest.mark.parametrize("differs", [[], ["torch 2.6 -> 2.7", "\x1b]52;"]])
def test_the_events_panel_tells_of_checkpoints_and_resumes(differs: list[str]) -> None:
    resume = ResumeEvent(checkpoint="step_0000000005-b0", differs=tuple(differs))
    text, _ = describe(resume, Glyphs())
    assert text.startswith("goes on from step_0000000005-b0")
    assert ("not bit-exact: torch 2.6 -> 2.7, ^[]52;" in text) == bool(differs)
    saved_text, _ = describe(CheckpointEvent(path="checkpoints/x"), Glyphs())
    assert saved_text == "checkpoint checkpoints/x"


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
