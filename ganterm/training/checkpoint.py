"""What is kept of the networks and optimizers: safetensors, JSON and a manifest; no pickle."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from safetensors.torch import save as pack_tensors
from torch import Tensor

from ganterm.files import sync_folder, write_atomically
from ganterm.training.iteration import Game

FORMAT = 1


def game_tensors(game: Game) -> dict[str, Tensor]:
    """All tensors of the networks, averaged G and optimizers by dotted name, on the host."""
    tensors = {"balance": game.balance}
    modules = {
        "generator": game.generator,
        "discriminator": game.discriminator,
        "average": game.average.module,
    }
    for name, module in modules.items():
        tensors.update({f"{name}.{key}": value for key, value in module.state_dict().items()})
    for name, guarded in (("optimizer_g", game.optimizer_g), ("optimizer_d", game.optimizer_d)):
        state = guarded.optimizer.state[guarded.weights]
        tensors.update({f"{name}.{key}": value for key, value in state.items()})
    return {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}


def save(
    folder: Path, step: int, branch: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]
) -> Path:
    """Write a checkpoint into ``folder``; it appears whole or not at all. Returns its path.

    ``LATEST`` is renamed into place last, so it never names what is not there. OSError where the
    disk does not take it; what was there before stays.
    """
    name = f"step_{step:010d}-b{branch}"
    files = {
        "tensors.safetensors": pack_tensors(dict(tensors)),
        "state.json": orjson.dumps(
            {"format": FORMAT, "step": step, "branch": branch, **state},
            option=orjson.OPT_INDENT_2,
        ),
    }
    manifest = {
        "format": FORMAT,
        "files": {
            file: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for file, content in files.items()
        },
    }
    files["MANIFEST.json"] = orjson.dumps(manifest, option=orjson.OPT_INDENT_2)
    making = folder / f".{name}.{os.getpid()}.tmp"
    try:
        making.mkdir()
        for file, content in files.items():
            write_atomically(making / file, content)
        making.rename(folder / name)
    except OSError:
        shutil.rmtree(making, ignore_errors=True)
        raise
    sync_folder(folder)
    write_atomically(folder / "LATEST", f"{name}\n".encode())
    return folder / name
