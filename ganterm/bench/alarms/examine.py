"""Takes the exams of a collected run, and finds out what really happened in it.

Writes ``rounds.jsonl``, the readings of the run's own Examiner, a line for each round;
``hidden.jsonl``, the same as if the data had neither labels nor known modes, with features of the
fixed network; and ``truth.json``. Nothing is trained, so it can be repeated when exams change.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganterm.bench.alarms.collect import ROUND_EVERY
from ganterm.bench.alarms.settings import Run, controls_at
from ganterm.bench.alarms.strong import strong_classifier
from ganterm.bench.alarms.truth import PICTURES, SAMPLES
from ganterm.core.findings import Diagnosis
from ganterm.core.json_text import json_bytes
from ganterm.data.load import load_dataset
from ganterm.diagnosis.classifier.features import FixedFeatures
from ganterm.diagnosis.ranking import auc
from ganterm.launch import Launch
from ganterm.presets import Preset
from ganterm.training.examiner import Examiner
from ganterm.training.game import Game
from ganterm.training.setup import Setup, set_up
from ganterm.training.subject import subject_of

VIEW_SEED = 12_345
"""Seed of the noise for the samples that truth is found from; the same at all points."""


def examine(run: Run, out: Path, data_dir: Path | None) -> str:
    """Take all exams of a collected run, and find its truth if that is not known yet."""
    torch.set_num_threads(1)
    folder = out / run.name
    preset = run.setting.build(run.seed)
    with tempfile.TemporaryDirectory(prefix="ganterm-bench-") as runs:
        launch = Launch(run.name, preset, "cpu", None, None, Path(runs), "run")
        setup = set_up(launch, lambda doing, share: None)
        setup.directory.close()
    if not (folder / "truth.json").exists():
        shares, expected = _mode_shares(run, out, data_dir)
        truth = {"expected": expected, "points": list(_points(setup, folder, shares))}
        (folder / "truth.json").write_bytes(json_bytes(truth) + b"\n")
    unlabelled = _unlabelled_examiner(preset, setup.game, setup.device)
    for examiner, log in ((setup.examiner, "rounds.jsonl"), (unlabelled, "hidden.jsonl")):
        lines = []
        for step in _states(setup.game, folder):
            if step % ROUND_EVERY == 0:
                diagnosis = examiner.examine(step, float(step), controls_at(preset, step))
                lines.append(json_bytes(round_of(diagnosis)) + b"\n")
        (folder / log).write_bytes(b"".join(lines))
    setup.game.batches.close()
    about = {"traits": asdict(setup.traits), "note": setup.examiner.diagnosis.note}
    (folder / "about.json").write_bytes(json_bytes(about) + b"\n")
    return f"{run.name}: {len(lines)} rounds; broken: {dict(setup.examiner.broken)}"


def _states(game: Game, folder: Path) -> Iterator[int]:
    """Load the networks that were kept, one step after the other; yields the steps."""
    from safetensors.torch import load_file

    for file in sorted((folder / "states").iterdir()):
        tensors = load_file(file)
        _load(game.generator, tensors, "g.")
        _load(game.discriminator, tensors, "d.")
        game.step = int(file.stem)
        yield game.step


def _points(
    setup: Setup, folder: Path, shares: Callable[[Tensor], list[float]]
) -> Iterator[dict[str, Any]]:
    """For each step whose networks were kept, the shares of the modes and, at rounds, D's scores.

    ``shares`` returns the share of each mode in samples.
    """
    game = setup.game
    count = SAMPLES if setup.traits.plane else PICTURES
    reals = next_reals(game.batches.next, count)
    for step in _states(game, folder):
        with torch.no_grad():
            game.generator.eval()
            game.discriminator.eval()
            fakes, _ = game.sample(count, torch.Generator().manual_seed(VIEW_SEED))
            point: dict[str, Any] = {"step": step, "shares": shares(fakes)}
            if step % ROUND_EVERY == 0:
                real, fake = (game.score(batch, None).flatten() for batch in (reals, fakes))
                scores = torch.cat([real, fake])
                point["auc"] = float(auc(real, fake))
                point["score_std"], point["score_mean"] = (float(v) for v in torch.std_mean(scores))
        yield point


def _unlabelled_examiner(preset: Preset, game: Game, device: torch.device) -> Examiner:
    """An examiner of the same networks, as if the data had no labels."""
    dataset = load_dataset(preset.data, None, lambda doing, share: None)
    unlabelled = replace(dataset, labels=None, classes=(), modes=None, sigma=None)
    features = FixedFeatures(dataset.shape, device)
    subject = subject_of(unlabelled, None, device, preset.run.seed, features, None)
    return Examiner(game, subject, 1.0, ROUND_EVERY, preset.run.seed, "")


def round_of(diagnosis: Diagnosis) -> dict[str, Any]:
    """What the newest round has measured, as ``replay`` reads it."""
    step = diagnosis.step
    table: dict[str, Any] = {
        "step": step,
        "readings": {n: r.value for n, r in diagnosis.readings.items() if r.step == step},
    }
    if diagnosis.modes is not None and diagnosis.modes.step == step:
        table["modes"] = asdict(diagnosis.modes)
    return table


def next_reals(draw: Callable[[], tuple[Tensor, Tensor | None]], count: int) -> Tensor:
    """``count`` reals, as training draws them."""
    batches: list[Tensor] = []
    while sum(len(batch) for batch in batches) < count:
        batches.append(draw()[0].clone())
    return torch.cat(batches)[:count]


def _load(network: torch.nn.Module, tensors: dict[str, Tensor], prefix: str) -> None:
    state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    if state:
        network.load_state_dict(state)


def _mode_shares(
    run: Run, out: Path, data_dir: Path | None
) -> tuple[Callable[[Tensor], list[float]], list[float]]:
    """A function that returns the share of each mode in samples; the shares in the data."""
    dataset = load_dataset(run.setting.build(0).data, None, lambda doing, share: None)
    if dataset.modes is not None:
        modes = dataset.modes
        count = len(modes)

        def by_distance(points: Tensor) -> list[float]:
            finite = points.double().nan_to_num(posinf=1e9, neginf=-1e9)
            nearest = torch.cdist(finite, modes.double()).argmin(dim=1)
            return (torch.bincount(nearest, minlength=count) / len(points)).tolist()

        return by_distance, [1 / count] * count
    network = strong_classifier(out, data_dir).network

    def by_class(pictures: Tensor) -> list[float]:
        with torch.no_grad():
            labels = torch.cat([network(part).argmax(1) for part in pictures.split(500)])
        return (torch.bincount(labels, minlength=10) / len(pictures)).tolist()

    assert dataset.labels is not None
    counts = np.bincount(dataset.labels.numpy(), minlength=10)
    return by_class, (counts / counts.sum()).tolist()
