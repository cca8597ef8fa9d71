"""From a launch to all that a trainer needs: device, data, networks, and last the run directory."""

from __future__ import annotations

import math
import os
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganterm.core.errors import UserError
from ganterm.core.history import History
from ganterm.core.metrics import METRICS
from ganterm.core.snapshot import RunInfo
from ganterm.core.text import clean
from ganterm.data.load import load_dataset, split_held_out
from ganterm.data.source import Dataset, ProgressCallback, Remark
from ganterm.diagnosis.rule import Traits
from ganterm.launch import Launch
from ganterm.presets import Preset
from ganterm.rundir import find, reader
from ganterm.rundir.directory import RunDirectory, check_can_create
from ganterm.rundir.find import CheckpointName, point
from ganterm.rundir.jsonfile import FORMAT
from ganterm.rundir.lock import RunLock
from ganterm.session.board import now
from ganterm.system.files import Folder, in_words
from ganterm.system.folders import expanded
from ganterm.training.batches import Latent
from ganterm.training.checkpoints import contents, manifest
from ganterm.training.checkpoints.resume import Beginning, from_checkpoint
from ganterm.training.device import (
    DEFAULT_THREADS,
    check_room,
    describe,
    free_memory,
    resolve_device,
    settle,
    why_not_accelerated,
)
from ganterm.training.examiner import Examiner
from ganterm.training.game import Game
from ganterm.training.graphs import Replayer, rehearse, replaying
from ganterm.training.passes import Forwards
from ganterm.training.sampler import Sampler
from ganterm.training.stream import batches_for
from ganterm.training.subject import seen_by, subject_of, traits_of

_FAULTS = (
    RuntimeError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AssertionError,
    MemoryError,
)
"""What diagnosis may fail by; not what ends a start on purpose."""


@dataclass(frozen=True)
class Setup:
    """A run that is ready for the first iteration of this sitting.

    ``replayer`` plays the game where it is to be played from graphs. ``skipped`` and ``remarks``:
    what is to be said of the data. ``facts``: what every checkpoint of it says, as fields of
    ``RunState``. ``device_note``: why the device is not the one to be expected, "" where it is.
    """

    preset: Preset
    device: torch.device
    game: Game
    replayer: Replayer | None
    sampler: Sampler
    directory: RunDirectory
    info: RunInfo
    skipped: tuple[str, ...]
    remarks: tuple[Remark, ...]
    examiner: Examiner
    traits: Traits
    beginning: Beginning
    facts: dict[str, Any]
    device_note: str


def set_up(launch: Launch, tell: ProgressCallback) -> Setup:
    """Load and build everything; the run directory is made, or written into where there is one,
    once nothing else can go wrong.

    UserError where the device, the data or the run directory cannot be had, and where a checkpoint
    cannot be used or the run is live. Call it in the thread that trains: the number of torch
    threads belongs to the calling thread.
    """
    if not launch.checkpoint:
        check_can_create(launch.runs_dir, launch.run_name)
        return _set_up(launch, tell, None)
    path = launch.runs_dir / launch.run_name
    try:
        lock = RunLock(path)
    except OSError as error:
        raise UserError(f"{clean(in_words(error), 400)}; it cannot be written to") from None
    try:
        return _set_up(launch, tell, lock)
    except BaseException:
        lock.release()
        raise


