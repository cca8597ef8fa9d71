"""Which checkpoints are kept: the newest, the best, the healthy and the user's own."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from ganterm.core.findings import Alarm, Diagnosis, Remedy
from ganterm.diagnosis.exams.frechet import CFID
from ganterm.rundir.directory import RunDirectory
from ganterm.rundir.find import CheckpointName, checkpoints_in
from ganterm.rundir.jsonfile import MAX_BYTES, validated
from ganterm.system.files import Folder
from ganterm.training.checkpoints.health import HEALTHY, Health, Spell, leading_to
from ganterm.training.checkpoints.resume import Beginning
from ganterm.training.checkpoints.storage import MANIFEST, Manifest
from ganterm.training.progress import Progress

NEWEST = 3
"""Automatic checkpoints that are kept where there is room."""
BEST = "BEST"
"""The pointer file with the name of the best checkpoint."""


@dataclass(frozen=True)
class _Kept:
    name: CheckpointName
    own: bool
    cfid: float | None
    bytes: int


def best_cfid(folder: Folder) -> float | None:
    """The cFID of the best checkpoint of any branch, None where there is none."""
    name = CheckpointName.parse(_pointed(folder, BEST) or "")
    known = None if name is None else _entry(folder, name)
    return None if known is None else known.cfid


def prune(
    folder: Folder, megabytes: int, healthy: CheckpointName | None = None
) -> list[CheckpointName]:
    """Remove automatic checkpoints that are not among the newest three, nor the best one, and then
    the oldest ones until all take no more than ``megabytes``. Returns what was removed.

    Always kept are those that LATEST and HEALTHY name, the newest, the user's own, ``healthy``
    (which HEALTHY is about to name) and damaged ones, which only the user can judge. OSError where
    one cannot be removed.
    """
    there = checkpoints_in(folder)
    kept = [known for name in there if (known := _entry(folder, name)) is not None]
    pointed = {_pointed(folder, "LATEST"), _pointed(folder, HEALTHY), str(healthy)}
    pointed |= {str(known.name) for known in kept[:1]}
    best = _pointed(folder, BEST)
    automatic = [known for known in kept if not known.own]
    surplus = [known for known in automatic[NEWEST:] if str(known.name) not in {*pointed, best}]
    staying = [known for known in kept if known not in surplus]
    removable = [k for k in staying if not k.own and str(k.name) not in pointed]
    # Oldest first, and the best one last of all.
    removable.sort(key=lambda known: (str(known.name) == best, known.name))
    size = sum(known.bytes for known in staying)
    while size > megabytes * 2**20 and removable:
        surplus.append(removable.pop(0))
        size -= surplus[-1].bytes
    for known in surplus:
        _remove(folder, known.name)
    return [known.name for known in surplus]


def _remove(folder: Folder, name: CheckpointName) -> None:
    # Renamed first: if this is interrupted, the next start sweeps such names away.
    gone = f".{name}.{os.getpid()}.tmp"
    folder.rename(str(name), gone)
    folder.remove_tree(gone)


def _entry(folder: Folder, name: CheckpointName) -> _Kept | None:
    try:
        with folder.folder(str(name)) as held:
            manifest = validated(Manifest, held.read(MANIFEST, MAX_BYTES))
    except (OSError, ValueError):
        return None
    size = sum(entry.bytes for entry in manifest.files.values())
    return _Kept(name, manifest.own, manifest.cfid, size)


def _pointed(folder: Folder, pointer: str) -> str | None:
    try:
        return folder.read(pointer, MAX_BYTES).decode(errors="replace").strip()
    except OSError:
        return None


MARGIN = 0.1
"""Share by which a value must lie below the best one. It is twice the noise: rounds of one G have
a standard deviation of up to 5 % (mnist_mlp after 50 to 1,500 steps)."""
PERIOD = 0.5
"""Least time between two best checkpoints, as a share of ``checkpoint_minutes``."""


class BestCheckpoint:
    """Knows the lowest cFID of a written checkpoint; lower is better.

    ``known`` is that of earlier sittings, or None. ``minutes`` is ``checkpoint_minutes``; with 0 no
    best checkpoint is taken. A best value that comes too soon after the last best checkpoint is not
    remembered: otherwise later values would be compared with a checkpoint that was never written.
    Early in a run, when every round is the best so far, the kept one may lag by that time.
    """

    def __init__(self, known: float | None, minutes: float) -> None:
        self._known = known
        self._every = PERIOD * 60 * minutes
        self._not_before = time.monotonic() + self._every

    def value(self, found: Diagnosis) -> float | None:
        """The cFID of a round of exams if a checkpoint should be taken for it, else None."""
        reading = found.readings.get(CFID)
        if not self._every or reading is None or reading.step != found.step:
            return None
        # A comparison with NaN is false.
        better = reading.value < float("inf")
        if self._known is not None:
            better = reading.value < (1 - MARGIN) * self._known
        return reading.value if better and time.monotonic() >= self._not_before else None

    def asked(self) -> None:
        """Note that a checkpoint was asked for; the next one has to wait."""
        self._not_before = time.monotonic() + self._every

    def kept(self, value: float) -> None:
        """Note the cFID of a best checkpoint that is on the disk now."""
        self._known = value


REWIND_KEY = "U"
"""The dashboard's key for going back to a healthy checkpoint."""


class HealthyCheckpoints:
    """The healthy checkpoints of a live run that lead to its present step: those to go back to.

    The run directory's thread writes the newest one's name into the file HEALTHY.
    """

    def __init__(self, directory: RunDirectory, progress: Progress, begin: Beginning) -> None:
        self._directory = directory
        self._progress = progress
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
        """The remedy of going back to before step ``since``; None without such a checkpoint."""
        for name in self._names:
            if name.step < since:
                return Remedy(
                    REWIND_KEY, f"back to the healthy checkpoint of step {name.step:,}, paused"
                )
        return None

    def saved(self, name: CheckpointName) -> None:
        """Note a checkpoint that was taken while no alarm about the training was raised."""
        if not self._health.against(name):
            self._names.insert(0, name)
            self._point()

    def removed(self, names: list[CheckpointName]) -> None:
        """Note that checkpoints were removed."""
        self._names = [name for name in self._names if name not in names]
        self._point()

    def spoken_against(self, alarm: Alarm) -> None:
        """Note an alarm about the training that has just been raised."""
        progress = self._progress
        self._health.spells.append(Spell(alarm.name, progress.branch, alarm.since, progress.step))
        self._names = [name for name in self._names if not self._health.against(name)]
        self._point()

    def gone_back(self, name: CheckpointName) -> None:
        """Note that the run has gone back to a checkpoint, on a branch that begins there."""
        progress = self._progress
        self._health.begun[progress.branch] = name.branch, name.step
        self._names = [
            known
            for known in self._names
            if self._health.leads(known, progress.branch, progress.step)
        ]
        self._point()

    def _point(self) -> None:
        newest = next(iter(self._names), None)
        if newest != self._pointed:
            self._pointed = newest
            self._directory.point(HEALTHY, newest)
