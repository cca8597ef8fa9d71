"""Rules: each judges the measurements of a run and raises one alarm, in plain words.

A file of ``alarms/`` lists its rules as ``RULES``. All are applied after every round of exams.
Those that need no exam are also applied when new rows have come in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ganterm.core.controls import Controls
from ganterm.core.findings import Diagnosis, Remedy, Series, Severity, Steps
from ganterm.core.history import HistoryView
from ganterm.core.registry import gathered
from ganterm.diagnosis.medians import Medians

NONFINITE = "nonfinite"
TRAINER_ALARMS = (NONFINITE, "recording")
"""Alarms that the trainer raises itself: an update that is not finite, and a full disk."""
EMPTY = Series(np.empty(0, np.int64), np.empty(0, np.float32))


@dataclass(frozen=True)
class Traits:
    """The properties of a run's networks and data on which known traps depend.

    ``d_kind``: "score" or "autoencoder". ``data_range``, ``g_range``: smallest and largest value of
    the data, and of what G's last layer can return (None where it has no bounds).
    ``uneven_upsampling``: names of transposed convolutions whose kernel is no multiple of the
    stride.
    """

    plane: bool = False
    d_kind: str = "score"
    d_batch_norm: bool = False
    d_sigmoid: bool = False
    data_range: tuple[float, float] = (-1.0, 1.0)
    g_range: tuple[float, float] | None = (-1.0, 1.0)
    uneven_upsampling: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Record:
    """Everything that a rule can read when it judges after ``step``.

    ``medians``: medians of the history's rows, kept from one record of a run to the next.
    """

    step: int
    controls: Controls
    history: HistoryView
    diagnosis: Diagnosis
    traits: Traits = Traits()
    medians: Medians = field(default_factory=Medians)

    def series(self, name: str) -> Series:
        """All finite readings of a measure; empty where there are none."""
        steps, values = self.diagnosis.series.get(name, EMPTY)
        finite = np.isfinite(values)
        return Series(steps[finite], values[finite])

    def newest(self, name: str) -> float:
        """The newest reading of a measure; NaN without one."""
        reading = self.diagnosis.readings.get(name)
        return float("nan") if reading is None else reading.value

    def rows(self, metric: str, count: int) -> tuple[Steps, NDArray[np.float32]]:
        """The newest ``count`` rows of a per-step metric; non-finite values are NaN."""
        return self.history.newest(metric, count)


def rules() -> list[Rule]:
    """The rules of all alarms; loads no torch."""
    from ganterm.diagnosis import alarms

    return gathered(alarms, "RULES")


@cache
def network_alarms() -> frozenset[str]:
    """The names of the alarms that say that the networks are unhealthy.

    Warnings are not among them, nor the trainer's own alarms about disks and sockets.
    """
    return frozenset({NONFINITE, *(rule.name for rule in rules() if rule.severity == "alarm")})


def alarm_names() -> list[str]:
    """The alarms on which a run can be ended: those of the rules, and the trainer's own."""
    return sorted([*(rule.name for rule in rules() if rule.severity == "alarm"), *TRAINER_ALARMS])


@dataclass(frozen=True)
class Finding:
    """What is wrong: a plain sentence, its figures, and the step it began at (None: now).

    ``certain``: the alarm is raised at once, without a second finding.
    """

    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    since: int | None = None
    certain: bool = False


class Rule:
    """Base of all rules.

    Hysteresis: an alarm is raised after ``raise_after`` findings in a row and cleared after
    ``clear_after`` judgements in a row that find nothing. The nth of them counts only (n - 1) *
    ``apart`` or more steps after the first, since judgements close together see the same weights.
    While its alarm is ``raised``, a rule should require a clearly better state before it finds
    nothing.

    ``exams``: whether it judges by readings of exams. A rule that does not is also applied between
    rounds, a few times a second. ``measures``: readings it judges by that are not taken in every
    round; its first finding calls for another round at once, in which they are taken. ``vital``: no
    run counts as healthy before this rule could have raised its alarm.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    severity: ClassVar[Severity] = "alarm"
    raise_after: ClassVar[int] = 2
    clear_after: ClassVar[int] = 2
    apart: ClassVar[int] = 0
    exams: ClassVar[bool] = True
    measures: ClassVar[tuple[str, ...]] = ()
    vital: ClassVar[bool] = False

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """A Finding where something is wrong, False where all is well, None where it is unknown.

        None (no measurement yet, or NaN) neither raises nor clears.
        """
        raise NotImplementedError

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """Remedies, the best first; each is a key or a command that works now."""
        return ()
