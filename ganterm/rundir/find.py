"""Finding run directories and their checkpoints, and reading their small files. No torch."""

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
"""The form of a run's name."""
_CHECKPOINT = re.compile(r"step_(\d{10,18})-b(\d{1,9})(?:\.(\d{1,9}))?")


class CheckpointName(NamedTuple):
    """The name of a checkpoint's folder, ``step_NNNNNNNNNN-bB``; names sort from old to new.

    ``again`` numbers further checkpoints of the same step, as ``.1``, ``.2`` behind the name.
    """

    branch: int
    step: int
    again: int = 0

    def __str__(self) -> str:
        return f"step_{self.step:010d}-b{self.branch}" + (f".{self.again}" if self.again else "")

    @classmethod
    def parse(cls, text: str) -> CheckpointName | None:
        """The name in ``text``; None where it is not the name of a checkpoint."""
        match = _CHECKPOINT.fullmatch(text)
        if match is None:
            return None
        step, branch, again = (int(part or 0) for part in match.groups())
        name = cls(branch, step, again)
        return name if str(name) == text else None


class DataOfRun(Struct, frozen=True):
    """The data set, as run.json describes it.

    ``folder``: its absolute path. ``from_run``: its path relative to the run directory, because
    both may have been moved together.
    """

    name: str
    sha256: str
    folder: str | None = None
    from_run: str | None = None
    samples: Natural | None = None


class About(Struct, frozen=True, kw_only=True):
    """The fields of run.json that readers need; further fields are ignored."""

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
    """The run directories in a folder, sorted by name, with those that cannot be read.

    [] where there is no such folder; UserError where the folder itself cannot be read.
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
    """Whether a folder has a run.json, or does not let us find out."""
    try:
        (path / "run.json").lstat()
    except OSError as error:
        return error.errno not in _NOTHING_THERE
    except ValueError:
        return False
    return True


def find(run: str, runs_dir: Path) -> Path:
    """The directory of a run.

    ``run`` is a name in ``runs_dir``, a path, or the beginning of the name or id of exactly one
    run in ``runs_dir``; of an id it must have at least four letters. UserError where no run
    matches, with the nearest name, or more than one.
    """
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
    paths = inside(runs_dir)
    matches = [path for path in paths if begins(run, path.name, _id(path))]
    if len(matches) == 1:
        return matches[0]
    names = [path.name for path in matches or paths]
    if matches:
        raise UserError(
            f"'{clean(run, 80)}' is the beginning of {len(names)} runs; "
            f"which one? {clean(', '.join(names[-12:]), 400)}"
        )
    hint = nearest(run, names[-12:]) if names else "there is none yet"
    raise UserError(f"there is no run '{clean(run, 80)}' in {clean(runs_dir)}; {clean(hint)}")


def begins(text: str, name: str, identity: str) -> bool:
    """Whether a text is the beginning of a run's name, or at least four letters of its id."""
    return bool(text) and (name.startswith(text) or (len(text) >= 4 and identity.startswith(text)))


def _id(run: Path) -> str:
    try:
        return about(run).id
    except UserError:
        return ""


def about(run: Path) -> About:
    """The contents of a run's run.json; UserError where it cannot be used."""
    source = clean(run / "run.json")
    try:
        with Folder.at(run) as folder:
            return validated(About, folder.read("run.json", MAX_BYTES))
    except OSError as error:
        raise UserError(f"{source}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{source}: {error}") from None


def checkpoints(run: Path) -> list[CheckpointName]:
    """The checkpoints of a run, newest first, complete or not; UserError where the run directory
    cannot be read."""
    try:
        with Folder.at(run) as directory, directory.folder("checkpoints") as folder:
            return checkpoints_in(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(clean(in_words(error), 400)) from None


def checkpoints_in(folder: Folder) -> list[CheckpointName]:
    """The checkpoints in ``folder``, newest first, complete or not.

    A link with the name of a checkpoint is listed too. It is not valid, and its reader says so.
    """
    names = []
    for entry in folder.entries():
        name = CheckpointName.parse(entry.name)
        if name is not None and (entry.is_dir(follow_symlinks=False) or entry.is_symlink()):
            names.append(name)
    return sorted(names, reverse=True)


def newest(run: Path) -> CheckpointName | None:
    """The checkpoint that LATEST names, else the newest one, else None.

    UserError where LATEST or the folder of checkpoints cannot be read.
    """
    names = checkpoints(run)
    latest = None
    try:
        with Folder.at(run) as directory, directory.folder("checkpoints") as folder:
            latest = CheckpointName.parse(folder.read("LATEST", MAX_BYTES).decode().strip())
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    except OSError as error:
        raise UserError(clean(in_words(error), 400)) from None
    return latest if latest in names else next(iter(names), None)


def preset_content(run: Path) -> bytes:
    """The bytes of a run's preset.toml; UserError where it cannot be read."""
    try:
        with Folder.at(run) as folder:
            return folder.read("preset.toml", MAX_PRESET)
    except OSError as error:
        source = clean(run / "preset.toml")
        raise UserError(f"{source}: cannot be read: {error.strerror}") from None


def preset_table(run: Path) -> dict[str, Any]:
    """The table in a run's preset.toml, not validated; UserError where it cannot be read."""
    return parse_toml(preset_content(run), clean(run / "preset.toml"))


def command_from(run: Path, name: CheckpointName) -> str:
    """The command that resumes a run from a certain checkpoint."""
    return f"ganterm resume {shlex.quote(clean(run))} --from {name}"


def point(folder: Folder, name: CheckpointName, pointer: str = "LATEST") -> None:
    """Write the name of a checkpoint into ``LATEST``, or into another pointer."""
    folder.write_atomically(pointer, f"{name}\n".encode())
