"""What the alarms' rules would have been told of a collected run, and what was true meanwhile.

Writes ``rounds.jsonl``, a line a round as the run's own Examiner read it from the networks kept;
``hidden.jsonl``, the same for data that have neither labels nor known modes, so that features are
the fixed network's; and ``truth.json``. Done again whenever exams change; nothing is trained for it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from torch import Tensor

from ganterm.data.load import loaded
from ganterm.diagnosis.features import FixedFeatures
from ganterm.diagnosis.scores import auc
from ganterm.presets import Preset
from ganterm.session.findings import Diagnosis
from ganterm.session.launch import Launch
from ganterm.training.examiner import Examiner
from ganterm.training.iteration import Game
from ganterm.training.setup import set_up
from ganterm.training.subject import subject_of
from tests.alarm_bench.collect import ROUND_EVERY
from tests.alarm_bench.settings import Run, controls_at
from tests.alarm_bench.strong import judge
from tests.alarm_bench.truth import PICTURES, SAMPLES

VIEW_SEED = 12_345
_JSON = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE


def examine(run: Run, out: Path, data_dir: Path | None) -> str:
    """Take all exams of a collected run, and its truth."""
    from safetensors.torch import load_file

    torch.set_num_threads(1)
    folder = out / run.name
    preset = run.setting.build(run.seed)
    with tempfile.TemporaryDirectory(prefix="ganterm-bench-") as runs:
        launch = Launch(run.name, preset, "cpu", None, None, Path(runs), "run")
        setup = set_up(launch, lambda doing, share: None)
        game, examiner = setup.game, setup.examiner
        count = SAMPLES if setup.traits.plane else PICTURES
        reals = next_reals(game.batches.next, count)
        tell_apart, expected = _tell_apart(run, out, data_dir)
        truth = []
        blind = _blind(preset, game, setup.device)
        with ExitStack() as stack:
            rounds, hidden = (
                stack.enter_context((folder / name).open("wb"))
                for name in ("rounds.jsonl", "hidden.jsonl")
            )
            for file in sorted((folder / "states").iterdir()):
                step = int(file.stem)
                controls = controls_at(preset, step)
                tensors = load_file(file)
                _load(game.generator, tensors, "g.")
                has_d = _load(game.discriminator, tensors, "d.")
                game.step = step
                with torch.no_grad():
                    game.generator.eval()
                    game.discriminator.eval()
                    random = torch.Generator().manual_seed(VIEW_SEED)
                    fakes, labels = game.sample(count, random)
                    point: dict[str, Any] = {"step": step, "shares": tell_apart(fakes)}
                    if has_d:
                        of_real = game.judge(reals, None).flatten()
                        of_fake = game.judge(fakes, None).flatten()
                        both = torch.cat([of_real, of_fake])
                        point["auc"] = float(auc(of_real, of_fake))
                        point["score_std"] = float(both.std())
                        point["score_mean"] = float(both.mean())
                truth.append(point)
                if step % ROUND_EVERY == 0:
                    for takes, log in ((examiner, rounds), (blind, hidden)):
                        found = takes.examine(step, float(step), controls)
                        log.write(orjson.dumps(round_of(found), option=_JSON))
        setup.directory.close()
        game.batches.close()
        (folder / "truth.json").write_bytes(
            orjson.dumps({"expected": expected, "points": truth}, option=_JSON)
        )
        known = {"traits": asdict(setup.traits), "note": examiner.diagnosis.note}
        (folder / "about.json").write_bytes(orjson.dumps(known, option=_JSON))
    return f"{run.name}: {len(truth)} points; broken: {dict(examiner.broken)}"


def _blind(preset: Preset, game: Game, device: torch.device) -> Examiner:
    """Who examines the same networks as if the data had no labels."""
    dataset = loaded(preset.data, None, lambda doing, share: None)
    unlabelled = replace(dataset, labels=None, classes=(), modes=None, sigma=None)
    features = FixedFeatures(dataset.shape, device)
    subject = subject_of(unlabelled, device, preset.run.seed, features, None)
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


def _load(network: torch.nn.Module, tensors: dict[str, Tensor], prefix: str) -> bool:
    state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    if state:
        network.load_state_dict(state)
    return bool(state)


def _tell_apart(
    run: Run, out: Path, data_dir: Path | None
) -> tuple[Callable[[Tensor], list[float]], list[float]]:
    """From samples to the share of each mode, and the data's shares."""
    dataset = loaded(run.setting.build(0).data, None, lambda doing, share: None)
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
