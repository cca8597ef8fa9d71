from __future__ import annotations

import errno
import hashlib
import json
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ganterm.core.metrics import METRICS
from ganterm.core.snapshot import NewNoise, OneStep, Pause, SetControl, Stop, Unpause
from ganterm.launch import Launch
from ganterm.presets import Preset
from ganterm.session.local import LocalSession
from ganterm.training.checkpoints import schedule
from ganterm.training.checkpoints.schedule import Checkpoints
from tests.conftest import Train
from tests.helpers.deadlines import DEADLINE, until


def events(session: LocalSession) -> list[dict[str, Any]]:
    folder = Path(session.snapshot.info.directory)
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def rows(session: LocalSession) -> list[dict[str, Any]]:
    lines = (Path(session.snapshot.info.directory) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[1:]]


def weights(session: LocalSession) -> dict[str, torch.Tensor]:
    """All that is saved but what is merely looked at."""
    folder = Path(session.snapshot.info.directory) / "checkpoints"
    saved = load_file(folder / (folder / "LATEST").read_text().strip() / "tensors.safetensors")
    return {name: tensor for name, tensor in saved.items() if "sampler" not in name.split(".")}


def test_a_run_leaves_everything_the_contract_names(train: Train) -> None:
    session = train(steps=7)
    folder = Path(session.snapshot.info.directory)
    assert session.snapshot.state == "finished"
    assert [event["kind"] for event in events(session)] == ["start", "stop"]
    assert events(session)[0]["step"] == 0
    table = rows(session)
    assert [row["step"] for row in table] == list(range(1, 8))
    main = "step d_loss g_loss d_acc_real d_acc_fake d_auc grad_norm_d grad_norm_g k l lr_d lr_g"
    assert set(main.split()) <= set(table[0])
    assert all(row[name] is not None for row in table for name in METRICS)
    about = json.loads((folder / "run.json").read_text())
    assert about["state"] == "finished"
    assert about["data"]["name"] == "mnist10k"
    assert len(about["data"]["sha256"]) == 64
    assert about["world_size"] == 1
    resolved = Preset.from_table(tomllib.loads((folder / "preset.toml").read_text()), "run")
    assert resolved.run.threads == session.snapshot.info.threads >= 1
    assert resolved.generator.model_dump()["hidden"] == [16]
    assert (folder / "samples" / "step_0000000007-b0.png").exists()
    assert session.snapshot.counters.d_updates == 7
    assert session.snapshot.counters.samples_seen == 7 * 8


def test_the_last_save_is_whole_and_says_so(train: Train) -> None:
    session = train(steps=3)
    folder = Path(session.snapshot.info.directory) / "checkpoints"
    saved = folder / (folder / "LATEST").read_text().strip()
    assert saved.name == "step_0000000003-b0"
    manifest = json.loads((saved / "MANIFEST.json").read_text())
    for name, known in manifest["files"].items():
        content = (saved / name).read_bytes()
        assert len(content) == known["bytes"]
        assert hashlib.sha256(content).hexdigest() == known["sha256"]
    tensors = load_file(saved / "tensors.safetensors")
    assert {key.split(".")[0] for key in tensors} == {
        "generator",
        "discriminator",
        "average",
        "balance",
        "squares",
        "optimizer_g",
        "optimizer_d",
        "random",
        "sampler",
    }
    state = json.loads((saved / "state.json").read_text())
    assert state["step"] == 3
    assert state["counters"]["g_updates"] == 3


def test_same_seed_same_weights_and_other_seed_other_weights(train: Train) -> None:
    first = weights(train(steps=6, name="a"))
    second = weights(train(steps=6, name="b"))
    other = weights(train("run.seed=1", steps=6, name="c"))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["generator.body.0.weight"], other["generator.body.0.weight"])


def test_the_run_directorys_preset_trains_to_the_same_weights(train: Train, tmp_path: Path) -> None:
    session = train("instance_noise=0.1", "d_input_dropout=0.1", "loss=wgan_gp", steps=6)
    table = tomllib.loads((Path(session.snapshot.info.directory) / "preset.toml").read_text())
    again = LocalSession(
        Launch("again", Preset.from_table(table, "again"), "cpu", 6, None, tmp_path, "again")
    )
    again.start()
    assert again.ended.wait(DEADLINE)
    first, second = weights(session), weights(again)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_watching_with_samples_does_not_change_the_weights(
    launch: Callable[..., Launch], train: Train
) -> None:
    alone = weights(train(steps=40, name="alone"))
    session = LocalSession(launch(steps=40, name="watched"))
    session.watch(1000)
    session.submit(NewNoise())
    session.start()
    assert session.ended.wait(DEADLINE)
    assert session.snapshot.sample is not None
    watched = weights(session)
    assert all(torch.equal(alone[key], watched[key]) for key in alone)


