"""Run directories that are there: found, and what their small files say. No torch."""

from __future__ import annotations

import errno
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from ganterm.core.errors import UserError
from ganterm.core.text import clean, nearest
from ganterm.rundir.jsonfile import MAX_BYTES, Natural, Positive, RunId, validated
from ganterm.system.files import Folder, in_words
from ganterm.system.folders import expanded
from ganterm.system.toml import MAX_BYTES as MAX_PRESET
from ganterm.system.toml import parse_toml

_NOTHING_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a run's name must be."""
_CHECKPOINT = re.compile(r"step_(\d{10,18})-b(\d{1,9})(?:\.(\d{1,9}))?")


class CheckpointName(NamedTuple):
    """A checkpoint's folder, ``step_NNNNNNNNNN-bB``; names sort from the oldest to the newest.

    ``again`` counts what was saved at the same step once more, as ``.1``, ``.2`` behind the name.
    """

    branch: int
    step: int
    again: int = 0

    def __str__(self) -> str:
        return f"step_{self.step:010d}-b{self.branch}" + (f".{self.again}" if self.again else "")

    @classmethod
    def parse(cls, text: str) -> CheckpointName | None:
        """The name that ``text`` is, None where it is none."""
        match = _CHECKPOINT.fullmatch(text)
        if match is None:
            return None
        step, branch, again = (int(part or 0) for part in match.groups())
        name = cls(branch, step, again)
        return name if str(name) == text else None


class DataOfRun(Struct, frozen=True):
    """What run.json says of the data.

    ``folder``: where they lie, absolute; ``from_run``: the same seen from the run directory, which
    may have moved together with them.
    """

    name: str
    sha256: str
    folder: str | None = None
    from_run: str | None = None
    samples: Natural | None = None


class About(Struct, frozen=True, kw_only=True):
    """What run.json says, as far as it is needed; what else stands there is left alone."""

    format: int
    id: RunId
    preset: str
    device: str
    state: str
    data: DataOfRun
    created: str = ""
    steps: Positive | None = None
    stop_on: list[str] = []
    step: Natural | None = None
    branch: Natural = 0


def inside(runs_dir: Path) -> list[Path]:
    """The run directories in a folder, also those that cannot be read, by name.

    None where there is no such folder; UserError where it cannot be read itself.
    """
    try:
        return [path for path in sorted(runs_dir.iterdir()) if _is_run(path)]
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise UserError(f"--runs-dir {clean(runs_dir)}: it is not a folder") from None
    except OSError as error:
        raise UserError(f"--runs-dir {clean(runs_dir)}: cannot be read: {error.strerror}") from None


def _is_run(path: Path) -> bool:
    """Whether something is called run.json there, or nobody lets us know."""
    try:
        (path / "run.json").lstat()
    except OSError as error:
        return error.errno not in _NOTHING_THERE
    except ValueError:
        return False
    return True


def find(run: str, runs_dir: Path) -> Path:
    """The directory of a run: by its name in ``runs_dir``, by its path, or by what only one of
    those in ``runs_dir`` begins with, a name, or an id of which four letters are given. UserError
    where there is none, naming the nearest, or more than one."""
    for place in (runs_dir / run, expanded(run)):
        if _is_run(place):
            # A path like "." has a name only once it is resolved.
            path = place if place.name else place.resolve()
            if not NAME.fullmatch(path.name):
                raise UserError(
                    f"run directory {clean(path)}: rename it; a run's name has letters, digits, "
                    "'.', '_' and '-' alone, 64 at most"
                )
            return path
    there = inside(runs_dir)
    beginning = [path for path in there if begins(run, path.name, _id(path))]
    if len(beginning) == 1:
        return beginning[0]
    known = [path.name for path in beginning or there]
    if beginning:
        raise UserError(
            f"'{clean(run, 80)}' is the beginning of {len(known)} runs; "
            f"which one? {clean(', '.join(known[-12:]), 400)}"
        )
    hint = nearest(run, known[-12:]) if known else "there is none yet"
    raise UserError(f"there is no run '{clean(run, 80)}' in {clean(runs_dir)}; {clean(hint)}")


def begins(text: str, name: str, identity: str) -> bool:
    """Whether a text is the beginning of a run's name, or of its id, of which four letters count
    at least."""
    return bool(text) and (name.startswith(text) or (len(text) >= 4 and identity.startswith(text)))


def _id(run: Path) -> str:
    try:
        return about(run).id
    except UserError:
        return ""


def about(run: Path) -> About:
    """What is known of a run; UserError where its run.json cannot be used."""
    source = clean(run / "run.json")
    try:
        with Folder.at(run) as folder:
            return validated(About, folder.read("run.json", MAX_BYTES))
    except OSError as error:
        raise UserError(f"{source}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{source}: {error}") from None


def checkpoints(run: Path) -> list[CheckpointName]:
    """The checkpoints of a run, newest first, whole or not; UserError where none can be looked
    for."""
    try:
        with Folder.at(run) as directory, directory.folder("checkpoints") as folder:
            return checkpoints_in(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(clean(in_words(error), 400)) from None


def checkpoints_in(folder: Folder) -> list[CheckpointName]:
    """The checkpoints in ``folder``, newest first, whole or not; links too, which are no way to
    have one there, so that they are told of and not passed over."""
    found = []
    for entry in folder.entries():
        name = CheckpointName.parse(entry.name)
        if name is not None and (entry.is_dir(follow_symlinks=False) or entry.is_symlink()):
            found.append(name)
    return sorted(found, reverse=True)


def newest(run: Path) -> CheckpointName | None:
    """The checkpoint that LATEST names, else the newest that there is, if any.

    UserError where one of them is no file or folder.
    """
    there = checkpoints(run)
    named = None
    try:
        with Folder.at(run) as directory, directory.folder("checkpoints") as folder:
            named = CheckpointName.parse(folder.read("LATEST", MAX_BYTES).decode().strip())
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    except OSError as error:
        raise UserError(clean(in_words(error), 400)) from None
    return named if named in there else next(iter(there), None)


def preset_content(run: Path) -> bytes:
    """What a run's preset.toml holds; UserError where it cannot be read."""
    try:
        with Folder.at(run) as folder:
            return folder.read("preset.toml", MAX_PRESET)
    except OSError as error:
        source = clean(run / "preset.toml")
        raise UserError(f"{source}: cannot be read: {error.strerror}") from None


def preset_table(run: Path) -> dict[str, Any]:
    """What a run's preset.toml says, unchecked; UserError where it cannot be read."""
    return parse_toml(preset_content(run), clean(run / "preset.toml"))


def command_from(run: Path, name: CheckpointName) -> str:
    """What to type to go on from a certain checkpoint."""
    return f"ganterm resume {shlex.quote(clean(run))} --from {name}"


def point(folder: Folder, name: CheckpointName, pointer: str = "LATEST") -> None:
    """Have ``LATEST``, or another pointer, name a checkpoint."""
    folder.write_atomically(pointer, f"{name}\n".encode())
