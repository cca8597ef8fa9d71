"""The healthy checkpoints of a live run: those to go back to, and the file that names one."""

from __future__ import annotations

from ganterm.session.findings import Alarm, Remedy
from ganterm.session.health import HEALTHY, Health, Spell, leading_to
from ganterm.session.runs import CheckpointName
from ganterm.training.beginning import Beginning
from ganterm.training.rundir import RunDirectory
from ganterm.training.standing import Standing

REWIND_KEY = "U"


class Healthy:
    """Knows the checkpoints that lead to where the run stands and that no alarm speaks against.

    The file HEALTHY names the newest of them, once the run directory's thread has written it.
    """

    def __init__(self, directory: RunDirectory, standing: Standing, begin: Beginning) -> None:
        self._directory = directory
        self._standing = standing
        self._health = Health.of(directory.path)
        origin = begin.checkpoint
        if origin is not None and begin.discards:
            self._health.begun[begin.branch] = origin.branch, origin.step
        self._names = leading_to(directory.path, self._health, begin.branch, begin.step)
        self._pointed = next(iter(self._names), None)
        if origin is not None:
            directory.point(HEALTHY, self._pointed)

    @property
    def newest(self) -> CheckpointName | None:
        """The newest one, None where there is none."""
        return self._pointed

    def candidates(self) -> list[CheckpointName]:
        """All of them, newest first."""
        return list(self._names)

    def way_back(self, since: int) -> Remedy | None:
        """What goes back to before step ``since``; None where there is no such checkpoint."""
        for name in self._names:
            if name.step < since:
                return Remedy(
                    REWIND_KEY, f"back to the healthy checkpoint of step {name.step:,}, paused"
                )
        return None

    def saved(self, name: CheckpointName) -> None:
        """Note a checkpoint that was taken while no alarm spoke against the training."""
        if not self._health.against(name):
            self._names.insert(0, name)
            self._point()

    def removed(self, names: list[CheckpointName]) -> None:
        """Note that checkpoints are there no more."""
        self._names = [name for name in self._names if name not in names]
        self._point()

    def spoken_against(self, alarm: Alarm) -> None:
        """Note an alarm about the training that is raised now."""
        standing = self._standing
        self._health.spells.append(Spell(alarm.name, standing.branch, alarm.since, standing.step))
        self._names = [name for name in self._names if not self._health.against(name)]
        self._point()

    def gone_back(self, name: CheckpointName) -> None:
        """Note that the run stands at a checkpoint again, on a branch that begins there."""
        standing = self._standing
        self._health.begun[standing.branch] = name.branch, name.step
        self._names = [
            known
            for known in self._names
            if self._health.leads(known, standing.branch, standing.step)
        ]
        self._point()

    def _point(self) -> None:
        newest = next(iter(self._names), None)
        if newest != self._pointed:
            self._pointed = newest
            self._directory.point(HEALTHY, newest)