def test_a_change_is_acknowledged_with_the_step_at_which_it_first_acts(
    launch: Callable[..., Launch],
) -> None:
    session = LocalSession(launch(steps=None))
    session.start()
    until(lambda: session.snapshot.step > 5)
    session.submit(SetControl("k", 3))
    session.submit(SetControl("lr_d", 1e-4, by="prompt"))
    until(lambda: session.snapshot.controls.lr_d == 1e-4)
    at = session.snapshot.step
    until(lambda: session.snapshot.step > at + 5)
    session.submit(SetControl("loss", "hinge"))
    until(lambda: session.snapshot.controls.loss == "hinge")
    session.stop("test")
    assert session.ended.wait(DEADLINE)
    changes = {e["key"]: e for e in events(session) if e["kind"] == "change"}
    assert (changes["k"]["from"], changes["k"]["to"], changes["k"]["by"]) == (1, 3, "key")
    assert changes["lr_d"]["by"] == "prompt"
    first = changes["k"]["step"]
    table = {row["step"]: row for row in rows(session)}
    assert table[first - 1]["k"] == 1
    assert table[first]["k"] == 3
    rate = changes["lr_d"]["step"]
    assert table[rate]["lr_d"] == pytest.approx(1e-4)
    assert table[rate - 1]["lr_d"] == pytest.approx(1e-3)
    done = session.snapshot
    before = first - 1
    assert done.counters.d_updates == before + 3 * (done.step - before)
    samples = Path(done.info.directory) / "samples"
    assert (samples / f"step_{first - 1:010d}-b0.png").exists()


def test_a_schedule_is_the_same_change_at_its_step(train: Train) -> None:
    session = train("schedule=[{step=4,set={k=2}},{step=6,set={lr_g=2e-3}}]", steps=8)
    table = {row["step"]: row for row in rows(session)}
    assert [table[s]["k"] for s in (3, 4, 5)] == [1, 2, 2]
    assert table[6]["lr_g"] == pytest.approx(2e-3)
    scheduled = [e for e in events(session) if e["kind"] == "schedule"]
    assert [(e["step"], e["key"], e["to"]) for e in scheduled] == [(4, "k", 2), (6, "lr_g", 2e-3)]


def test_a_key_and_a_schedule_reach_the_same_weights(
    launch: Callable[..., Launch], train: Train
) -> None:
    scheduled = weights(train("schedule=[{step=1,set={k=2,loss='lsgan'}}]", steps=6, name="s"))
    session = LocalSession(launch(steps=6, name="k"))
    session.submit(SetControl("k", 2))
    session.submit(SetControl("loss", "lsgan"))
    session.start()
    assert session.ended.wait(DEADLINE)
    pressed = weights(session)
    assert all(torch.equal(scheduled[key], pressed[key]) for key in pressed)


def test_a_bad_command_is_refused_and_training_goes_on(launch: Callable[..., Launch]) -> None:
    session = LocalSession(launch(steps=5))
    session.submit(SetControl("k", 1000))
    session.submit(SetControl("nothing", 1))
    session.start()
    assert session.ended.wait(DEADLINE)
    refused = [e for e in events(session) if e["kind"] == "refused"]
    assert [e["key"] for e in refused] == ["k", "nothing"]
    assert session.snapshot.state == "finished"
    assert session.snapshot.controls.k == 1


def test_pause_one_step_and_on(launch: Callable[..., Launch]) -> None:
    session = LocalSession(launch(steps=None))
    session.start()
    until(lambda: session.snapshot.step > 3)
    session.submit(Pause())
    until(lambda: session.snapshot.state == "paused")
    at, elapsed = session.snapshot.step, session.snapshot.counters.elapsed
    time.sleep(0.3)
    assert session.snapshot.step == at
    session.submit(OneStep())
    until(lambda: session.snapshot.step == at + 1)
    time.sleep(0.2)
    assert session.snapshot.step == at + 1
    assert session.snapshot.state == "paused"
    assert session.snapshot.counters.elapsed - elapsed < 0.2, "a pause is no training time"
    session.submit(Unpause())
    until(lambda: session.snapshot.step > at + 2)
    session.submit(Stop("test"))
    assert session.ended.wait(DEADLINE)
    assert [e["kind"] for e in events(session)] == ["start", "pause", "unpause", "stop"]


