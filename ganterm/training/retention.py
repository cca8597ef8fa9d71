"""Which checkpoints stay."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ganterm.files import Folder
from ganterm.session.health import HEALTHY
from ganterm.session.jsonfile import MAX_BYTES, validated
from ganterm.session.runs import CheckpointName, checkpoints_in
from ganterm.training.checkpoint import MANIFEST, Manifest

NEWEST = 3
"""Automatic checkpoints that stay where there is room."""
BEST = "BEST"
"""The file that names the best checkpoint."""


@dataclass(frozen=True)
class _Kept:
    name: CheckpointName
    own: bool
    cfid: float | None
    bytes: int


def best_cfid(folder: Folder) -> float | None:
    """That of the best checkpoint so far, whichever branch it is of; None where there is none."""
    name = CheckpointName.parse(_pointed(folder, BEST) or "")
    known = None if name is None else _looked_at(folder, name)
    return None if known is None else known.cfid


def prune(
    folder: Folder, megabytes: int, healthy: CheckpointName | None = None
) -> list[CheckpointName]:
    """Remove automatic checkpoints that are not among the newest three, nor the best one, and then
    the oldest ones until all take no more than ``megabytes``. Returns what was removed.

    Those that LATEST and HEALTHY name, the newest, the user's own and ``healthy``, which HEALTHY
    is about to name, always stay, and so does what is damaged: it is not ours to judge. OSError
    where something cannot be removed.
    """
    there = checkpoints_in(folder)
    kept = [known for name in there if (known := _looked_at(folder, name)) is not None]
    pointed = {_pointed(folder, "LATEST"), _pointed(folder, HEALTHY), str(healthy)}
    pointed |= {str(known.name) for known in kept[:1]}
    best = _pointed(folder, BEST)
    automatic = [known for known in kept if not known.own]
    surplus = [known for known in automatic[NEWEST:] if str(known.name) not in {*pointed, best}]
    staying = [known for known in kept if known not in surplus]
    removable = [k for k in staying if not k.own and str(k.name) not in pointed]
    # Oldest first, and the best one last of all.
    removable.sort(key=lambda known: (str(known.name) == best, known.name))
    size = sum(known.bytes for known in staying)
    while size > megabytes * 2**20 and removable:
        surplus.append(removable.pop(0))
        size -= surplus[-1].bytes
    for known in surplus:
        _remove(folder, known.name)
    return [known.name for known in surplus]


def _remove(folder: Folder, name: CheckpointName) -> None:
    # Under a name that is swept away at the next start, if this is cut off half-way.
    gone = f".{name}.{os.getpid()}.tmp"
    folder.rename(str(name), gone)
    folder.remove_tree(gone)


def _looked_at(folder: Folder, name: CheckpointName) -> _Kept | None:
    try:
        with folder.folder(str(name)) as held:
            manifest = validated(Manifest, held.read(MANIFEST, MAX_BYTES))
    except (OSError, ValueError):
        return None
    size = sum(entry.bytes for entry in manifest.files.values())
    return _Kept(name, manifest.own, manifest.cfid, size)


def _pointed(folder: Folder, pointer: str) -> str | None:
    try:
        return folder.read(pointer, MAX_BYTES).decode(errors="replace").strip()
    except OSError:
        return None
