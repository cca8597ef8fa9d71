"""The runs that there are: those of a folder, and all that live, wherever they are."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from ganterm.errors import UserError
from ganterm.session import runs
from ganterm.session.columns import ColumnFiles
from ganterm.session.pointer import Pointer, pointers, sweep
from ganterm.session.protocol import ENDED
from ganterm.text import clean


@dataclass(frozen=True)
class Listed:
    """A run, as a list shows it.

    ``state``: live, finished, stopped, failed, crashed, or unreadable. ``created``: ISO 8601.
    """

    name: str
    state: str
    step: int
    preset: str
    created: str
    directory: str
    id: str = ""
    pid: int | None = None

    def table(self) -> dict[str, object]:
        """The run as JSON; what is no text in a name of a file is replaced."""
        texts = {key: value for key, value in asdict(self).items() if isinstance(value, str)}
        return asdict(self) | {
            key: text.encode(errors="surrogateescape").decode(errors="replace")
            for key, text in texts.items()
        }

    @property
    def when(self) -> str:
        """When it began, in local time."""
        try:
            return f"{datetime.fromisoformat(self.created).astimezone():%Y-%m-%d %H:%M}"
        except (ValueError, OverflowError):
            return "-"


def live() -> list[Pointer]:
    """The pointers to runs that live; those that lead nowhere are swept away."""
    return [
        pointer
        for pointer in pointers()
        if runs.is_live(Path(pointer.directory)) or not sweep(pointer)
    ]


def listed(runs_dir: Path) -> list[Listed]:
    """The runs in a folder and the live ones, oldest first."""
    pids = {os.path.realpath(pointer.directory): pointer.pid for pointer in live()}
    folders = {os.path.realpath(path.parent) for path in runs_dir.glob("*/run.json")}
    found = [_looked_at(Path(path), pids.get(path)) for path in folders | pids.keys()]
    return sorted(found, key=lambda run: (run.created, run.name))


def _looked_at(run: Path, pid: int | None) -> Listed:
    try:
        about = runs.about(run)
    except UserError:
        return Listed(run.name, "unreadable", 0, "", "", str(run), pid=pid)
    alive = pid is not None or runs.is_live(run)
    state = "live" if alive else about.state if about.state in ENDED else "crashed"
    step = about.step if state in ENDED and about.step is not None else _newest_step(run)
    return Listed(run.name, state, step, about.preset, about.created, str(run), about.id, pid)


def _newest_step(run: Path) -> int:
    """The step of the last row on the disk, 0 where there is none that can be read."""
    try:
        return ColumnFiles(run).newest_step()
    except UserError:
        return 0


def lines(found: list[Listed]) -> Iterator[str]:
    """The list in aligned columns, a head first."""
    rows = [("NAME", "STATE", "STEP", "PRESET", "BEGAN", "DIRECTORY")]
    rows += [
        (
            clean(run.name, 64),
            run.state,
            f"{run.step:,}",
            clean(run.preset, 40),
            run.when,
            clean(run.directory),
        )
        for run in found
    ]
    name, state, step, preset, when = (max(len(row[i]) for row in rows) for i in range(5))
    for row in rows:
        yield (
            f"{row[0]:<{name}}  {row[1]:<{state}}  {row[2]:>{step}}  {row[3]:<{preset}}  "
            f"{row[4]:<{when}}  {row[5]}"
        )


def choose(run: str | None, runs_dir: Path) -> Pointer:
    """The live run that is meant: by name, path, or the beginning of its id; without ``run`` the
    only one that lives. UserError where that is none, or not one alone."""
    alive = live()
    if run is None:
        if not alive:
            raise UserError("there is no live run; `ganterm runs` lists what there is")
        return _only(alive, "several runs live")
    path = os.path.realpath(Path(run).expanduser())
    matching = [
        pointer
        for pointer in alive
        if run == Path(pointer.directory).name
        or path == os.path.realpath(pointer.directory)
        or (len(run) >= 4 and pointer.id.startswith(run))
    ]
    if not matching:
        # A name that no run has is told as such; what is left is a run that does not live.
        there = runs.find(run, runs_dir)
        about = _looked_at(there, None)
        why = f"is not live: {about.state} at step {about.step:,}"
        if about.state == "live":
            why = "is live, but cannot be reached: it loads still, or its log says why"
        elif about.state != "unreadable" and runs.newest(there) is not None:
            more = f" --steps {2 * about.step}" if about.state == "finished" else ""
            why += f"; to go on with it: ganterm resume {shlex.quote(clean(run))}{more}"
        raise UserError(f"run '{clean(run, 80)}' {why}; see `ganterm runs`")
    return _only(matching, f"'{clean(run, 80)}' is more than one live run")


def _only(found: list[Pointer], otherwise: str) -> Pointer:
    if len(found) == 1:
        return found[0]
    shown = [f"{clean(pointer.directory)} ({pointer.id[:8]})" for pointer in found]
    raise UserError(f"{otherwise}; give a path or an id:\n{', '.join(shown)}")
