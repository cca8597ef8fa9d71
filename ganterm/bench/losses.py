"""Every loss on the full MNIST, measured: ``ganterm bench losses --data-dir FOLDER``.

The same networks, optimizer and rates for all that judge by scores, tuned for none; what a loss
cannot do without stands in ``NEEDS``. Losses whose D is an autoencoder run with their preset. Each
run is what ``ganterm --headless`` trains, one thread, an equal number of steps; what is judged is
10,000 samples of the raw generator it saved. Results are appended to a file, and what stands in it
already is not trained again, so the command can be stopped and given again. The table is Markdown.
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

from ganterm.bench.quality import VIEW_SEED, saved_generators, trained
from ganterm.bench.workers import worker_pool
from ganterm.losses import LOSSES

JUDGED = 10_000
STEPS = {"mlp": 6000, "dcgan": 1000}
SEEDS = {"mlp": 3, "dcgan": 1}
"""One seed of the DCGAN, which takes a CPU minutes."""
BASE = {"mlp": "mnist_mlp", "dcgan": "mnist_dcgan"}
OWN = {"ebgan": "ebgan_mnist", "began": "began_mnist"}
NEEDS: dict[str, tuple[str, ...]] = {
    "wgan": ("k=5", "optimizer.name=rmsprop", "lr_d=5e-4", "lr_g=5e-4"),
    "wgan_gp": ("k=5",),
    "rpgan_r1_r2": ("penalty_weight=0.5",),
}
PENALISED = frozenset({"wgan_gp", "dragan", "rpgan_r1_r2"})
"""Their penalty is of single samples, which batch norm in D would mix."""


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
        """What it starts from."""
        return OWN.get(self.loss, BASE[self.network])

    @property
    def overrides(self) -> tuple[str, ...]:
        """What differs from the preset."""
        if self.loss in OWN:
            return (f"data.name={self.data}",)
        norm = ("discriminator.norm=none",) if self.loss in PENALISED else ()
        norm = norm if self.network == "dcgan" else ()
        return (f"data.name={self.data}", f"loss={self.loss}", *NEEDS.get(self.loss, ()), *norm)


def runs(args: argparse.Namespace) -> list[Run]:
    """All that are asked for; a D that is an autoencoder is there once, beside the MLPs."""
    return [
        Run(network, loss, seed, args.steps or STEPS[network], args.data)
        for network in args.networks
        for seed in range(args.seeds or SEEDS[network])
        for loss in args.losses
        if loss not in OWN or network == "mlp"
    ]


def judged(run: Run, data_dir: Path | None) -> dict[str, Any]:
    """Train, then say what the generator's samples are worth."""
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
    judge = obtain.classifier_for(dataset, torch.device("cpu"), silent)
    assert judge is not None
    with trained(run.preset, run.seed, data_dir, run.overrides, run.steps) as done:
        generator = saved_generators(done.folder, dataset.shape)["raw"]
        minutes = done.minutes
    random = torch.Generator().manual_seed(VIEW_SEED)
    z = Latent(preset.generator.latent_dim, preset.generator.latent).draw(JUDGED, random)
    with torch.no_grad():
        fakes = torch.cat([generator(part) for part in z.split(500)])
    places = torch.randperm(len(dataset.samples), generator=random)
    reals, others = (dataset.samples[part] for part in places[: 2 * JUDGED].chunk(2))
    seen = judge.output(fakes)
    classes, sure = judge.prediction(seen.logits)
    counts = torch.bincount(classes[sure >= SURE], minlength=10)
    prior = torch.bincount(dataset.labels, minlength=10) / len(dataset.labels)
    real_features = judge.features(reals)
    return {
        **asdict(run),
        "minutes": minutes,
        "accuracy": judge.accuracy,
        "modes": int((counts / counts.sum().clamp(min=1) >= FOUND * prior).sum()),
        "class_kl": divergence(counts, prior),
        "cfid": float(frechet(seen.features, real_features)),
        "cfid_real": float(frechet(judge.features(others), real_features)),
        "diversity": float(
            pairwise_diversity(fakes[:1000], reals[:1000].float().mul(2 / 255).sub(1))
        ),
    }


def table(lines: list[dict[str, Any]]) -> str:
    """Mean over the seeds, lowest to highest in brackets where there are several."""
    out = [
        "| network, steps | loss | seeds | digits found | class KL | cFID | diversity, % | min |",
        "|---|---|---|---|---|---|---|---|",
    ]
    kinds = dict.fromkeys((x["network"], x["steps"]) for x in lines)
    for network, steps in sorted(kinds, reverse=True):
        for loss in LOSSES:
            kind = (network, steps, loss)
            ours = [x for x in lines if (x["network"], x["steps"], x["loss"]) == kind]
            if not ours:
                continue
            cells = [
                _spread([x["modes"] for x in ours], "g"),
                _spread([x["class_kl"] for x in ours], ".3f"),
                _spread([x["cfid"] for x in ours], ".0f"),
                _spread([x["diversity"] for x in ours], ".0f"),
                f"{statistics.mean(x['minutes'] for x in ours):.1f}",
            ]
            head = f"| {network}, {steps:,} | `{loss}` | {len(ours)} |"
            out.append(f"{head} {' | '.join(cells)} |")
    return "\n".join(out)


def _spread(values: list[float], form: str) -> str:
    mean = f"{statistics.mean(values):{form}}"
    low, high = f"{min(values):{form}}", f"{max(values):{form}}"
    return mean if low == high else f"{mean} ({low} to {high})"


def main(words: Sequence[str] | None = None) -> None:
    """Run the command with these words, or with those of the command line."""
    parser = argparse.ArgumentParser(prog="ganterm bench losses", description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=sorted(STEPS), default=["mlp", "dcgan"])
    parser.add_argument("--losses", nargs="+", choices=list(LOSSES), default=list(LOSSES))
    parser.add_argument("--seeds", type=int, help="default: 3 of mlp, 1 of dcgan")
    parser.add_argument("--steps", type=int, help="default: 6,000 of mlp, 1,000 of dcgan")
    parser.add_argument("--data", default="mnist", help="mnist10k needs no files")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("loss_table.jsonl"))
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time; 0: the table alone")
    args = parser.parse_args(words)
    lines = []
    if args.out.exists():
        lines = [json.loads(line) for line in args.out.read_text().splitlines()]
    known = {Run(x["network"], x["loss"], x["seed"], x["steps"], x["data"]) for x in lines}
    if args.jobs:
        with worker_pool(args.jobs) as pool, args.out.open("a") as out:
            missing = [run for run in runs(args) if run not in known]
            waiting = [pool.submit(judged, run, args.data_dir) for run in missing]
            for done in as_completed(waiting):
                try:
                    lines.append(done.result())
                except RuntimeError as error:
                    print(f"not in the table: {error}", file=sys.stderr)
                    continue
                print(json.dumps(lines[-1]), file=out, flush=True)
    print(table(lines))


if __name__ == "__main__":
    main()