def _set_up(launch: Launch, tell: ProgressCallback, lock: RunLock | None) -> Setup:
    device = resolve_device(launch.device)
    threads = launch.preset.run.threads or DEFAULT_THREADS
    run = launch.preset.run.model_copy(update={"threads": threads})
    preset = launch.preset.model_copy(update={"run": run})
    settle(device, threads, run.deterministic)
    preset, whole = _data(launch, preset, tell)
    dataset, held_out = split_held_out(whole, preset.data.held_out)
    tell("building the networks", None)
    # Streams of their own, so that looking at samples draws nothing from the training.
    seeds = np.random.SeedSequence(run.seed).generate_state(5, np.uint64) >> 1
    init_seed, batch_seed, noise_seed, view_seed, exam_seed = (int(seed) for seed in seeds)
    latent = _latent(preset, dataset)
    with torch.device("meta"):
        planned = build(preset, dataset.shape, latent.labels)
    pixels = math.prod(dataset.shape[1:])
    check_room(planned, latent, preset.data.batch_size, preset.discriminator.pack, pixels, device)
    torch.manual_seed(init_seed)
    generator, discriminator = build(preset, dataset.shape, latent.labels)
    labelled = bool(latent.labels) and not latent.codes
    forwards = Forwards(run.precision, run.compile)
    game = Game(
        generator.to(device),
        discriminator.to(device),
        preset.optimizer,
        batches_for(dataset, labelled, preset.data.batch_size, device, batch_seed),
        latent,
        torch.Generator(device).manual_seed(noise_seed),
        preset.discriminator.pack,
        forwards,
    )
    rehearse(game, run, preset.controls, tell)
    total = None if dataset.stream is None else len(dataset.stream)
    sampler = Sampler(dataset, latent, device, view_seed, total)
    examiner = _examiner(preset, game, whole, (dataset, held_out), exam_seed, tell)
    traits = traits_of(generator, discriminator, dataset, preset.discriminator.d_kind)
    about = _about(launch, preset, whole, device)
    path = launch.runs_dir / launch.run_name
    if lock is None:
        history = History(tuple(METRICS), run.record_every, run.record_every)
        beginning = Beginning(preset.controls, history)
    else:
        tell("reading the checkpoint", None)
        beginning = _go_on(path, launch, preset, whole, device, game, sampler)
        examiner.recall(reader.read_diagnosis(path, beginning.step))
    replayer = None
    if run.cuda_graphs:
        replayer = replaying(game, beginning.controls, run.deterministic, tell)
    id_ = find.about(path).id if lock else str(uuid.uuid4())
    info = RunInfo(
        name=launch.run_name,
        preset=launch.preset_name,
        title=preset.title,
        data=preset.data.name,
        samples=whole.count,
        shape=whole.shape,
        device=describe(device, threads),
        threads=threads,
        seed=run.seed,
        batch_size=preset.data.batch_size,
        steps=launch.steps,
        directory=str(path),
        parameters_g=game.weights_g.flat.numel(),
        parameters_d=game.weights_d.flat.numel(),
        views=sampler.views,
        diagnose_every=run.diagnose_every if run.diagnosis else 0,
        events_before=len(beginning.events),
        id=id_,
    )
    facts = {
        "format": FORMAT,
        "run": id_,
        "threads": threads,
        "device": str(device),
        "versions": contents.versions(device),
        "preset": contents.checksum(preset.toml()),
    }
    if lock is None:
        tell("making the run directory", None)
        about |= {"id": id_, "created": now(), "parent": None}
        room = contents.size(game, sampler)
        directory = RunDirectory.create(
            launch.runs_dir, launch.run_name, preset.toml(), about, room
        )
    else:
        if beginning.discards:
            _point(path, launch.checkpoint)
        directory = RunDirectory.reopen(path, lock)
        directory.update(**about, branch=beginning.branch, step=None, ended=None)
    return Setup(
        preset,
        device,
        game,
        replayer,
        sampler,
        directory,
        info,
        whole.skipped,
        (*whole.remarks, *_keep_files(directory.folder, whole)),
        examiner,
        traits,
        beginning,
        facts,
        why_not_accelerated(launch.device, device),
    )


