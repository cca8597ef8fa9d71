"""The protocol of Stacked MNIST on finished runs: ``ganterm bench stacked RUN_FOLDER...``.

The classifier of ganterm reads the three digits of each of 26,000 samples of a saved generator
(Srivastava et al. 2017, Lin et al. 2018). The table, in Markdown, has the number of modes, of
1,000, among these samples, and the KL from their histogram to a uniform one. The first row has the
same for as many samples of the data: no generator can be expected to do better.
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
"""Number of samples of each generator."""
MODES = 1_000
PART = 1_000
"""Number of samples that are drawn and classified together."""
SURE, OFTEN = 0.9, 3
"""The strictest gate in use: a mode passes with OFTEN samples whose confidence is at least SURE."""


class Stacks(NamedTuple):
    """Modes with a sample; modes that pass the gate; KL in nats to a uniform histogram."""

    modes: int
    sure: int
    kl: float


def count(prediction: Prediction) -> Stacks:
    """Count the modes among the predicted classes of samples."""
    counts = torch.bincount(prediction.labels, minlength=MODES)
    sure = torch.bincount(prediction.labels[prediction.confidence >= SURE], minlength=MODES)
    uniform = torch.full((MODES,), 1 / MODES)
    return Stacks(int((counts > 0).sum()), int((sure >= OFTEN).sum()), divergence(counts, uniform))


def stacks_of(classifier: Classifier, part: Callable[[int], Tensor]) -> Stacks:
    """Count the modes of SAMPLES samples; ``part(i)`` returns the i-th PART of them."""
    predictions = [classifier.predict(part(i)) for i in range(SAMPLES // PART)]
    labels, confidence = zip(*predictions, strict=True)
    return count(Prediction(torch.cat(labels), torch.cat(confidence)))


def generators(run: Path, shape: tuple[int, ...]) -> dict[str, Callable[[int], Tensor]]:
    """For the raw and the averaged G of a run's newest checkpoint, what returns the i-th part."""
    _, preset = presets.load(str(run / "preset.toml"))
    random = torch.Generator().manual_seed(VIEW_SEED)
    latent = Latent(preset.generator.latent_dim, preset.generator.latent)
    z = latent.draw(SAMPLES, random).split(PART)
    networks = saved_generators(run, shape)
    return {name: partial(_samples, network, z) for name, network in networks.items()}


def _samples(network: nn.Module, z: tuple[Tensor, ...], part: int) -> Tensor:
    samples: Tensor = network(z[part])
    return samples


def main(words: Sequence[str] | None = None) -> None:
    """Run the command with the arguments ``words``, or with those of the command line."""
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
    classifier = obtain.classifier_for(data, torch.device("cpu"), silent)
    assert classifier is not None
    print(f"| G | modes of 1,000 | sure ({SURE:g}, {OFTEN} samples) | KL |\n|---|---|---|---|")
    places = torch.randperm(len(data.samples), generator=torch.Generator().manual_seed(VIEW_SEED))
    rows = {"the data": lambda i: data.samples[places[i * PART : (i + 1) * PART]]}
    for run in args.runs:
        parts = generators(run, data.shape)
        rows |= {f"{run.name}, {name}": part for name, part in parts.items()}
    with torch.no_grad():
        for name, part in rows.items():
            stacks = stacks_of(classifier, part)
            print(f"| {name} | {stacks.modes:,} | {stacks.sure:,} | {stacks.kl:.4f} |", flush=True)
    print(f"\n{SAMPLES:,} samples; the classifier is right on {classifier.accuracy:.1%} of digits.")


if __name__ == "__main__":
    main()
