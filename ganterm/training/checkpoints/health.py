"""Which checkpoints of a run are healthy: those that no alarm about its training speaks against.

An alarm speaks against checkpoints saved while it was raised, and against earlier ones from its
``since`` on, the step at which the trouble began. Alarms about the disk, the socket and the like
say nothing about the networks and do not count. This file imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import Struct

from ganterm.core.events import BRANCHING, AlarmEvent, Event
from ganterm.core.findings import Alarm
from ganterm.core.text import clean
from ganterm.diagnosis.rule import NONFINITE, network_alarms
from ganterm.rundir import reader
from ganterm.rundir.find import CheckpointName, checkpoints, command_from, newest
from ganterm.rundir.jsonfile import MAX_BYTES, validated
from ganterm.system.files import Folder

HEALTHY = "HEALTHY"
"""The pointer file with the name of the newest healthy checkpoint of the newest branch."""


@dataclass(frozen=True)
class Spell:
    """The steps, ``since`` to ``raised`` inclusive, that the alarm ``name`` speaks against.

    It was raised on ``branch``; the steps may reach back into the branches before it.
    """

    name: str
    branch: int
    since: int
    raised: int


@dataclass
class Health:
    """What the alarms of a run say about its checkpoints.

    ``begun`` holds for each branch the branch and step that it began from.
    """

    spells: list[Spell] = field(default_factory=list)
    begun: dict[int, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Path) -> Health:
        """The health of a run by the events in its directory."""
        health = cls()
        for event in reader.all_events(run):
            health.note(event)
        return health

    def note(self, event: Event) -> None:
        """Take an event into account; events must come in their order."""
        if isinstance(event, BRANCHING):
            origin = CheckpointName.parse(event.checkpoint)
            new = event.branch and event.branch not in self.begun
            if new and origin is not None and origin.branch < event.branch:
                self.begun[event.branch] = origin.branch, event.step
        elif isinstance(event, AlarmEvent) and event.raised and event.name in network_alarms():
            self.spells.append(Spell(event.name, event.branch, event.first_step, event.step))

    def against(self, name: CheckpointName) -> list[str]:
        """The names of alarms that speak against a checkpoint though they were raised after it."""
        return [
            spell.name
            for spell in self.spells
            if name.step >= spell.since and self.leads(name, spell.branch, spell.raised)
        ]

    def leads(self, name: CheckpointName, branch: int, step: int) -> bool:
        """Whether a checkpoint lies on the way to a step of a branch."""
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
    """The names of alarms about the training that were raised when a checkpoint was taken.

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
    return [alarm.name for alarm in state.alarms if alarm.name in network_alarms()]


def healthy(run: Path) -> list[CheckpointName]:
    """The healthy checkpoints that lead to the newest one, newest first."""
    there, latest = checkpoints(run), newest(run)
    if latest is None:
        return []
    health = Health.of(run)
    # LATEST names the newest checkpoint of the newest branch, or the one that it begins at.
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
    """The checkpoint that a run is resumed from by default, and a newer one that is passed over.

    That is the newest one, unless updates were not finite when it was taken. Such a state seldom
    recovers, so the newest healthy checkpoint, if there is one, comes before it.
    """
    latest = newest(run)
    if latest is None or NONFINITE not in _against(run, latest):
        return latest, None
    good = next(iter(healthy(run)), None)
    return (latest, None) if good is None else (good, latest)


def _against(run: Path, name: CheckpointName) -> list[str]:
    """All alarms that speak against a checkpoint; those raised when it was taken come first."""
    return [*(alarms_of(run, name) or []), *Health.of(run).against(name)]


def resumption_note(run: Path, chosen: CheckpointName, passed_over: CheckpointName | None) -> str:
    """A line about the checkpoint that a run is resumed from, "" where there is nothing to say.

    ``passed_over`` is a newer one that ``to_resume`` left out, or None.
    """
    if passed_over is not None:
        return (
            f"goes on from {chosen}, the newest healthy checkpoint: an update was not finite at "
            f"{passed_over}; to take that one: {command_from(run, passed_over)}"
        )
    against = _against(run, chosen)
    good = next(iter(healthy(run)), None)
    if not against or good is None or good == chosen:
        return ""
    return (
        f"an alarm speaks against {chosen} ({clean(against[0], 40)}); "
        f"the newest healthy one: {command_from(run, good)}"
    )


def last_good(run: Path, alarms: Iterable[Alarm]) -> str:
    """A line about where to go on from after a run that ended with these ``alarms``.

    "" where none of them is about the training, or where nothing is better than the last state.
    """
    titles = {
        alarm.name: clean(alarm.title, 60) for alarm in alarms if alarm.name in network_alarms()
    }
    if not titles:
        return ""
    good = next(iter(healthy(run)), None)
    text = f"an alarm speaks against the last state ({_first(titles)})"
    if good is not None:
        return f"{text}; the last good one, of step {good.step:,}: {command_from(run, good)}"
    if NONFINITE not in titles:
        return ""
    return f"{text}, and there is no healthy checkpoint: start anew, with lower learning rates"


def _first(titles: Mapping[str, str]) -> str:
    return titles.get(NONFINITE) or next(iter(titles.values()))
