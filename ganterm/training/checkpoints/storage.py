"""Writing a checkpoint: safetensors, JSON and a manifest, whole or not at all; no pickle."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct, to_builtins
from safetensors.torch import save as pack_tensors
from torch import Tensor

from ganterm.core.json_text import json_bytes
from ganterm.rundir.find import CheckpointName, point
from ganterm.rundir.jsonfile import FORMAT, validated
from ganterm.system.files import Folder
from ganterm.training.checkpoints.contents import RunState

TENSORS = "tensors.safetensors"
STATE = "state.json"
MANIFEST = "MANIFEST.json"


class FileEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """The size and checksum of a file of a checkpoint."""

    bytes: Annotated[int, Meta(ge=0, le=1 << 50)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The files of a checkpoint. ``own``: the user asked for it, and only the user removes it.

    ``cfid`` is the classifier-FID by which it was the best so far, None for other checkpoints.
    """

    format: int
    own: bool
    cfid: float | None = None
    files: dict[str, FileEntry]


def save(
    folder: Folder,
    tensors: Mapping[str, Tensor],
    state: RunState,
    own: bool = False,
    cfid: float | None = None,
) -> CheckpointName:
    """Write a checkpoint into ``folder``; it appears whole or not at all. Returns its name.

    ``own`` and ``cfid`` are written into the manifest. ``LATEST`` is renamed into place last, so
    that it always names a complete checkpoint. OSError where the disk does not take it; earlier
    checkpoints stay.
    """
    files = {
        TENSORS: pack_tensors(dict(tensors)),
        STATE: _json(state),
    }
    entries = {
        file: FileEntry(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        for file, content in files.items()
    }
    manifest = Manifest(format=FORMAT, own=own, cfid=cfid, files=entries)
    files[MANIFEST] = _json(manifest)
    # A full disk would also stop the logs, which need far less.
    if shutil.disk_usage(folder.handle).free < sum(map(len, files.values())):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    name = CheckpointName(state.branch, state.step)
    while folder.has(str(name)):
        name = name._replace(again=name.again + 1)
    aside = f".{name}.{os.getpid()}.tmp"
    if folder.has(aside):
        # Left by a killed process that had the same number.
        folder.remove_tree(aside)
    try:
        with folder.folder(aside, make=True) as making:
            for file, content in files.items():
                making.write_atomically(file, content)
        folder.rename(aside, str(name))
    except OSError:
        with suppress(OSError):
            folder.remove_tree(aside)
        raise
    folder.sync()
    point(folder, name)
    return name


def _json(table: Struct) -> bytes:
    """A table as JSON; ValueError where it would not be readable."""
    content = json_bytes(to_builtins(table, enc_hook=_plain), indent=2)
    validated(type(table), content)
    return content


def _plain(value: object) -> object:
    """NumPy's numbers, which an alarm's evidence may hold, as Python's."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be part of a checkpoint")
