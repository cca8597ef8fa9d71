"""Setting a run up: device, data, networks, examiner, checkpoint, and last the run directory."""

from __future__ import annotations

import math
import os
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ganterm.core.errors import UserError
from ganterm.core.history import History
from ganterm.core.metrics import METRICS
from ganterm.core.snapshot import RunInfo
from ganterm.core.text import clean
from ganterm.data.load import load_dataset, split_held_out
from ganterm.data.source import Dataset, ProgressCallback, Remark
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
    check_memory,
    describe,
    free_memory,
    resolve_device,
    settle,
    why_not_accelerated,
)
from ganterm.training.examiner import Examiner
from ganterm.training.game import Game
from ganterm.training.graphs import Replayer, captured_game, rehearse
from ganterm.training.passes import Forwards
from ganterm.training.run import RunParts
from ganterm.training.sampler import Sampler
from ganterm.training.stream import batches_for
from ganterm.training.subject import features_for, subject_of, traits_of

_FAULTS = (
    RuntimeError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AssertionError,
    MemoryError,
)
"""Errors of diagnosis that leave a run without it. UserError and a stop end the start instead."""


@dataclass(frozen=True)
class Setup(RunParts):
    """A run that is ready for its first iteration, with the game that makes its iterations.

    ``replayer`` is there where the game runs from CUDA graphs. ``skipped`` names files that were
    left out and ``remarks`` say what is odd about the data. ``device_note`` says why the device is
    not the expected one, "" where it is.
    """

    preset: Preset
    game: Game
    replayer: Replayer | None
    skipped: tuple[str, ...]
    remarks: tuple[Remark, ...]
    device_note: str


def set_up(launch: Launch, tell: ProgressCallback) -> Setup:
    """Load and build everything. The run directory is made or changed last, when the rest is sound.

    UserError where the device, the data or the run directory cannot be used, where a checkpoint is
    unusable, and where the run is live. Call it in the thread that trains: the number of torch
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
    device, preset = _settle_device(launch)
    preset, whole = _load_data(launch, preset, tell)
    parts = split_held_out(whole, preset.data.held_out)
    seeds = _Seeds.of(preset.run.seed)
    game, sampler = _build_game(preset, parts[0], device, seeds, tell)
    examiner = _make_examiner(preset, game, whole, parts, seeds.exams, tell)
    traits = traits_of(game.generator, game.discriminator, parts[0], preset.discriminator.d_kind)
    beginning = _find_beginning(launch, preset, whole, game, sampler, examiner, lock, tell)
    replayer = None
    if preset.run.cuda_graphs:
        controls, deterministic = beginning.controls, preset.run.deterministic
        replayer = captured_game(game, controls, deterministic, tell)
    run_id = find.about(launch.runs_dir / launch.run_name).id if lock else str(uuid.uuid4())
    info = _run_info(launch, preset, whole, game, sampler, beginning, run_id)
    facts = {
        "format": FORMAT,
        "run": run_id,
        "threads": preset.run.threads,
        "device": str(device),
        "versions": contents.versions(device),
        "preset": contents.checksum(preset.toml()),
    }
    room = contents.size(game, sampler)
    directory = _open_directory(launch, preset, whole, device, beginning, run_id, room, lock, tell)
    return Setup(
        options=preset.run,
        device=device,
        directory=directory,
        info=info,
        beginning=beginning,
        examiner=examiner,
        traits=traits,
        sampler=sampler,
        networks=game,
        contents=contents.GameContents(game, sampler),
        checked={network: game.checked_names(network) for network in "DG"},
        broken=game.batches.broken,
        facts=facts,
        preset=preset,
        game=game,
        replayer=replayer,
        skipped=whole.skipped,
        remarks=(*whole.remarks, *_keep_manifest(directory.folder, whole)),
        device_note=why_not_accelerated(launch.device, device),
    )


class _Seeds(NamedTuple):
    """Seeds of independent random streams, so that watching a run draws nothing from training."""

    init: int
    batches: int
    noise: int
    views: int
    exams: int

    @classmethod
    def of(cls, seed: int) -> _Seeds:
        """The seeds that follow from a preset's seed."""
        states = np.random.SeedSequence(seed).generate_state(5, np.uint64) >> 1
        return cls(*(int(state) for state in states))


