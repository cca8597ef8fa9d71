"""Every preset trains: real networks of the right kind, generated data of the right shape."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch

from ganterm import presets
from ganterm.core.snapshot import Snapshot
from ganterm.data import DATASETS
from ganterm.data.options import DataSection
from ganterm.data.source import Dataset, ProgressCallback
from ganterm.launch import Launch, resumption
from ganterm.session.local import LocalSession
from ganterm.training import setup
from tests.helpers.deadlines import DEADLINE

SHAPES = {
    "mnist": (1, 28, 28),
    "mnist10k": (1, 28, 28),
    "fashion_mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
    "svhn": (3, 32, 32),
    "folder": (3, 64, 64),
    "stacked_mnist": (3, 28, 28),
}
SMALLER = {
    "cifar_frogs": ["generator.width=4", "discriminator.width=8"],
    "cifar_dcgan": ["generator.width=8", "discriminator.width=8"],
    "cifar_sngan": ["generator.width=16", "discriminator.width=16"],
    "cifar_r3gan": [
        f"{network}.{key}=[{value}, {value}, {value}, {value}]"
        for network in ("generator", "discriminator")
        for key, value in (("widths", 16), ("cardinality", 4))
    ],
    "dcgan64_folder": ["generator.width=8", "discriminator.width=8"],
    "svhn_wgan_gp": ["generator.width=4", "discriminator.width=4"],
    "stacked_mnist_dcgan": ["generator.width=8", "discriminator.width=8"],
    "stacked_mnist_r3gan": [
        f"{network}.{key}=[{value}, {value}, {value}]"
        for network in ("generator", "discriminator")
        for key, value in (("widths", 16), ("cardinality", 4))
    ],
}
"""Overrides that bring the heavy ones down to a test's size; depth and kind stay."""


def generated(options: DataSection, folder: Path | None, progress: ProgressCallback) -> Dataset:
    """Noise of the data set's shape, ten classes; 2-D sets are made anyway, so they are real."""
    shape = SHAPES.get(options.name)
    if shape is None:
        return DATASETS[options.name].load(options, folder, progress)
    random = np.random.default_rng(0)
    return Dataset(
        options.name,
        torch.from_numpy(random.integers(0, 256, (48, *shape), np.uint8)),
        torch.arange(48) % 10,
        tuple("abcdefghij"),
    )


@pytest.fixture
def train_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Snapshot, Path]]:
    monkeypatch.setattr(setup, "load_dataset", generated)

    def run(name: str, *overrides: str, steps: int = 3) -> tuple[Snapshot, Path]:
        small = ["data.batch_size=8", *SMALLER.get(name, []), *overrides]
        known, preset = presets.load(name, small)
        launch = Launch(known, preset, "cpu", steps, tmp_path, tmp_path, f"run-{len(overrides)}")
        session = LocalSession(launch)
        session.watch(1.0)
        session.start()
        assert session.ended.wait(DEADLINE)
        last = session.snapshot
        assert last.state == "finished", last.failure
        return last, Path(last.info.directory)

    return run


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_trains_and_resumes_its_counters(
    name: str, train_preset: Callable[..., tuple[Snapshot, Path]]
) -> None:
    snapshot, folder = train_preset(name)
    _, preset = presets.load(name)
    k, l = preset.controls.k, preset.controls.l  # noqa: E741
    assert snapshot.scalars["refused_d"] == snapshot.scalars["refused_g"] == 0
    finite = [np.isfinite(snapshot.scalars[key]) for key in ("d_loss", "g_loss", "diversity")]
    assert all(finite)
    assert snapshot.sample is not None
    if snapshot.sample.images is not None:
        assert snapshot.sample.images.std() > 0
    (saved,) = (folder / "checkpoints").glob("step_*")
    state = json.loads((saved / "state.json").read_text())
    assert state["step"] == 3
    assert state["counters"]["d_updates"] == 3 * k
    assert state["counters"]["g_updates"] == 3 * l
    assert state["counters"]["samples_seen"] == 3 * k * 8
    assert state["controls"] == preset.controls.table()
    session = LocalSession(resumption(folder, 4))
    session.start()
    assert session.ended.wait(DEADLINE)
    last = session.snapshot
    assert (last.state, last.step) == ("finished", 4), last.failure
    counted = (last.counters.d_updates, last.counters.g_updates, last.counters.samples_seen)
    assert counted == (4 * k, 4 * l, 4 * k * 8)


@pytest.mark.parametrize("name", [n for n in presets.names() if presets.load(n)[1].schedule])
def test_a_presets_schedule_acts_at_its_exact_steps(
    name: str, train_preset: Callable[..., tuple[Snapshot, Path]], tmp_path: Path
) -> None:
    """Brought forward to steps 2, 3, 4 ... so that a test can wait for it."""
    _, preset = presets.load(name)
    coming = list(range(2, 2 + len(preset.schedule)))
    table = preset.table()
    for step, change in zip(coming, table["schedule"], strict=True):
        change["step"] = step
    file = tmp_path / f"{name}.toml"
    file.write_text(tomli_w.dumps(table))
    # What is tested is when and what, not how long k = 100 takes.
    overrides = ["k=2", *SMALLER.get(name, [])]
    _, folder = train_preset(str(file), *overrides, steps=coming[-1])
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()[1:]]
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    told = [(e["step"], e["key"], e["to"]) for e in events if e["kind"] == "schedule"]
    for step, change in zip(coming, preset.schedule, strict=True):
        for key, value in change.set.items():
            assert (step, key, value) in told
            if key in rows[0]:
                assert rows[step - 1][key] == pytest.approx(value)
                assert rows[step - 2][key] != pytest.approx(value)


def test_every_preset_says_how_long_it_takes() -> None:
    for name in presets.names():
        _, preset = presets.load(name)
        assert preset.expected is not None, name
        assert preset.title and preset.about.endswith(".")
        # With its name and time it has to fit a line of the welcome screen at 80 columns.
        assert len(preset.title) <= 40


def test_labels_that_the_data_lack_are_a_mistake(
    train_preset: Callable[..., tuple[Snapshot, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "load_dataset", lambda *args: replace(generated(*args), labels=None))
    with pytest.raises(AssertionError, match="mnist has no labels"):
        train_preset("mnist_cgan")


def test_data_that_the_networks_cannot_make_are_a_mistake(
    train_preset: Callable[..., tuple[Snapshot, Path]],
) -> None:
    with pytest.raises(AssertionError, match="ring8 does not fit the networks"):
        train_preset("mnist_dcgan", "data.name=ring8")
