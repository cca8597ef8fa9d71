"""What the alarms' rules would have been told of a collected run, and what was true meanwhile.

Writes ``rounds.jsonl``, a line a round as the run's own Examiner read it from the networks kept;
``hidden.jsonl``, the same for data that have neither labels nor known modes, so that features are
the fixed network's; and ``truth.json``. Done again when exams change; nothing is trained for it.
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
from ganterm.bench.alarms.strong import judge
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


def examine(run: Run, out: Path, data_dir: Path | None) -> str:
    """Take all exams of a collected run, and its truth where that is not there yet."""
    torch.set_num_threads(1)
    folder = out / run.name
    preset = run.setting.build(run.seed)
    with tempfile.TemporaryDirectory(prefix="ganterm-bench-") as runs:
        launch = Launch(run.name, preset, "cpu", None, None, Path(runs), "run")
        setup = set_up(launch, lambda doing, share: None)
        setup.directory.close()
    if not (folder / "truth.json").exists():
        tell_apart, expected = _tell_apart(run, out, data_dir)
        points = list(_points(setup, folder, tell_apart))
        told = {"expected": expected, "points": points}
        (folder / "truth.json").write_bytes(json_bytes(told) + b"\n")
    blind = _blind(preset, setup.game, setup.device)
    for examiner, log in ((setup.examiner, "rounds.jsonl"), (blind, "hidden.jsonl")):
        lines = []
        for step in _states(setup.game, folder):
            if step % ROUND_EVERY == 0:
                found = examiner.examine(step, float(step), controls_at(preset, step))
                lines.append(json_bytes(round_of(found)) + b"\n")
        (folder / log).write_bytes(b"".join(lines))
    setup.game.batches.close()
    known = {"traits": asdict(setup.traits), "note": setup.examiner.diagnosis.note}
    (folder / "about.json").write_bytes(json_bytes(known) + b"\n")
    return f"{run.name}: {len(lines)} rounds; broken: {dict(setup.examiner.broken)}"


def _states(game: Game, folder: Path) -> Iterator[int]:
    """The steps whose networks were kept, each with the networks put in place."""
    from safetensors.torch import load_file

    for file in sorted((folder / "states").iterdir()):
        tensors = load_file(file)
        _load(game.generator, tensors, "g.")
        _load(game.discriminator, tensors, "d.")
        game.step = int(file.stem)
        yield game.step


def _points(
    setup: Setup, folder: Path, tell_apart: Callable[[Tensor], list[float]]
) -> Iterator[dict[str, Any]]:
    """The truth of all points."""
    game = setup.game
    count = SAMPLES if setup.traits.plane else PICTURES
    reals = next_reals(game.batches.next, count)
    for step in _states(game, folder):
        with torch.no_grad():
            game.generator.eval()
            game.discriminator.eval()
            fakes, _ = game.sample(count, torch.Generator().manual_seed(VIEW_SEED))
            point: dict[str, Any] = {"step": step, "shares": tell_apart(fakes)}
            if step % ROUND_EVERY == 0:
                real, fake = (game.score(some, None).flatten() for some in (reals, fakes))
                both = torch.cat([real, fake])
                point["auc"] = float(auc(real, fake))
                point["score_std"], point["score_mean"] = (float(v) for v in torch.std_mean(both))
        yield point


def _blind(preset: Preset, game: Game, device: torch.device) -> Examiner:
    """Who examines the same networks as if the data had no labels."""
    dataset = load_dataset(preset.data, None, lambda doing, share: None)
    unlabelled = replace(dataset, labels=None, classes=(), modes=None, sigma=None)
    features = FixedFeatures(dataset.shape, device)
    subject = subject_of(unlabelled, None, device, preset.run.seed, features, None)
    return Examiner(game, subject, 1.0, ROUND_EVERY, preset.run.seed, "")


def round_of(found: Diagnosis) -> dict[str, Any]:
    """What a round found, for ``replay``."""
    step = found.step
    told: dict[str, Any] = {
        "step": step,
        "readings": {n: r.value for n, r in found.readings.items() if r.step == step},
    }
    if found.modes is not None and found.modes.step == step:
        told["modes"] = asdict(found.modes)
    return told


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


def _tell_apart(
    run: Run, out: Path, data_dir: Path | None
) -> tuple[Callable[[Tensor], list[float]], list[float]]:
    """From samples to the share of each mode, and the data's shares."""
    dataset = load_dataset(run.setting.build(0).data, None, lambda doing, share: None)
    if dataset.modes is not None:
        modes = dataset.modes
        count = len(modes)

        def nearest(points: Tensor) -> list[float]:
            finite = points.double().nan_to_num(posinf=1e9, neginf=-1e9)
            chosen = torch.cdist(finite, modes.double()).argmin(dim=1)
            return (torch.bincount(chosen, minlength=count) / len(points)).tolist()

        return nearest, [1 / count] * count
    network = judge(out, data_dir).network

    def classed(pictures: Tensor) -> list[float]:
        with torch.no_grad():
            chosen = torch.cat([network(part).argmax(1) for part in pictures.split(500)])
        return (torch.bincount(chosen, minlength=10) / len(pictures)).tolist()

    assert dataset.labels is not None
    counts = np.bincount(dataset.labels.numpy(), minlength=10)
    return classed, (counts / counts.sum()).tolist()
