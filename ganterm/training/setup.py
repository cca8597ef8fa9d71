"""From a launch to all that a trainer needs: device, data, networks, and last the run directory."""

from __future__ import annotations

import platform
import uuid
from dataclasses import dataclass

import numpy as np
import torch

from ganterm import __version__
from ganterm.data.load import loaded, parted
from ganterm.data.source import Dataset, Progress
from ganterm.diagnosis.rule import Traits
from ganterm.errors import UserError
from ganterm.presets import Preset
from ganterm.session.board import now
from ganterm.session.launch import Launch
from ganterm.session.protocol import RunInfo
from ganterm.training.device import DEFAULT_THREADS, describe, resolve_device, settle
from ganterm.training.examiner import Examiner
from ganterm.training.iteration import Game
from ganterm.training.latent import Latent
from ganterm.training.rundir import RunDirectory, check_can_create
from ganterm.training.sampler import Sampler
from ganterm.training.stream import batches_for
from ganterm.training.subject import seen_by, subject_of, traits_of


@dataclass(frozen=True)
class Setup:
    """A run that is ready for its first iteration."""

    preset: Preset
    device: torch.device
    game: Game
    sampler: Sampler
    directory: RunDirectory
    info: RunInfo
    skipped: tuple[str, ...]
    examiner: Examiner
    traits: Traits


def set_up(launch: Launch, tell: Progress) -> Setup:
    """Load and build everything; the run directory is made once nothing else can go wrong.

    UserError where the device, the data or the run directory cannot be had. Call it in the thread
    that trains: the number of torch threads belongs to the calling thread.
    """
    check_can_create(launch.runs_dir, launch.run_name)
    device = resolve_device(launch.device)
    threads = launch.preset.run.threads or DEFAULT_THREADS
    run = launch.preset.run.model_copy(update={"threads": threads})
    preset = launch.preset.model_copy(update={"run": run})
    settle(device, threads, run.deterministic)
    whole = loaded(preset.data, launch.data_dir, tell)
    dataset, held_out = parted(whole, preset.data.held_out)
    tell("building the networks", None)
    # Streams of their own, so that looking at samples draws nothing from the training.
    seeds = np.random.SeedSequence(run.seed).generate_state(5, np.uint64) >> 1
    init_seed, batch_seed, noise_seed, view_seed, exam_seed = (int(seed) for seed in seeds)
    latent = _latent(preset, dataset)
    torch.manual_seed(init_seed)
    generator, discriminator = build(preset, dataset.shape, latent.labels)
    labelled = bool(latent.labels) and not latent.codes
    game = Game(
        generator.to(device),
        discriminator.to(device),
        preset.optimizer,
        batches_for(dataset, labelled, preset.data.batch_size, device, batch_seed),
        latent,
        torch.Generator(device).manual_seed(noise_seed),
        preset.discriminator.pack,
    )
    total = None if dataset.stream is None else len(dataset.stream)
    sampler = Sampler(dataset, latent, device, view_seed, total)
    examiner = _examiner(preset, game, whole, (dataset, held_out), exam_seed, tell)
    traits = traits_of(generator, discriminator, dataset, preset.discriminator.d_kind)
    tell("making the run directory", None)
    about = _about(launch, preset, whole, device)
    directory = RunDirectory(launch.runs_dir, launch.run_name, preset.toml(), about)
    info = RunInfo(
        name=launch.run_name,
        preset=launch.preset_name,
        title=preset.title,
        data=preset.data.name,
        device=describe(device, threads),
        threads=threads,
        seed=run.seed,
        batch_size=preset.data.batch_size,
        steps=launch.steps,
        directory=str(directory.path),
        parameters_g=game.weights_g.flat.numel(),
        parameters_d=game.weights_d.flat.numel(),
        views=sampler.views,
        diagnose_every=run.diagnose_every if run.diagnosis else 0,
    )
    return Setup(preset, device, game, sampler, directory, info, dataset.skipped, examiner, traits)


def build(
    preset: Preset, shape: tuple[int, ...], labels: int
) -> tuple[torch.nn.Module, torch.nn.Module]:
    """G and D for samples of ``shape``; UserError where they cannot make or judge such samples.

    Built on the CPU, so that a seed means the same first weights on every device.
    """
    packed = (preset.discriminator.pack * shape[0], *shape[1:])
    try:
        generator = preset.generator.build(shape, labels)
        discriminator = preset.discriminator.build(packed, labels)
    except ValueError as error:
        raise UserError(f"{preset.data.name} does not fit the networks: {error}") from None
    return generator, discriminator


def _latent(preset: Preset, dataset: Dataset) -> Latent:
    """What G starts from; UserError where the data have no labels that it should be told."""
    g = preset.generator
    codes = g.codes if g.conditional != "none" else 0
    labels = codes
    if g.conditional != "none" and not codes:
        if dataset.labels is None:
            raise UserError(
                f"{preset.data.name} has no labels: generator.conditional must be none, "
                "or generator.codes the number of codes of G's own"
            )
        labels = len(dataset.classes)
    return Latent(g.latent_dim, g.latent, labels, bool(codes))


def _examiner(
    preset: Preset,
    game: Game,
    whole: Dataset,
    parts: tuple[Dataset, Dataset | None],
    seed: int,
    tell: Progress,
) -> Examiner:
    """Who examines this run, on the training part; where diagnosis is off, with nothing to do."""
    run = preset.run
    if not run.diagnosis:
        return Examiner(game, None, 0, run.diagnose_every, seed, "diagnosis is off")
    # Of the whole set, so that what is kept of it for the next run has the whole set's name.
    features, judge, note = seen_by(whole, run.classifier, game.device, tell)
    subject = subject_of(
        *parts,
        game.device,
        seed,
        features,
        judge,
        labelled=bool(game.latent.labels) and not game.latent.codes,
        pack=preset.discriminator.pack,
    )
    return Examiner(game, subject, run.diagnosis, run.diagnose_every, seed, note)


def _about(
    launch: Launch, preset: Preset, dataset: Dataset, device: torch.device
) -> dict[str, object]:
    """What run.json says of a run that begins."""
    return {
        "id": str(uuid.uuid4()),
        "name": launch.run_name,
        "preset": launch.preset_name,
        "created": now(),
        "state": "running",
        "device": str(device),
        "device_name": describe(device, preset.run.threads),
        "world_size": 1,
        "seed": preset.run.seed,
        "steps": launch.steps,
        "data": {"name": dataset.name, "sha256": dataset.sha256},
        "versions": {
            "ganterm": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "parent": None,
    }
