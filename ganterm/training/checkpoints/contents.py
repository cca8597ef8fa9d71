"""What a checkpoint holds: tensors, states of random generators, and a table for JSON."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from msgspec import Struct
from torch import Tensor

from ganterm import __version__
from ganterm.core.findings import Alarm
from ganterm.core.snapshot import Counters, SetControl
from ganterm.rundir.jsonfile import Natural, RunId
from ganterm.sections import RunSection
from ganterm.training.batches import Position
from ganterm.training.game import Game
from ganterm.training.sampler import Sampler
from ganterm.training.torch_internals import default_mps_generator


class RunState(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of a checkpoint that is no tensor, as it is between two iterations.

    ``run`` is the id in run.json. ``pending`` are changes that act from the next iteration on.
    ``controls`` contain the scheduled changes up to the step ``scheduled``. ``d_updates`` is
    ``Game.d_updates``, which lazy regularisers depend on; ``position`` is the number of samples
    drawn in this epoch. ``alarms`` are those raised; ``streaks`` says for each rule how many
    judgements in a row speak for a change, and since which step. ``preset`` and ``architecture``
    are checksums.
    """

    format: int
    run: RunId
    step: Natural
    branch: Natural
    controls: dict[str, str | int | float]
    pending: list[SetControl]
    scheduled: Natural
    counters: Counters
    d_updates: Natural
    position: Natural
    alarms: list[Alarm]
    streaks: dict[str, tuple[Natural, Natural]] = {}
    threads: Natural
    device: str
    versions: dict[str, str]
    preset: str
    architecture: str


def versions(device: torch.device) -> dict[str, str]:
    """The versions that results depend on: of software, and of an accelerator and its libraries."""
    table = {
        "ganterm": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    if device.type == "cuda":
        table["GPU"] = torch.cuda.get_device_name(device)
        table["CUDA"] = str(torch.version.cuda or torch.version.hip)
        table["cuDNN"] = str(torch.backends.cudnn.version())
    elif device.type == "mps":
        table["macOS"] = platform.mac_ver()[0]
    return table


def differences(
    state: RunState, device: torch.device, run: RunSection, presets: Collection[str]
) -> list[str]:
    """The reasons why a run resumed here will not be bit-identical, a few words each.

    ``run`` are the preset's run options with the thread count resolved; ``presets`` are the
    checksums of its preset in every way it may be written.
    """
    here = versions(device)
    found = [
        f"{name} {state.versions.get(name, 'unknown')} -> {version}"
        for name, version in here.items()
        if state.versions.get(name) != version
    ]
    if state.device != str(device):
        found.append(f"device {state.device} -> {device}")
    if device.type != "cpu" and not run.deterministic:
        found.append(f"run.deterministic is false: {device} rounds otherwise each time")
    if state.threads != run.threads:
        found.append(f"threads {state.threads} -> {run.threads}")
    if state.preset not in presets:
        found.append("preset.toml was changed")
    return found


def checksum(text: str | bytes) -> str:
    """The sha256 of a text, in hex."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def architecture(tensors: Mapping[str, Tensor]) -> str:
    """A checksum of the names, shapes and types of the networks' and optimizers' tensors."""
    shapes = sorted(
        f"{name}:{tuple(tensor.shape)}:{tensor.dtype}"
        for name, tensor in tensors.items()
        if not name.startswith(("random.", "sampler."))
    )
    return checksum("\n".join(shapes))


def copies(game: Game, sampler: Sampler) -> dict[str, Tensor]:
    """Copies of all tensors by dotted name, on the host; generators' states under ``random.``"""
    tensors = live(game, sampler)
    for name, generator in generators(game, sampler).items():
        tensors[f"random.{name}"] = generator.get_state()
    tensors["random.batches"] = game.batches.position.random
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }


def live(game: Game, sampler: Sampler) -> dict[str, Tensor]:
    """The tensors in use, by name; values copied into them take effect."""
    shown = {"sampler.noise": sampler.noise, "sampler.chosen": sampler.chosen}
    return game_tensors(game) | shown


def game_tensors(game: Game) -> dict[str, Tensor]:
    """The tensors of the networks, the averaged G, the optimizers, the balance and the squares."""
    tensors = {"balance": game.balance, "squares": game.squares}
    modules = {
        "generator": game.generator,
        "discriminator": game.discriminator,
        "average": game.average.module,
    }
    for name, module in modules.items():
        tensors.update({f"{name}.{key}": value for key, value in module.state_dict().items()})
    for name, guarded in (("optimizer_g", game.optimizer_g), ("optimizer_d", game.optimizer_d)):
        tensors.update({f"{name}.{key}": value for key, value in guarded.state.items()})
    return tensors


def size(game: Game, sampler: Sampler) -> int:
    """The size of a checkpoint in bytes, about: one MiB is for generators' states and names."""
    tensors = live(game, sampler).values()
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) + (1 << 20)


def generators(game: Game, sampler: Sampler) -> dict[str, torch.Generator]:
    """All random generators except the one that shuffles the data.

    torch's own, which dropout draws from, belong to the whole process.
    """
    return {**game_generators(game), "sampler": sampler.random}


def game_generators(game: Game) -> dict[str, torch.Generator]:
    """The generators that training draws from, except the one that shuffles the data."""
    table = {"torch": torch.default_generator, "noise": game.noise}
    if game.device.type == "cuda":
        table["device"] = torch.cuda.default_generators[game.device.index]
    elif game.device.type == "mps":
        table["device"] = default_mps_generator()
    return table


def put_back(
    game: Game, sampler: Sampler, tensors: Mapping[str, Tensor], state: RunState, seed: int
) -> None:
    """Restore a run to a checkpoint that has been checked.

    A generator whose state belongs to another kind of device is seeded with ``seed`` instead.
    """
    for name, tensor in live(game, sampler).items():
        tensor.copy_(tensors[name])
    game.step, game.d_updates = state.step, state.d_updates
    for name, generator in generators(game, sampler).items():
        held = tensors.get(f"random.{name}")
        if held is not None and fits(generator.device, held):
            generator.set_state(held)
        else:
            generator.manual_seed(seed)
    order, device = tensors.get("random.batches"), game.batches.generator.device
    if order is not None and fits(device, order):
        game.batches.go_to(Position(order, state.position))
    else:
        fresh = torch.Generator(device).manual_seed(seed).get_state()
        game.batches.go_to(Position(fresh, 0))


def fits(device: torch.device, held: Tensor) -> bool:
    """Whether ``held`` is a state for a generator on ``device``."""
    if held.dtype != torch.uint8 or held.dim() != 1:
        return False
    try:
        torch.Generator(device).set_state(held)
    except RuntimeError:
        return False
    return True


@dataclass(frozen=True)
class GameContents:
    """What the checkpoints of a run hold of its game and sampler."""

    game: Game
    sampler: Sampler

    @property
    def bytes(self) -> int:
        """The size of the tensors, about."""
        return size(self.game, self.sampler)

    def tensors(self) -> dict[str, Tensor]:
        """Copies of all tensors by dotted name, on the host."""
        return copies(self.game, self.sampler)

    def counts(self) -> tuple[int, int]:
        """D's updates so far, and the samples drawn in this epoch of the data."""
        return self.game.d_updates, self.game.batches.position.at
