"""Which checkpoints of a run are healthy: those that no alarm of its training speaks against.

An alarm speaks against what was saved while it was raised, and against what was saved before that
but after what it is about had begun, which is its ``since``. Alarms about the disk, the socket and
the like say nothing of the networks and do not count. No torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import Struct

from ganterm.core.events import BRANCHING, AlarmEvent, Event
from ganterm.core.findings import Alarm
from ganterm.core.text import clean
from ganterm.diagnosis.rule import NONFINITE, illnesses
from ganterm.launch import Launch
from ganterm.rundir import reader
from ganterm.rundir.find import CheckpointName, checkpoints, command_from, newest
from ganterm.rundir.jsonfile import MAX_BYTES, validated
from ganterm.system.files import Folder

HEALTHY = "HEALTHY"
"""The file that names the newest healthy checkpoint of the newest branch."""


@dataclass(frozen=True)
class Spell:
    """The steps ``since`` to ``raised``, both included, that the alarm ``name`` speaks against.

    ``branch``: the one it was raised on. The steps reach back into those that this one began from.
    """

    name: str
    branch: int
    since: int
    raised: int


@dataclass
class Health:
    """What the alarms of a run say of its checkpoints.

    ``begun``: of each branch, the branch and the step that it began from.
    """

    spells: list[Spell] = field(default_factory=list)
    begun: dict[int, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Path) -> Health:
        """What the events of a run directory say; nothing where there are none."""
        health = cls()
        for event in reader.all_events(run):
            health.note(event)
        return health

    def note(self, event: Event) -> None:
        """Add what an event says, if anything; events come in their order."""
        if isinstance(event, BRANCHING):
            origin = CheckpointName.parse(event.checkpoint)
            new = event.branch and event.branch not in self.begun
            if new and origin is not None and origin.branch < event.branch:
                self.begun[event.branch] = origin.branch, event.step
        elif isinstance(event, AlarmEvent) and event.raised and event.name in illnesses():
            self.spells.append(Spell(event.name, event.branch, event.first_step, event.step))

    def against(self, name: CheckpointName) -> list[str]:
        """The alarms, by name, that were raised after a checkpoint but speak against it."""
        return [
            spell.name
            for spell in self.spells
            if name.step >= spell.since and self.leads(name, spell.branch, spell.raised)
        ]

    def leads(self, name: CheckpointName, branch: int, step: int) -> bool:
        """Whether a run that stands at a step of a branch has come by a checkpoint."""
        return any(
            name.branch == passed and name.step <= last for passed, last in self._path(branch, step)
        )

    def _path(self, branch: int, step: int) -> Iterator[tuple[int, int]]:
        """The branches that lead to a step of a branch, newest first, each with its last step."""
        yield branch, step
        while branch in self.begun:
            branch, begun_at = self.begun[branch]
            step = min(step, begun_at)
            yield branch, step


class _Raised(Struct, frozen=True):
    name: str


class _State(Struct, frozen=True):
    format: int
    alarms: list[_Raised]


def alarms_of(run: Path, name: CheckpointName) -> list[str] | None:
    """The alarms of the training that were raised when a checkpoint was taken, by name.

    None where its state cannot be read.
    """
    try:
        with (
            Folder.at(run) as directory,
            directory.folder("checkpoints") as there,
            there.folder(str(name)) as folder,
        ):
            state = validated(_State, folder.read("state.json", MAX_BYTES))
    except (OSError, ValueError):
        return None
    return [alarm.name for alarm in state.alarms if alarm.name in illnesses()]


def healthy(run: Path) -> list[CheckpointName]:
    """The healthy checkpoints that lead to the newest one, newest first."""
    there, latest = checkpoints(run), newest(run)
    if latest is None:
        return []
    health = Health.of(run)
    # What is named by LATEST is where the newest branch stands or begins.
    branch = max([latest.branch, *health.begun])
    step = max([latest.step, *(name.step for name in there if name.branch == branch)])
    return leading_to(run, health, branch, step)


def leading_to(run: Path, health: Health, branch: int, step: int) -> list[CheckpointName]:
    """The healthy checkpoints that lead to a step of a branch, newest first."""
    return [
        name
        for name in checkpoints(run)
        if health.leads(name, branch, step)
        and alarms_of(run, name) == []
        and not health.against(name)
    ]


def to_resume(run: Path) -> tuple[CheckpointName | None, CheckpointName | None]:
    """The checkpoint that a run goes on from by itself, and a newer one that it passes over.

    That is the newest one, unless an update was not finite when it was taken: such a state seldom
    recovers, so the newest healthy one is taken where there is any.
    """
    latest = newest(run)
    if latest is None or NONFINITE not in _against(run, latest):
        return latest, None
    good = next(iter(healthy(run)), None)
    return (latest, None) if good is None else (good, latest)


def _against(run: Path, name: CheckpointName) -> list[str]:
    """All alarms that speak against a checkpoint, those that were raised at its time first."""
    return [*(alarms_of(run, name) or []), *Health.of(run).against(name)]


def of_resumption(launch: Launch) -> str:
    """What to know about the checkpoint that a run goes on from, in one line; "" for nothing."""
    run = launch.runs_dir / launch.run_name
    taken, passed_over = map(CheckpointName.parse, (launch.checkpoint, launch.passed_over))
    assert taken is not None
    if passed_over is not None:
        return (
            f"goes on from {taken}, the newest healthy checkpoint: an update was not finite at "
            f"{passed_over}; to take that one: {command_from(run, passed_over)}"
        )
    against = _against(run, taken)
    good = next(iter(healthy(run)), None)
    if not against or good is None or good == taken:
        return ""
    return (
        f"an alarm speaks against {taken} ({clean(against[0], 40)}); "
        f"the newest healthy one: {command_from(run, good)}"
    )


def last_good(run: Path, alarms: Iterable[Alarm]) -> str:
    """Where to go on from after a run that ended with these ``alarms``, in one line.

    "" where none of them is about the training, or where nothing is better than the last state.
    """
    titles = {alarm.name: clean(alarm.title, 60) for alarm in alarms if alarm.name in illnesses()}
    if not titles:
        return ""
    good = next(iter(healthy(run)), None)
    said = f"an alarm speaks against the last state ({_first(titles)})"
    if good is not None:
        return f"{said}; the last good one, of step {good.step:,}: {command_from(run, good)}"
    if NONFINITE not in titles:
        return ""
    return f"{said}, and there is no healthy checkpoint: start anew, with lower learning rates"


def _first(titles: Mapping[str, str]) -> str:
    return titles.get(NONFINITE) or next(iter(titles.values()))
