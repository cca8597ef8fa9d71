"""Measures how good the presets are: ``ganterm bench quality modes|pictures NAME...``.

Each run trains as ``ganterm --headless --preset NAME --steps N`` does, in a process of its own with
one torch thread; its saved generator is evaluated. ``modes`` counts the modes that 2,500 samples of
a 2-D preset cover, over many seeds. ``pictures`` trains image presets and keeps the last picture of
samples. The tables are Markdown.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ganterm import presets
from ganterm.bench.workers import worker_pool
from ganterm.launch import Launch

if TYPE_CHECKING:
    from ganterm.diagnosis.exams.modes import Coverage

SAMPLES = 2_500
"""Number of samples of each generator."""
VIEW_SEED = 12_345
"""Seed of the noise for the evaluated samples; the same for all runs."""


class FinishedRun(NamedTuple):
    """A finished run: its folder, and the minutes that it took."""

    folder: Path
    minutes: float


class SeedResult(NamedTuple):
    """The result of one seed of a 2-D preset; ``coverage``: of the raw and of the averaged G."""

    seed: int
    minutes: float
    coverage: dict[str, Coverage]
    modes: int


@contextmanager
def train(
    name: str,
    seed: int,
    data_dir: Path | None,
    overrides: tuple[str, ...],
    steps: int | None = None,
) -> Iterator[FinishedRun]:
    """Train a preset for ``steps``, or its expected number; the folder is deleted at the exit.

    Diagnosis is off, since it changes no weights.
    """
    from ganterm.session.local import LocalSession

    short_name, preset = presets.load(name, [*overrides, f"run.seed={seed}", "run.diagnosis=0"])
    if steps is None:
        assert preset.expected is not None, f"{name} does not say for how long to train it"
        steps = preset.expected.steps
    with tempfile.TemporaryDirectory(prefix="ganterm-quality-") as runs:
        launch = Launch(short_name, preset, "cpu", steps, data_dir, Path(runs), "run")
        session = LocalSession(launch)
        session.start()
        while not session.ended.wait(1):
            if session.snapshot.state == "paused":
                session.stop("not finite")
        last = session.snapshot
        if last.state != "finished":
            alarms = [alarm.message for alarm in last.alarms]
            raise RuntimeError(f"{name}, seed {seed}: {last.state}: {last.failure or alarms}")
        yield FinishedRun(Path(last.info.directory), last.counters.elapsed / 60)


def saved_generators(run: Path, shape: tuple[int, ...]) -> dict[str, Any]:
    """The raw and the averaged G of a run's newest checkpoint, in evaluation mode."""
    from safetensors.torch import load_file

    _, preset = presets.load(str(run / "preset.toml"))
    newest = (run / "checkpoints" / "LATEST").read_text().strip()
    tensors = load_file(run / "checkpoints" / newest / "tensors.safetensors")
    generators = {}
    for which, prefix in (("raw", "generator."), ("averaged", "average.")):
        state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        generators[which] = preset.generator.build(shape).eval()
        generators[which].load_state_dict(state)
    return generators


def evaluate(name: str, seed: int, data_dir: Path | None, overrides: tuple[str, ...]) -> SeedResult:
    """Train a 2-D preset and count the modes that its saved generators cover."""
    import torch

    from ganterm.data.load import load_dataset
    from ganterm.diagnosis.exams.modes import coverage
    from ganterm.training.batches import Latent

    _, preset = presets.load(name, overrides)
    dataset = load_dataset(preset.data, data_dir, lambda doing, share: None)
    assert dataset.modes is not None and dataset.sigma is not None
    with train(name, seed, data_dir, overrides) as run:
        generators = saved_generators(run.folder, dataset.shape)
    latent = Latent(preset.generator.latent_dim, preset.generator.latent)
    z = latent.draw(SAMPLES, torch.Generator().manual_seed(VIEW_SEED))
    coverages = {}
    for which, generator in generators.items():
        with torch.no_grad():
            coverages[which] = coverage(generator(z), dataset.modes, dataset.sigma)
    return SeedResult(seed, run.minutes, coverages, len(dataset.modes))


def modes_table(name: str, results: list[SeedResult]) -> str:
    """A row for the raw and one for the averaged G: seeds with all modes, high quality, KL."""
    rows = []
    for which in ("raw", "averaged"):
        coverages = [result.coverage[which] for result in results]
        complete = sum(modes == results[0].modes for modes, _, _ in coverages)
        high = [100 * share for _, share, _ in coverages]
        divergences = [kl for _, _, kl in coverages]
        minutes = statistics.mean(result.minutes for result in results)
        rows.append(
            f"| {name} | {which} | {complete} of {len(results)} "
            f"| {statistics.mean(high):.1f} ({min(high):.1f} to {max(high):.1f}) "
            f"| {statistics.mean(divergences):.4f} ({max(divergences):.4f}) | {minutes:.1f} |"
        )
    return "\n".join(rows)


def picture(
    out: Path, data_dir: Path | None, overrides: tuple[str, ...], name: str
) -> tuple[str, float]:
    """Train an image preset with its own seed; keep its last picture as ``out/NAME.png``."""
    _, preset = presets.load(name, overrides)
    with train(name, preset.run.seed, data_dir, overrides) as run:
        last = sorted((run.folder / "samples").glob("step_*.png"))[-1]
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(last, out / f"{name}.png")
    return name, run.minutes


def main(words: Sequence[str] | None = None) -> None:
    """Run the command with the arguments ``words``, or with those of the command line."""
    parser = argparse.ArgumentParser(prog="ganterm bench quality", description=__doc__)
    parser.add_argument("what", choices=["modes", "pictures"])
    parser.add_argument("names", nargs="+", metavar="PRESET")
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds, for modes")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("screenshots/presets"))
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    args = parser.parse_args(words)
    overrides = tuple(args.overrides)
    began = time.time()
    with worker_pool(args.jobs) as pool:
        if args.what == "pictures":
            work = partial(picture, args.out, args.data_dir, overrides)
            for name, minutes in pool.map(work, args.names):
                print(f"| {name} | {minutes:.1f} min |", flush=True)
        else:
            print("| preset | G | all modes | high quality, % (range) | reverse KL (worst) | min |")
            print("|---|---|---|---|---|---|", flush=True)
            for name in args.names:
                runs = [
                    pool.submit(evaluate, name, seed, args.data_dir, overrides)
                    for seed in range(args.first, args.first + args.seeds)
                ]
                print(modes_table(name, [run.result() for run in runs]), flush=True)
    print(f"\n{SAMPLES:,} samples each; {time.time() - began:.0f} s in all.")


if __name__ == "__main__":
    main()
