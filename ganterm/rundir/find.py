"""Run directories that are there: found, read and started from again. No torch."""

from __future__ import annotations

import errno
import os
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from ganterm.core.errors import UserError
from ganterm.core.text import clean, nearest
from ganterm.launch import NAME, Launch
from ganterm.rundir.jsonfile import MAX_BYTES, Natural, Positive, RunId, validated
from ganterm.system.files import Folder, in_words
from ganterm.system.folders import expanded
from ganterm.toml import MAX_BYTES as MAX_PRESET
from ganterm.toml import parse_toml

_NOTHING_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
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


def resumption(
    run: Path,
    steps: int | None = None,
    checkpoint: str | None = None,
    device: str | None = None,
    data_dir: Path | None = None,
    stop_on: tuple[str, ...] | None = None,
) -> Launch:
    """A launch that goes on with a run from the checkpoint named, or from its newest one; from its
    newest healthy one where an update was not finite at the newest (``health.to_resume``).

    What is not given is as it was, but no command is run with an alarm, for a run directory, which
    may come from anywhere, names none. UserError where there is no such checkpoint, where no step
    is left to be done, or where the run's files cannot be used.
    """
    known = about(run)
    name, passed_over = _chosen(run, checkpoint)
    goal = steps or known.steps
    command = f"ganterm resume {shlex.quote(str(run))}"
    if goal is not None and goal <= name.step:
        raise UserError(
            f"run '{clean(run.name)}' is at step {name.step:,} and is to end at {goal:,}: nothing "
            f"is left to do; to go on: {clean(command)} --steps {2 * name.step}"
        )
    # Who only lists or watches runs needs no networks' and data sets' options.
    from ganterm.diagnosis.rule import alarm_names
    from ganterm.presets import Preset

    for alarm in known.stop_on if stop_on is None else ():
        if alarm not in alarm_names():
            raise UserError(
                f"{clean(run / 'run.json')}: stop_on: there is no alarm '{clean(alarm, 40)}'; "
                f"{nearest(alarm, alarm_names())}"
            )
    source = clean(run / "preset.toml")
    table = preset_table(run)
    if isinstance(table.get("data"), dict):
        # A run that says nothing of it was begun when files were read in the first way.
        table["data"].setdefault("reading", 1)
    preset = Preset.from_table(table, source)
    folder = Path(known.data.folder) if known.data.folder else None
    if preset.data.name == "folder":
        data_dir = data_dir or _pictures(run, known.data, preset.data.folder)
    return Launch(
        preset_name=clean(known.preset, 64),
        preset=preset,
        device=device or known.device,
        steps=goal,
        data_dir=data_dir or (folder if folder and folder.is_dir() else None),
        runs_dir=run.parent,
        run_name=run.name,
        stop_on=tuple(known.stop_on) if stop_on is None else stop_on,
        checkpoint=str(name),
        passed_over=str(passed_over or ""),
    )


def _pictures(run: Path, data: DataOfRun, named: str) -> Path:
    """The folder of a run's pictures: where they were last, or where they have moved with it.

    ``named``: as its preset says. UserError, naming the places looked at, where they are in none.
    """
    places = [Path(data.folder)] if data.folder else []
    if data.from_run:
        places.append(run / data.from_run)
    if named:
        folder = expanded(named)
        # Runs of before kept a relative path; they lay in "runs" of the folder it starts from.
        starts = [run.parent.parent, run.parent, run, Path()]
        places += [start / folder for start in ([Path()] if folder.is_absolute() else starts)]
    # What ".." means depends on links only after the run has moved, and then it means nothing.
    tried = [Path(os.path.normpath(place.absolute())) for place in places]
    tried = list(dict.fromkeys(tried))
    for place in tried:
        if place.is_dir():
            return place
    looked = ", ".join(clean(place, 100) for place in tried[:4]) or "nothing says where"
    raise UserError(
        f"the pictures of run '{clean(run.name)}' are not where they were; looked at: {looked}\n"
        f"Say where they are: ganterm resume {shlex.quote(clean(run))} --data-dir FOLDER"
    )


def command_from(run: Path, name: CheckpointName) -> str:
    """What to type to go on from a certain checkpoint."""
    return f"ganterm resume {shlex.quote(clean(run))} --from {name}"


def _chosen(run: Path, checkpoint: str | None) -> tuple[CheckpointName, CheckpointName | None]:
    """The checkpoint to go on from, and a newer one that is passed over."""
    # It knows this room's names.
    from ganterm.rundir import health

    if checkpoint is None:
        name, passed_over = health.to_resume(run)
        if name is None:
            raise UserError(
                f"run '{clean(run.name)}' has no checkpoint yet; to start the same anew: "
                f"ganterm --preset {shlex.quote(clean(run / 'preset.toml'))}"
            )
        return name, passed_over
    there = [str(name) for name in checkpoints(run)]
    chosen = CheckpointName.parse(checkpoint)
    if chosen is None or checkpoint not in there:
        hint = nearest(checkpoint, there) if there else "there is none"
        raise UserError(f"--from '{clean(checkpoint, 60)}': no checkpoint of this run; {hint}")
    return chosen, None