def _data(launch: Launch, preset: Preset, tell: ProgressCallback) -> tuple[Preset, Dataset]:
    """The data set, and the preset with nothing left open of how it was loaded.

    A run that goes on says where its pictures are, where that is another place than before.
    """
    whole = load_dataset(preset.data, launch.data_dir, tell)
    if not launch.checkpoint:
        settled = whole.options or preset.data
        return preset.model_copy(update={"data": settled}), whole
    known = find.about(launch.runs_dir / launch.run_name).data
    if whole.files is not None and str(launch.data_dir) != known.folder:
        moved = Remark("place", f"the pictures are read from {clean(whole.files.root)}")
        whole = replace(whole, remarks=(moved, *whole.remarks))
    return preset, whole


def _keep_files(run: Folder, whole: Dataset) -> tuple[Remark, ...]:
    """Keep in the run directory which files there are; what is to be said of that."""
    if whole.files is None:
        return ()
    try:
        if run.has(manifest.NAME):
            return ()
        manifest.write(run, whole.files)
    except OSError as error:
        told = f"which files it is trained on could not be kept: {clean(in_words(error))}"
        return (Remark("kept", told),)
    return ()


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
    tell: ProgressCallback,
) -> Examiner:
    """Who examines this run, on the training part; where diagnosis is off, with nothing to do."""
    run = preset.run
    if not run.diagnosis:
        return Examiner(game, None, 0, run.diagnose_every, seed, "diagnosis is off")
    try:
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
    except _FAULTS as error:
        free_memory(game.device)
        why = clean(f"{type(error).__name__}: {error}", 200)
        examiner = Examiner(
            game, None, 0, run.diagnose_every, seed, "diagnosis failed at the start"
        )
        examiner.broken["diagnosis"] = f"diagnosis failed at the start, the run has none: {why}"
        return examiner
    return Examiner(game, subject, run.diagnosis, run.diagnose_every, seed, note)


def _go_on(
    path: Path,
    launch: Launch,
    preset: Preset,
    dataset: Dataset,
    device: torch.device,
    game: Game,
    sampler: Sampler,
) -> Beginning:
    """The networks and all else brought to where the checkpoint of ``launch`` was taken."""
    differs = manifest.differences(path, find.about(path).data, dataset)
    name = _named(launch.checkpoint)
    return from_checkpoint(path, name, preset, device, game, sampler, differs)


def _point(path: Path, checkpoint_name: str) -> None:
    """From now on the newest branch goes on from that checkpoint."""
    try:
        with Folder.at(path) as directory, directory.folder("checkpoints") as folder:
            point(folder, _named(checkpoint_name))
    except OSError as error:
        raise UserError(clean(in_words(error), 400)) from None


def _named(checkpoint_name: str) -> CheckpointName:
    name = CheckpointName.parse(checkpoint_name)
    assert name is not None
    return name


def _about(
    launch: Launch, preset: Preset, dataset: Dataset, device: torch.device
) -> dict[str, Any]:
    """What run.json says of a run and of its newest sitting."""
    return {
        "name": launch.run_name,
        "preset": launch.preset_name,
        "state": "running",
        "device": str(device),
        "device_name": describe(device, preset.run.threads),
        "world_size": 1,
        "seed": preset.run.seed,
        "steps": launch.steps,
        "stop_on": list(launch.stop_on),
        "data": {
            "name": dataset.name,
            "sha256": dataset.sha256,
            "samples": dataset.count,
            **_places(launch, preset),
        },
        "versions": contents.versions(device),
    }


def _places(launch: Launch, preset: Preset) -> dict[str, str | None]:
    """Where the data lie: absolute, and seen from the run directory, which may move with them."""
    named = preset.data.folder if preset.data.name == "folder" else ""
    folder = launch.data_dir or (Path(named) if named else None)
    if folder is None:
        return {"folder": None}
    path = expanded(folder).absolute()
    try:
        str(path).encode()
    except UnicodeEncodeError:
        # JSON has no way to write such a name.
        return {"folder": None}
    run = (launch.runs_dir / launch.run_name).absolute()
    return {"folder": str(path), "from_run": os.path.relpath(path, run)}
