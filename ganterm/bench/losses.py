"""Measures every loss on the full MNIST: ``ganterm bench losses --data-dir FOLDER``.

All losses that need scores have the same networks, optimizer and rates, tuned for none of them,
except for what ``NEEDS`` lists. Losses whose D is an autoencoder run with their own presets. Each
run trains as ``ganterm --headless`` does, on one thread, for the same number of steps; 10,000
samples of the raw generator that it saves are evaluated. Results are appended to a file. Runs that
are in it already are not trained again, so the command can be stopped and repeated. The table is
Markdown.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ganterm.bench.quality import VIEW_SEED, saved_generators, train
from ganterm.bench.workers import worker_pool
from ganterm.losses import LOSSES

SAMPLES = 10_000
"""Number of samples of each generator."""
STEPS = {"mlp": 6000, "dcgan": 1000}
SEEDS = {"mlp": 3, "dcgan": 1}
"""Numbers of seeds; one for the DCGAN, which takes minutes on a CPU."""
BASE = {"mlp": "mnist_mlp", "dcgan": "mnist_dcgan"}
"""The presets of the networks."""
OWN = {"ebgan": "ebgan_mnist", "began": "began_mnist"}
"""The presets of losses whose D is an autoencoder."""
NEEDS: dict[str, tuple[str, ...]] = {
    "wgan": ("k=5", "optimizer.name=rmsprop", "lr_d=5e-4", "lr_g=5e-4"),
    "wgan_gp": ("k=5",),
    "rpgan_r1_r2": ("penalty_weight=0.5",),
}
PENALISED = frozenset({"wgan_gp", "dragan", "rpgan_r1_r2"})
"""Losses with a penalty on the gradient of single samples, which batch norm in D would mix."""


@dataclass(frozen=True)
class Run:
    """One training run of the table."""

    network: str
    loss: str
    seed: int
    steps: int
    data: str = "mnist"

    @property
    def preset(self) -> str:
        """The preset that the run starts from."""
        return OWN.get(self.loss, BASE[self.network])

    @property
    def overrides(self) -> tuple[str, ...]:
        """What is different from the preset, as ``--set`` takes it."""
        if self.loss in OWN:
            return (f"data.name={self.data}",)
        norm = ("discriminator.norm=none",) if self.loss in PENALISED else ()
        norm = norm if self.network == "dcgan" else ()
        return (f"data.name={self.data}", f"loss={self.loss}", *NEEDS.get(self.loss, ()), *norm)


def runs(args: argparse.Namespace) -> list[Run]:
    """The runs that the options select; those with an autoencoder count as of ``mlp``."""
    return [
        Run(network, loss, seed, args.steps or STEPS[network], args.data)
        for network in args.networks
        for seed in range(args.seeds or SEEDS[network])
        for loss in args.losses
        if loss not in OWN or network == "mlp"
    ]


def evaluate(run: Run, data_dir: Path | None) -> dict[str, Any]:
    """Train, and measure the samples of the saved generator; returns a line of the file."""
    import torch

    from ganterm import presets
    from ganterm.data.load import load_dataset
    from ganterm.diagnosis.classifier import obtain
    from ganterm.diagnosis.exams.diversity import pairwise_diversity
    from ganterm.diagnosis.exams.frechet import frechet
    from ganterm.diagnosis.exams.modes import FOUND, SURE, divergence
    from ganterm.training.batches import Latent

    def silent(doing: str, share: float | None) -> None:
        pass

    torch.set_num_threads(1)
    _, preset = presets.load(run.preset, run.overrides)
    dataset = load_dataset(preset.data, data_dir, silent)
    assert dataset.labels is not None
    classifier = obtain.classifier_for(dataset, torch.device("cpu"), silent)
    assert classifier is not None
    with train(run.preset, run.seed, data_dir, run.overrides, run.steps) as finished:
        generator = saved_generators(finished.folder, dataset.shape)["raw"]
    random = torch.Generator().manual_seed(VIEW_SEED)
    z = Latent(preset.generator.latent_dim, preset.generator.latent).draw(SAMPLES, random)
    with torch.no_grad():
        fakes = torch.cat([generator(part) for part in z.split(500)])
    places = torch.randperm(len(dataset.samples), generator=random)
    reals, others = (dataset.samples[part] for part in places[: 2 * SAMPLES].chunk(2))
    output = classifier.output(fakes)
    classes, confidence = classifier.prediction(output.logits)
    counts = torch.bincount(classes[confidence >= SURE], minlength=10)
    prior = torch.bincount(dataset.labels, minlength=10) / len(dataset.labels)
    real_features = classifier.features(reals)
    return {
        **asdict(run),
        "minutes": finished.minutes,
        "accuracy": classifier.accuracy,
        "modes": int((counts / counts.sum().clamp(min=1) >= FOUND * prior).sum()),
        "class_kl": divergence(counts, prior),
        "cfid": float(frechet(output.features, real_features)),
        "cfid_real": float(frechet(classifier.features(others), real_features)),
        "diversity": float(
            pairwise_diversity(fakes[:1000], reals[:1000].float().mul(2 / 255).sub(1))
        ),
    }


def table(lines: list[dict[str, Any]]) -> str:
    """The mean over the seeds, with lowest and highest in brackets if they differ."""
    rows = [
        "| network, steps | loss | seeds | digits found | class KL | cFID | diversity, % | min |",
        "|---|---|---|---|---|---|---|---|",
    ]
    kinds = dict.fromkeys((x["network"], x["steps"]) for x in lines)
    for network, steps in sorted(kinds, reverse=True):
        for loss in LOSSES:
            kind = (network, steps, loss)
            results = [x for x in lines if (x["network"], x["steps"], x["loss"]) == kind]
            if not results:
                continue
            cells = [
                _spread([x["modes"] for x in results], "g"),
                _spread([x["class_kl"] for x in results], ".3f"),
                _spread([x["cfid"] for x in results], ".0f"),
                _spread([x["diversity"] for x in results], ".0f"),
                f"{statistics.mean(x['minutes'] for x in results):.1f}",
            ]
            head = f"| {network}, {steps:,} | `{loss}` | {len(results)} |"
            rows.append(f"{head} {' | '.join(cells)} |")
    return "\n".join(rows)


def _spread(values: list[float], form: str) -> str:
    mean = f"{statistics.mean(values):{form}}"
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return mean if low == high else f"{mean} ({low} to {high})"


def main(words: Sequence[str] | None = None) -> None:
    """Run the command with the arguments ``words``, or with those of the command line."""
    parser = argparse.ArgumentParser(prog="ganterm bench losses", description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=sorted(STEPS), default=["mlp", "dcgan"])
    parser.add_argument("--losses", nargs="+", choices=list(LOSSES), default=list(LOSSES))
    parser.add_argument(
        "--seeds", type=int, help="number of seeds; default: 3 for mlp, 1 for dcgan"
    )
    parser.add_argument("--steps", type=int, help="default: 6,000 for mlp, 1,000 for dcgan")
    parser.add_argument("--data", default="mnist", help="mnist10k needs no files")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("loss_table.jsonl"))
    parser.add_argument(
        "--jobs", type=int, default=2, help="runs at a time; 0: only print the table"
    )
    args = parser.parse_args(words)
    lines = []
    if args.out.exists():
        lines = [json.loads(line) for line in args.out.read_text().splitlines()]
    in_file = {Run(x["network"], x["loss"], x["seed"], x["steps"], x["data"]) for x in lines}
    if args.jobs:
        with worker_pool(args.jobs) as pool, args.out.open("a") as out:
            missing = [run for run in runs(args) if run not in in_file]
            futures = [pool.submit(evaluate, run, args.data_dir) for run in missing]
            for future in as_completed(futures):
                try:
                    lines.append(future.result())
                except RuntimeError as error:
                    print(f"not in the table: {error}", file=sys.stderr)
                    continue
                print(json.dumps(lines[-1]), file=out, flush=True)
    print(table(lines))


if __name__ == "__main__":
    main()
