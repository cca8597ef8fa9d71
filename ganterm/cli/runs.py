"""The list of runs: those in a folder, and all live ones, wherever they are."""

from __future__ import annotations

import os
import shlex
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from ganterm.core.errors import UserError
from ganterm.core.snapshot import ENDED
from ganterm.core.text import clean
from ganterm.rundir import find
from ganterm.rundir.columns import ColumnFiles
from ganterm.rundir.lock import holder, is_live
from ganterm.session.address import Pointer, pointers, sweep
from ganterm.session.peers import is_over
from ganterm.system.folders import expanded
from ganterm.training.checkpoints import health

_STEP = struct.Struct("<q")


@dataclass(frozen=True)
class RunEntry:
    """A run in the list.

    ``state``: live, finished, stopped, failed, crashed, or unreadable; ``problem`` says why it is
    unreadable. ``created``: ISO 8601.
    """

    name: str
    state: str
    step: int
    preset: str
    created: str
    directory: str
    id: str = ""
    pid: int | None = None
    problem: str = ""

    def table(self) -> dict[str, object]:
        """The run as JSON; bytes of a file name that are not UTF-8 are replaced."""
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
    """The pointers to live runs; removes those of dead ones."""
    return [
        pointer for pointer in pointers() if is_live(Path(pointer.directory)) or not sweep(pointer)
    ]


def all_runs(runs_dir: Path) -> list[RunEntry]:
    """The runs in a folder and the live ones, oldest first, broken ones included.

    UserError where the folder itself cannot be read.
    """
    pids = {_real(pointer.directory): pointer.pid for pointer in live()}
    folders = {_real(path) for path in find.inside(runs_dir)}
    listing = [_entry(Path(path), pids.get(path)) for path in folders | pids.keys()]
    return sorted(listing, key=lambda run: (run.created, run.name))


def _real(path: str | Path) -> str:
    try:
        return os.path.realpath(path)
    except OSError:
        # A link was removed while it was followed.
        return os.path.abspath(path)  # noqa: PTH100 - it needs no file system


def _entry(run: Path, pid: int | None) -> RunEntry:
    try:
        about = find.about(run)
    except UserError as error:
        return RunEntry(run.name, "unreadable", 0, "", "", str(run), pid=pid, problem=str(error))
    alive = pid is not None or is_live(run)
    state = "live" if alive else about.state if about.state in ENDED else "crashed"
    step = about.step if state in ENDED and about.step is not None else _newest_step(run)
    return RunEntry(run.name, state, step, about.preset, about.created, str(run), about.id, pid)


def _newest_step(run: Path) -> int:
    """The step of the last row on the disk, 0 where none can be read."""
    try:
        return ColumnFiles(run).newest_step()
    except UserError:
        return 0


def lines(listing: list[RunEntry]) -> Iterator[str]:
    """The list in aligned columns below a header."""
    rows = [("NAME", "STATE", "STEP", "PRESET", "BEGAN", "DIRECTORY")]
    rows += [
        (
            clean(run.name, 64),
            run.state,
            "-" if run.problem else f"{run.step:,}",
            clean(run.preset, 40) or "-",
            run.when,
            clean(run.problem or run.directory, 400),
        )
        for run in listing
    ]
    name, state, step, preset, when = (max(len(row[i]) for row in rows) for i in range(5))
    for row in rows:
        yield (
            f"{row[0]:<{name}}  {row[1]:<{state}}  {row[2]:>{step}}  {row[3]:<{preset}}  "
            f"{row[4]:<{when}}  {row[5]}"
        )


def choose(run: str | None, runs_dir: Path) -> Pointer:
    """The live run with this name or path, or the only one whose name or id begins so.

    Without ``run``, the only live one. UserError where there is none, or more than one.
    """
    alive = live()
    if run is None:
        if not alive:
            raise UserError("there is no live run; `ganterm runs` lists all runs")
        return _only(alive, "several runs are live")
    matching = _matching(run, alive)
    if not matching:
        # `find` raises where there is no such run. This one exists and is not live.
        there = find.find(run, runs_dir)
        about = _entry(there, None)
        if about.problem:
            raise UserError(about.problem)
        why = f"is not live: {about.state} at step {about.step:,}"
        if about.state == "live":
            why = "is live, but cannot be reached: it is still loading, or its log says why"
        elif checkpoint_to_resume(there) is not None:
            more = f" --steps {2 * about.step}" if about.state == "finished" else ""
            why += f"; to go on with it: ganterm resume {shlex.quote(clean(run))}{more}"
        raise UserError(f"run '{clean(run, 80)}' {why}; see `ganterm runs`")
    return _only(matching, f"'{clean(run, 80)}' is more than one live run")


def at_rest(run: str, runs_dir: Path) -> Path:
    """The directory of a run that no process trains, by the words that ``find.find`` takes.

    UserError for a live one, with its place and how to attach to it.
    """
    try:
        there = find.find(run, runs_dir)
    except UserError:
        elsewhere = _matching(run, live())
        if not elsewhere:
            raise
        there = Path(_only(elsewhere, f"'{clean(run, 80)}' is more than one live run").directory)
    refuse_live(there)
    return there


def refuse_live(run: Path) -> None:
    """UserError where a process trains the run, with its number and how to attach to it."""
    process = holder(run)
    if process is None:
        return
    if process.elsewhere:
        raise process.refusal(run)
    where = f"run '{clean(run.name)}' is live, in {clean(run.absolute())} (process {process.pid})"
    raise UserError(f"{where}\n{how_to_reach(process.pid)[0]}")


def how_to_reach(pid: int) -> tuple[str, ...]:
    """The commands, for any folder, that attach to a live run and that stop it, a line each."""
    there = pointers()
    pointer = next((pointer for pointer in there if pointer.pid == pid), None)
    if pointer is None and is_over(pid):
        return ("it has ended already; `ganterm runs` shows how",)
    if pointer is None:
        return (f"it cannot be attached to; to save and end it: kill -TERM {pid}",)
    name = Path(pointer.directory).name
    alone = sum(Path(other.directory).name == name for other in there) == 1
    label = name if alone else pointer.id[:8]
    return (
        f"to watch and steer it: ganterm attach {label}",
        f"to stop and save it: ganterm stop {label}",
    )


def _matching(run: str, alive: list[Pointer]) -> list[Pointer]:
    """The live runs with this name or path; without any, those whose name or id begins so."""
    path = _real(expanded(run))
    exact = [
        pointer
        for pointer in alive
        if run == Path(pointer.directory).name or path == _real(pointer.directory)
    ]
    beginning = (p for p in alive if find.begins(run, Path(p.directory).name, p.id))
    return exact or list(beginning)


def checkpoint_to_resume(run: Path) -> find.CheckpointName | None:
    """The checkpoint to resume from, None where there is none or the folder cannot be read."""
    try:
        return health.to_resume(run)[0]
    except (OSError, UserError):
        return None


def _only(matching: list[Pointer], otherwise: str) -> Pointer:
    if len(matching) == 1:
        return matching[0]
    shown = [f"{clean(pointer.directory)} ({pointer.id[:8]})" for pointer in matching]
    raise UserError(f"{otherwise}; give a path or an id:\n{', '.join(shown)}")
