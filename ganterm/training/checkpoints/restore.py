"""Reading a checkpoint: all of it is verified before any is used, and nothing is unpickled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil
import torch
from msgspec import Struct, structs
from safetensors import SafetensorError
from safetensors.torch import load as unpack_tensors
from torch import Tensor

from ganterm.core.controls import ControlError, Controls
from ganterm.core.text import clean
from ganterm.losses import LOSSES
from ganterm.rundir.find import CheckpointName
from ganterm.rundir.jsonfile import MAX_BYTES, validated
from ganterm.system.files import Folder
from ganterm.training.checkpoints.contents import (
    RunState,
    architecture,
    copies,
    fits,
    generators,
    live,
)
from ganterm.training.checkpoints.storage import MANIFEST, STATE, TENSORS, FileEntry, Manifest
from ganterm.training.game import Game
from ganterm.training.sampler import Sampler

MOST_TENSORS = 1 << 36
"""Most bytes of a checkpoint's tensors, whatever the networks: 64 GiB."""
MAX_HEADER = 1 << 20
"""Most bytes of a safetensors header; it suffices for some thousands of tensors."""
FILES = (STATE, TENSORS)
"""The files of a checkpoint beside its manifest; the small one is read first."""
SHOWN = 5
"""Most differences between two architectures that a message lists."""

M = TypeVar("M", bound=Struct)


class Unusable(Exception):  # noqa: N818 - the checkpoint is at fault, not the program
    """A checkpoint cannot be used; the message gives the reason in one line."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and verified: host tensors by name, and the rest."""

    name: CheckpointName
    tensors: dict[str, Tensor]
    state: RunState


def read(run: Path, name: CheckpointName, run_id: str, most: int = MOST_TENSORS) -> Checkpoint:
    """The checkpoint called ``name`` of the run ``run_id``; Unusable with the reason.

    Every file is compared with the manifest before it is parsed. ``most`` bounds the bytes of the
    tensors.
    """
    try:
        with (
            Folder.at(run) as directory,
            directory.folder("checkpoints") as checkpoints,
            checkpoints.folder(str(name)) as folder,
        ):
            manifest = _validated(Manifest, folder.read(MANIFEST, MAX_BYTES), MANIFEST)
            if manifest.files.keys() != set(FILES):
                raise Unusable(f"{MANIFEST}: it must name {STATE} and {TENSORS}, and no other file")
            files = {file: _written(folder, file, manifest.files[file], most) for file in FILES}
    except OSError as error:
        where = Path(str(error.filename or name)).name
        raise Unusable(f"{clean(where)}: {error.strerror}") from None
    for file, content in files.items():
        if hashlib.sha256(content).hexdigest() != manifest.files[file].sha256:
            raise Unusable(f"{file}: damaged, its sha256 is not the manifest's")
    state = _validated(RunState, files[STATE], STATE)
    if (state.branch, state.step) != (name.branch, name.step):
        raise Unusable(f"it holds step {state.step:,} of branch {state.branch}, not what it names")
    if state.run != run_id:
        raise Unusable("it belongs to another run")
    try:
        alarms = [alarm.cleaned() for alarm in state.alarms]
    except ValueError as error:
        raise Unusable(f"{STATE}: alarms: {error}") from None
    state = structs.replace(state, alarms=alarms)
    tensors = _tensors(files[TENSORS])
    if architecture(tensors) != state.architecture:
        raise Unusable(f"{TENSORS} and {STATE} are not of one checkpoint")
    return Checkpoint(name, tensors, state)


def check(found: Checkpoint, game: Game, sampler: Sampler, d_kind: str) -> None:
    """Unusable, with the reason, where a sound checkpoint does not fit these networks."""
    expected = copies(game, sampler)
    differences = _differences(_shapes(found.tensors), _shapes(expected))
    if differences:
        more = len(differences) - SHOWN
        listed = "; ".join(differences[:SHOWN]) + (f"; {more:,} more" if more > 0 else "")
        raise Unusable(f"its networks are not this run's: {listed}")
    for name in live(game, sampler):
        held = found.tensors[name]
        if held.is_floating_point() and not bool(torch.isfinite(held).all()):
            raise Unusable(f"{clean(name)} is not finite")
    chosen = found.tensors["sampler.chosen"]
    if len(chosen) and not 0 <= int(chosen.min()) <= int(chosen.max()) < sampler.reals:
        raise Unusable("sampler.chosen: there are no such samples")
    state = found.state
    try:
        controls = Controls.from_table(state.controls)
    except ControlError as error:
        raise Unusable(f"{STATE}: {error}") from None
    if LOSSES[controls.loss].d_kind != d_kind:
        raise Unusable(f"{STATE}: loss {controls.loss} needs another D")
    if state.device.partition(":")[0] == game.device.type:
        _check_generators(found.tensors, game, sampler)
    try:
        game.batches.check(state.position)
    except ValueError as error:
        raise Unusable(f"{STATE}: position: {error}") from None


def _check_generators(tensors: Mapping[str, Tensor], game: Game, sampler: Sampler) -> None:
    """On the same kind of device all generators' states must be sound; else they start anew."""
    wanted = {**generators(game, sampler), "batches": game.batches.generator}
    for name, generator in wanted.items():
        held = tensors.get(f"random.{name}")
        if held is None or not fits(generator.device, held):
            raise Unusable(f"random.{name}: not the state of a random generator")


def _written(folder: Folder, name: str, entry: FileEntry, most: int) -> bytes:
    """A file's content; Unusable, before it is read, where its size is not the written one."""
    size = folder.size(name)
    if size != entry.bytes:
        raise Unusable(f"{name}: {size:,} bytes, {entry.bytes:,} were written")
    # The content is in memory twice for a while: as bytes and as tensors.
    if 2 * size > psutil.virtual_memory().available:
        raise Unusable(f"{name}: larger than this machine's free memory")
    if size > (MAX_BYTES if name == STATE else most):
        raise Unusable(f"{name}: {size:,} bytes are too many for this run")
    return folder.read(name, size)


def _validated(model: type[M], content: bytes, source: str) -> M:
    try:
        return validated(model, content)
    except ValueError as error:
        raise Unusable(f"{source}: {error}") from None


def _tensors(content: bytes) -> dict[str, Tensor]:
    if int.from_bytes(content[:8], "little") > MAX_HEADER:
        raise Unusable(f"{TENSORS}: its header is too large")
    try:
        return unpack_tensors(content)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise Unusable(f"{TENSORS}: {clean(error, 120)}") from None


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Shapes and types by name, without the generators' states, which depend on the device."""
    return {
        name: f"{'x'.join(map(str, tensor.shape)) or 'scalar'} {str(tensor.dtype)[6:]}"
        for name, tensor in tensors.items()
        if not name.startswith("random.")
    }


def _differences(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    found = []
    for name in sorted(there.keys() | here.keys()):
        one, other = there.get(name, "nothing"), here.get(name, "nothing")
        if one != other:
            found.append(f"{clean(name, 80)} is {one} there and {other} here")
    return found