def _settle_device(launch: Launch) -> tuple[torch.device, Preset]:
    """Choose the device and set torch up; returns it and the preset with its thread count."""
    device = resolve_device(launch.device)
    threads = launch.preset.run.threads or DEFAULT_THREADS
    run = launch.preset.run.model_copy(update={"threads": threads})
    settle(device, threads, run.deterministic)
    return device, launch.preset.model_copy(update={"run": run})


def _build_game(
    preset: Preset, dataset: Dataset, device: torch.device, seeds: _Seeds, tell: ProgressCallback
) -> tuple[Game, Sampler]:
    """Build the networks, after checking that they fit into memory, and what trains them."""
    tell("building the networks", None)
    run, pack, batch_size = preset.run, preset.discriminator.pack, preset.data.batch_size
    latent = _latent(preset, dataset)
    with torch.device("meta"):
        planned = build(preset, dataset.shape, latent.labels)
    check_memory(planned, latent, batch_size, pack, math.prod(dataset.shape[1:]), device)
    torch.manual_seed(seeds.init)
    generator, discriminator = build(preset, dataset.shape, latent.labels)
    labelled = bool(latent.labels) and not latent.codes
    game = Game(
        generator.to(device),
        discriminator.to(device),
        preset.optimizer,
        batches_for(dataset, labelled, batch_size, device, seeds.batches),
        latent,
        torch.Generator(device).manual_seed(seeds.noise),
        pack,
        Forwards(run.precision, run.compile),
    )
    rehearse(game, run, preset.controls, tell)
    total = None if dataset.stream is None else len(dataset.stream)
    return game, Sampler(dataset, latent, device, seeds.views, total)


def _find_beginning(
    launch: Launch,
    preset: Preset,
    whole: Dataset,
    game: Game,
    sampler: Sampler,
    examiner: Examiner,
    lock: RunLock | None,
    tell: ProgressCallback,
) -> Beginning:
    """Where the sitting begins; a run that is resumed is brought to its checkpoint."""
    run = preset.run
    if lock is None:
        history = History(tuple(METRICS), run.record_every, run.record_every)
        return Beginning(preset.controls, history)
    tell("reading the checkpoint", None)
    path, name = launch.runs_dir / launch.run_name, _parsed(launch.checkpoint)
    differs = manifest.differences(path, find.about(path).data, whole)
    beginning = from_checkpoint(path, name, preset, game.device, game, sampler, differs)
    examiner.recall(reader.read_diagnosis(path, beginning.step))
    return beginning


def _run_info(
    launch: Launch,
    preset: Preset,
    whole: Dataset,
    game: Game,
    sampler: Sampler,
    beginning: Beginning,
    run_id: str,
) -> RunInfo:
    run = preset.run
    return RunInfo(
        name=launch.run_name,
        preset=launch.preset_name,
        title=preset.title,
        data=preset.data.name,
        samples=whole.count,
        shape=whole.shape,
        device=describe(game.device, run.threads),
        threads=run.threads,
        seed=run.seed,
        batch_size=preset.data.batch_size,
        steps=launch.steps,
        directory=str(launch.runs_dir / launch.run_name),
        parameters_g=game.weights_g.flat.numel(),
        parameters_d=game.weights_d.flat.numel(),
        views=sampler.views,
        diagnose_every=run.diagnose_every if run.diagnosis else 0,
        events_before=len(beginning.events),
        id=run_id,
    )


