"""The list of files that a run was trained on, so that a resume can say which have changed.

``files.json.gz`` in the run directory holds a JSON object with ``format`` and ``files``, pairs of a
name and a mark of the content. Whether the data are the same is decided by their sha256 in
run.json, not by this list.
"""

from __future__ import annotations

import gzip
import io
import json
import shlex
import zlib
from pathlib import Path

from ganterm.core.errors import UserError
from ganterm.core.text import clean
from ganterm.data.source import Dataset, Files
from ganterm.rundir.find import DataOfRun
from ganterm.rundir.jsonfile import FORMAT
from ganterm.system.files import Folder

NAME = "files.json.gz"
MOST_BYTES = 256 << 20
"""Most bytes of the list, uncompressed; it suffices for some millions of files."""
_NAMED = 3
"""Files of each kind that a message names."""


def write(run: Folder, files: Files) -> None:
    """Write the list; OSError where the disk does not take it."""
    table = {"format": FORMAT, "files": list(zip(files.names, files.marks, strict=True))}
    # Without a time stamp, so that the same files give the same bytes.
    run.write_atomically(NAME, gzip.compress(json.dumps(table).encode(), 6, mtime=0))


def read(run: Path) -> dict[str, str] | None:
    """Marks by file name; None where there is no usable list."""
    try:
        with Folder.at(run) as folder:
            packed = io.BytesIO(folder.read(NAME, MOST_BYTES))
        content = gzip.GzipFile(fileobj=packed).read(MOST_BYTES + 1)
        table = json.loads(content)
        found = {str(name): str(mark) for name, mark in table["files"]}
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if table.get("format") == FORMAT and len(content) <= MOST_BYTES else None


def differences(run: Path, known: DataOfRun, dataset: Dataset) -> tuple[str, ...]:
    """How the data may differ from the run's, where it can be resumed all the same.

    UserError, with the differences and a way out, where they are other data.
    """
    if dataset.sha256 == known.sha256:
        return ()
    files = dataset.files
    if files is None:
        raise UserError(
            f"run '{clean(run.name)}' was trained on other samples of {clean(known.name, 60)} "
            f"than are here now (sha256 {clean(known.sha256, 64)[:12]} then, "
            f"{dataset.sha256[:12]} now); give their --data-dir"
        )
    before = read(run)
    if before is None and known.samples is None and dataset.stream is not None:
        # Older runs identified a streamed folder by its files' times, which a copy changes.
        if files.by_times == known.sha256:
            return ()
        return (
            "the pictures could not be compared: this run knew them by their files' times, which "
            "are others now",
        )
    here = dict(zip(files.names, files.marks, strict=True))
    if before == here and known.samples == dataset.count:
        return ("the same files give other pixels here than they did: another version of Pillow",)
    raise UserError(_refusal(run, known, dataset, before, here))


def _refusal(
    run: Path,
    known: DataOfRun,
    dataset: Dataset,
    before: dict[str, str] | None,
    here: dict[str, str],
) -> str:
    assert dataset.files is not None
    parts = []
    if before is not None:
        new = [name for name in here if name not in before]
        missing = [name for name in before if name not in here]
        changed = [name for name in here if before.get(name, here[name]) != here[name]]
        parts = [
            _named(*kind) for kind in ((new, "new"), (missing, "missing"), (changed, "changed"))
        ]
    side = dataset.shape[-1]
    then = "" if known.samples is None else f", {known.samples:,} then"
    counted = f"{dataset.count:,} pictures of side {side} now{then}"
    what = ", ".join([*filter(None, parts), counted])
    path = shlex.quote(clean(run))
    return (
        f"run '{clean(run.name)}' was trained on other pictures than are in "
        f"{clean(dataset.files.root)}: {what}\n"
        f"Put them back, or say where they are: ganterm resume {path} --data-dir FOLDER; to train "
        f"on these from the start: ganterm --preset {path}/preset.toml --data-dir FOLDER"
    )


def _named(names: list[str], what: str) -> str:
    """The count and the first few names, as in "2 missing (a.png, b.png)"."""
    if not names:
        return ""
    shown = ", ".join(clean(name, 40) for name in sorted(names)[:_NAMED])
    more = ", ..." if len(names) > _NAMED else ""
    return f"{len(names):,} {what} ({shown}{more})"
