"""Stacked MNIST's protocol on finished runs: ``ganterm bench stacked RUN_FOLDER...``.

26,000 samples of the saved generator (Srivastava et al. 2017, Lin et al. 2018), each of the three
digits told by ganterm's own classifier: how many of the 1,000 modes are there, and the KL from
their histogram to an even one. As many samples of the data themselves stand in the first row, the
least to be had. The table is Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ganterm import presets
from ganterm.bench.quality import VIEW_SEED, saved_generators
from ganterm.data.load import load_dataset
from ganterm.diagnosis.classifier import obtain
from ganterm.diagnosis.classifier.model import Classifier, Prediction
from ganterm.diagnosis.exams.modes import divergence
from ganterm.training.batches import Latent

SAMPLES = 26_000
MODES = 1_000
PART = 1_000
SURE, OFTEN = 0.9, 3
"""The strictest gate in use: a mode counts with so many samples, each told with this confidence."""


class Stacks(NamedTuple):
    """Modes with a sample; modes that pass the gate; KL in nats to an even histogram."""

    modes: int
    sure: int
    kl: float


def count(told: Prediction) -> Stacks:
    """What the classifier told of the samples."""
    counts = torch.bincount(told.labels, minlength=MODES)
    sure = torch.bincount(told.labels[told.confidence >= SURE], minlength=MODES)
    even = torch.full((MODES,), 1 / MODES)
    return Stacks(int((counts > 0).sum()), int((sure >= OFTEN).sum()), divergence(counts, even))


def judged(judge: Classifier, part: Callable[[int], Tensor]) -> Stacks:
    """Count the modes of SAMPLES samples; ``part(i)`` draws the i-th PART of them."""
    told = [judge.predict(part(i)) for i in range(SAMPLES // PART)]
    labels, confidence = zip(*told, strict=True)
    return count(Prediction(torch.cat(labels), torch.cat(confidence)))


def generators(run: Path, shape: tuple[int, ...]) -> dict[str, Callable[[int], Tensor]]:
    """The raw and the averaged G of a run's newest checkpoint, as makers of parts."""
    _, preset = presets.load(str(run / "preset.toml"))
    random = torch.Generator().manual_seed(VIEW_SEED)
    latent = Latent(preset.generator.latent_dim, preset.generator.latent)
    z = latent.draw(SAMPLES, random).split(PART)
    networks = saved_generators(run, shape)
    return {name: partial(_made, network, z) for name, network in networks.items()}


def _made(network: nn.Module, z: tuple[Tensor, ...], part: int) -> Tensor:
    made: Tensor = network(z[part])
    return made


def main(words: Sequence[str] | None = None) -> None:
    """Run the command with these words, or with those of the command line."""
    parser = argparse.ArgumentParser(prog="ganterm bench stacked", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--data-dir", type=Path)
    args = parser.parse_args(words)

    def silent(doing: str, share: float | None) -> None:
        pass

    _, preset = presets.load(str(args.runs[0] / "preset.toml"))
    data = load_dataset(preset.data, args.data_dir, silent)
    if data.stacked != 3:
        parser.error(f"{args.runs[0]} was trained on {data.name}, not on Stacked MNIST")
    judge = obtain.classifier_for(data, torch.device("cpu"), silent)
    assert judge is not None
    print(f"| G | modes of 1,000 | sure ({SURE:g}, {OFTEN} samples) | KL |\n|---|---|---|---|")
    places = torch.randperm(len(data.samples), generator=torch.Generator().manual_seed(VIEW_SEED))
    rows = {"the data": lambda i: data.samples[places[i * PART : (i + 1) * PART]]}
    for run in args.runs:
        made = generators(run, data.shape)
        rows |= {f"{run.name}, {name}": part for name, part in made.items()}
    with torch.no_grad():
        for name, part in rows.items():
            found = judged(judge, part)
            print(f"| {name} | {found.modes:,} | {found.sure:,} | {found.kl:.4f} |", flush=True)
    print(f"\n{SAMPLES:,} samples; the classifier is right on {judge.accuracy:.1%} of digits.")


if __name__ == "__main__":
    main()