def test_record_every_thins_the_rows(train: Train) -> None:
    session = train("run.record_every=5", steps=23)
    assert [row["step"] for row in rows(session)] == [5, 10, 15, 20]
    assert session.history.last_step == 20
    assert session.snapshot.scalars["elapsed"] > 0


def test_a_non_finite_update_pauses_with_its_cause(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganterm.losses.logistic import NonSaturating

    plain = NonSaturating.d_loss
    calls = []

    def poisoned(self: Any, real: Any, fake: Any, controls: Any) -> Any:
        calls.append(1)
        bad = float("nan") if 10 <= len(calls) < 13 else 0.0
        return plain(self, real, fake, controls) + bad

    monkeypatch.setattr(NonSaturating, "d_loss", poisoned)
    session = LocalSession(launch(steps=None))
    session.start()
    until(lambda: session.snapshot.state == "paused")
    assert "step 10: D loss was not finite" in session.snapshot.alarms[0].message
    session.submit(Unpause())
    at = session.snapshot.step
    until(lambda: session.snapshot.step > at)
    assert session.snapshot.alarms == ()
    session.stop("test")
    assert session.ended.wait(DEADLINE)
    alarms = [e for e in events(session) if e["kind"] == "alarm"]
    assert [e["state"] for e in alarms] == ["raised", "cleared"]
    assert alarms[0]["evidence"]["tensor"] == "D loss"
    table = {row["step"]: row for row in rows(session)}
    assert table[10]["d_loss"] is None
    assert "d_loss" in table[10]["nonfinite"]
    assert table[10]["refused_d"] == 1
    assert all(torch.isfinite(value.float()).all() for value in weights(session).values())


def test_a_broken_network_fails_with_its_cause_and_curves(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganterm.losses.logistic import NonSaturating

    def broken(*_: Any) -> Any:
        raise RuntimeError("CUDA out of memory \x1b[31m")

    session = LocalSession(launch(steps=None))
    session.start()
    until(lambda: session.snapshot.step > 3)
    monkeypatch.setattr(NonSaturating, "g_loss", broken)
    assert session.ended.wait(DEADLINE)
    failure = session.snapshot.failure
    assert session.snapshot.state == "failed"
    assert failure is not None and "out of memory ^[[31m" in failure.message
    assert not failure.mistake
    assert session.history.rows > 3
    assert events(session)[-1]["kind"] == "error"
    about = json.loads((Path(session.snapshot.info.directory) / "run.json").read_text())
    assert about["state"] == "failed"


def test_nothing_is_left_where_the_device_is_not_there(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    session = LocalSession(replace(launch(), device="cuda"))
    session.start()
    assert session.ended.wait(DEADLINE)
    assert session.snapshot.failure is not None and session.snapshot.failure.mistake
    assert not (tmp_path / "runs").exists()


def test_ring8_trains_and_shows_points(launch: Callable[..., Launch]) -> None:
    session = LocalSession(launch(preset="ring8", steps=30))
    session.watch(100)
    session.start()
    assert session.ended.wait(DEADLINE)
    sample = session.snapshot.sample
    assert sample is not None and sample.points is not None and sample.real_points is not None
    assert sample.points.shape == sample.real_points.shape == (1000, 2)
    assert np.abs(np.linalg.norm(sample.real_points, axis=1) - 1).max() < 0.06


@pytest.mark.parametrize("loss", ["minimax", "lsgan", "hinge", "wgan", "wgan_gp"])
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_every_loss_trains_with_every_optimizer(train: Train, loss: str, optimizer: str) -> None:
    session = train(f"loss={loss}", f"optimizer.name={optimizer}", "k=2", "l=2", steps=3)
    assert session.snapshot.state == "finished"
    assert not session.snapshot.alarms


def test_steps_asked_for_quickly_are_all_taken_and_going_on_wins(
    launch: Callable[..., Launch],
) -> None:
    session = LocalSession(launch(steps=None))
    session.start()
    until(lambda: session.snapshot.step > 3)
    session.submit(Pause())
    until(lambda: session.snapshot.state == "paused")
    at = session.snapshot.step
    for _ in range(5):
        session.submit(OneStep())
    until(lambda: session.snapshot.step == at + 5)
    session.submit(OneStep())
    session.submit(Unpause())
    until(lambda: session.snapshot.step > at + 20)
    assert session.snapshot.state == "running"
    session.stop("test")
    assert session.ended.wait(DEADLINE)


def test_nothing_is_logged_at_a_step_that_never_ran(train: Train) -> None:
    session = train("schedule=[{step=6,set={k=5}}]", steps=5)
    assert [event["kind"] for event in events(session)] == ["start", "stop"]
    assert session.snapshot.controls.k == 1


def test_the_last_snapshot_shows_the_last_step(launch: Callable[..., Launch]) -> None:
    session = LocalSession(launch(steps=37))
    session.watch(0.01)
    session.start()
    assert session.ended.wait(DEADLINE)
    assert session.snapshot.sample is not None
    assert session.snapshot.sample.step == session.snapshot.step == 37


def test_new_noise_is_another_picture_of_the_same_step(launch: Callable[..., Launch]) -> None:
    from ganterm.core.snapshot import SaveSamples

    session = LocalSession(launch(steps=None))
    session.start()
    until(lambda: session.snapshot.step > 3)
    session.submit(Pause())
    until(lambda: session.snapshot.state == "paused")
    folder = Path(session.snapshot.info.directory) / "samples"
    file = folder / f"step_{session.snapshot.step:010d}-b0.png"
    session.submit(SaveSamples())
    until(file.exists)
    before = file.read_bytes()
    session.submit(NewNoise())
    session.submit(SaveSamples())
    until(lambda: file.read_bytes() != before)
    session.stop("test")
    assert session.ended.wait(DEADLINE)


def refused(*_: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_save_that_fails_is_a_failure(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "WAIT_SECONDS", 0)
    monkeypatch.setattr(Checkpoints, "save_into", refused)
    session = LocalSession(launch(steps=None))
    session.start()
    until(lambda: session.snapshot.step > 3)
    folder = Path(session.snapshot.info.directory) / "checkpoints"
    folder.rmdir()
    folder.write_text("in the way")
    session.stop("test")
    assert session.ended.wait(DEADLINE)
    assert session.snapshot.state == "failed"
    failure = session.snapshot.failure
    assert failure is not None and failure.message.endswith("checkpoints: a file, not a folder")
    stop = events(session)[-1]
    assert (stop["kind"], stop["state"], stop["saved"]) == ("stop", "failed", None)


def test_a_trainer_that_cannot_be_loaded_is_told(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ganterm.training.loop", None)
    session = LocalSession(launch())
    session.start()
    assert session.ended.wait(DEADLINE)
    assert session.snapshot.state == "failed"
    assert session.snapshot.failure is not None


def test_stopping_while_loading_leaves_nothing_and_is_no_failure(
    launch: Callable[..., Launch], tmp_path: Path
) -> None:
    session = LocalSession(launch())
    session.stop("test")
    session.start()
    assert session.ended.wait(DEADLINE)
    assert session.snapshot.state == "stopped"
    assert session.snapshot.failure is None
    assert not (tmp_path / "runs").exists()


def test_a_run_says_how_often_it_is_looked_at(train: Train) -> None:
    assert train().snapshot.info.diagnose_every == 250
    assert train("run.diagnosis=0", name="off").snapshot.info.diagnose_every == 0


def test_a_trap_is_told_at_the_start(train: Train) -> None:
    # Points of the grid lie beyond 1 as well.
    session = train("generator.output=tanh", preset="grid25", steps=2)
    first, warning = events(session)[:2]
    assert first["kind"] == "start"
    assert (warning["kind"], warning["name"]) == ("alarm", "output_range")
    assert (warning["step"], warning["severity"]) == (0, "warning")
    assert session.snapshot.alarms[0].name == "output_range"


def test_a_run_that_is_examined_in_every_step_is_seen(launch: Callable[..., Launch]) -> None:
    always = ("run.diagnosis=1", "run.diagnose_every=1")
    session = LocalSession(launch(*always, preset="ring8", steps=None))
    session.start()
    until(lambda: session.snapshot.step > 20)
    session.stop("test")
    assert session.ended.wait(DEADLINE)
    assert session.snapshot.state == "stopped"