def _open_directory(
    launch: Launch,
    preset: Preset,
    whole: Dataset,
    device: torch.device,
    beginning: Beginning,
    run_id: str,
    room: int,
    lock: RunLock | None,
    tell: ProgressCallback,
) -> RunDirectory:
    """Make the run directory, or open that of a resumed run; ``room`` is a checkpoint's size."""
    about = _about(launch, preset, whole, device)
    if lock is None:
        tell("making the run directory", None)
        about |= {"id": run_id, "created": now(), "parent": None}
        return RunDirectory.create(launch.runs_dir, launch.run_name, preset.toml(), about, room)
    path = launch.runs_dir / launch.run_name
    if beginning.discards:
        _point_latest(path, launch.checkpoint)
    directory = RunDirectory.reopen(path, lock)
    directory.update(**about, branch=beginning.branch, step=None, ended=None)
    return directory


def _load_data(launch: Launch, preset: Preset, tell: ProgressCallback) -> tuple[Preset, Dataset]:
    """Load the data set; returns the preset with every option of the loading settled.

    A resumed run gets a remark where its pictures have moved.
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


def _keep_manifest(run: Folder, whole: Dataset) -> tuple[Remark, ...]:
    """Write the list of the data's files into the run directory; a remark where that fails."""
    if whole.files is None:
        return ()
    try:
        if run.has(manifest.NAME):
            return ()
        manifest.write(run, whole.files)
    except OSError as error:
        text = f"which files it is trained on could not be kept: {clean(in_words(error))}"
        return (Remark("kept", text),)
    return ()


def build(
    preset: Preset, shape: tuple[int, ...], labels: int
) -> tuple[torch.nn.Module, torch.nn.Module]:
    """G and D for samples of ``shape`` (channels, ...); UserError where they do not fit it.

    They are built on the CPU, so that a seed gives the same first weights on every device.
    """
    packed = (preset.discriminator.pack * shape[0], *shape[1:])
    try:
        generator = preset.generator.build(shape, labels)
        discriminator = preset.discriminator.build(packed, labels)
    except ValueError as error:
        raise UserError(f"{preset.data.name} does not fit the networks: {error}") from None
    return generator, discriminator


def _latent(preset: Preset, dataset: Dataset) -> Latent:
    """What G starts from; UserError where it needs labels that the data do not have."""
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


def _make_examiner(
    preset: Preset,
    game: Game,
    whole: Dataset,
    parts: tuple[Dataset, Dataset | None],
    seed: int,
    tell: ProgressCallback,
) -> Examiner:
    """The examiner of this run; one without exams where diagnosis is off or fails."""
    run = preset.run
    if not run.diagnosis:
        return Examiner(game, None, 0, run.diagnose_every, seed, "diagnosis is off")
    try:
        # Trained on the whole set, because the cached classifier is named after the whole set.
        features, judge, note = features_for(whole, run.classifier, game.device, tell)
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


def _point_latest(path: Path, checkpoint_name: str) -> None:
    """Have LATEST name the checkpoint that the newest branch begins at."""
    try:
        with Folder.at(path) as directory, directory.folder("checkpoints") as folder:
            point(folder, _parsed(checkpoint_name))
    except OSError as error:
        raise UserError(clean(in_words(error), 400)) from None


def _parsed(checkpoint_name: str) -> CheckpointName:
    name = CheckpointName.parse(checkpoint_name)
    assert name is not None
    return name


def _about(
    launch: Launch, preset: Preset, dataset: Dataset, device: torch.device
) -> dict[str, Any]:
    """The entries of run.json about a run and its newest sitting."""
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
    """The folder of the data: absolute, and relative to the run, which may move with it."""
    named = preset.data.folder if preset.data.name == "folder" else ""
    folder = launch.data_dir or (Path(named) if named else None)
    if folder is None:
        return {"folder": None}
    path = expanded(folder).absolute()
    try:
        str(path).encode()
    except UnicodeEncodeError:
        # JSON cannot hold a name that is not valid Unicode.
        return {"folder": None}
    run = (launch.runs_dir / launch.run_name).absolute()
    return {"folder": str(path), "from_run": os.path.relpath(path, run)}
