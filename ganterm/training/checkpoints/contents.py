"""All that a run's future depends on: its tensors, its random generators, and the rest as JSON."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Collection, Mapping

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


class RunState(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a checkpoint holds beside tensors, taken between two iterations.

    ``run``: the id of run.json. ``pending``: changes that were asked for and act from the next
    iteration on. ``scheduled``: the last step whose scheduled changes are in ``controls``.
    ``d_updates`` counts as ``Game`` does, for regularisers that act now and then; ``position`` is
    how far the epoch of the data is. ``alarms``: those raised; ``streaks``: of alarms by name, how
    many judgements in a row speak for a change by now, and since which step.
    ``preset`` and ``architecture`` are checksums.
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
    """Of what the numbers depend on: the software, and an accelerator's model and libraries."""
    found = {
        "ganterm": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    if device.type == "cuda":
        found["GPU"] = torch.cuda.get_device_name(device)
        found["CUDA"] = str(torch.version.cuda or torch.version.hip)
        found["cuDNN"] = str(torch.backends.cudnn.version())
    elif device.type == "mps":
        found["macOS"] = platform.mac_ver()[0]
    return found


def differences(
    state: RunState, device: torch.device, run: RunSection, presets: Collection[str]
) -> list[str]:
    """Why a run that goes on here will not be the same bit for bit, a few words each.

    ``run``: how it is carried out here, its threads resolved; ``presets``: checksums of its preset,
    in all the ways it may be written.
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
    """By which a text is known again."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def architecture(tensors: Mapping[str, Tensor]) -> str:
    """A fingerprint of the networks and optimizers: names, shapes and types of their tensors."""
    shapes = sorted(
        f"{name}:{tuple(tensor.shape)}:{tensor.dtype}"
        for name, tensor in tensors.items()
        if not name.startswith(("random.", "sampler."))
    )
    return checksum("\n".join(shapes))


def taken(game: Game, sampler: Sampler) -> dict[str, Tensor]:
    """Copies of all tensors by dotted name, on the host; those of generators under ``random``."""
    tensors = live(game, sampler)
    for name, generator in generators(game, sampler).items():
        tensors[f"random.{name}"] = generator.get_state()
    tensors["random.batches"] = game.batches.position.random
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }


def live(game: Game, sampler: Sampler) -> dict[str, Tensor]:
    """The tensors that training and looking use; what is copied into them acts."""
    shown = {"sampler.noise": sampler.noise, "sampler.chosen": sampler.chosen}
    return game_tensors(game) | shown


def game_tensors(game: Game) -> dict[str, Tensor]:
    """Those of the networks, the averaged G, the optimizers, the loss's balance and the squares."""
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
    """Bytes that the tensors of a checkpoint take, about: those of the random generators and the
    names are in the last megabyte."""
    tensors = live(game, sampler).values()
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) + (1 << 20)


def generators(game: Game, sampler: Sampler) -> dict[str, torch.Generator]:
    """All sources of randomness but that of the data's order.

    torch's own, of which dropout draws, belong to the whole process.
    """
    return {**game_generators(game), "sampler": sampler.random}


def game_generators(game: Game) -> dict[str, torch.Generator]:
    """Those that the training draws from, but that of the data's order."""
    found = {"torch": torch.default_generator, "noise": game.noise}
    if game.device.type == "cuda":
        found["device"] = torch.cuda.default_generators[game.device.index]
    elif game.device.type == "mps":
        found["device"] = torch.mps._get_default_mps_generator()
    return found


def put_back(
    game: Game, sampler: Sampler, tensors: Mapping[str, Tensor], state: RunState, seed: int
) -> None:
    """Bring a run to where its checkpoint was taken; what is given fits and is sound.

    A generator whose state belongs to another kind of device starts from ``seed`` instead.
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
    """Whether a generator on ``device`` takes this state."""
    if held.dtype != torch.uint8 or held.dim() != 1:
        return False
    try:
        torch.Generator(device).set_state(held)
    except RuntimeError:
        return False
    return True
