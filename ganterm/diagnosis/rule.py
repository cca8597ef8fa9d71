"""Rules: each judges the measurements of a run and raises one alarm.

A file in ``alarms/`` lists its rules as ``RULES``, which is all it takes to have them applied. All
are applied after every round of exams; those that need no exam also when there are new rows.
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
"""Alarms that the trainer raises itself: a non-finite update, and a full disk."""
EMPTY = Series(np.empty(0, np.int64), np.empty(0, np.float32))


@dataclass(frozen=True)
class Traits:
    """Properties of a run's networks and data that rules depend on.

    ``plane``: whether samples are points of the plane. ``d_kind``: "score" or "autoencoder".
    ``d_batch_norm`` and ``d_sigmoid``: whether D has batch norm, and ends in a sigmoid.
    ``data_range``: smallest and largest value of the data. ``g_range``: the same for what G's last
    layer can return, None if it has no bounds. ``uneven_upsampling``: names of G's transposed
    convolutions whose kernel is no multiple of the stride.
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

    ``medians``: a cache that all records of a run share.
    """

    step: int
    controls: Controls
    history: HistoryView
    diagnosis: Diagnosis
    traits: Traits = Traits()
    medians: Medians = field(default_factory=Medians)

    def series(self, name: str) -> Series:
        """All finite readings of a measure; empty if there are none."""
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
    """The names of the alarms that mean that the networks are unhealthy.

    Neither warnings nor the trainer's alarms about disks and sockets are among them.
    """
    return frozenset({NONFINITE, *(rule.name for rule in rules() if rule.severity == "alarm")})


def alarm_names() -> list[str]:
    """The names of all alarms, those of rules and the trainer's own; warnings are not included."""
    return sorted([*(rule.name for rule in rules() if rule.severity == "alarm"), *TRAINER_ALARMS])


@dataclass(frozen=True)
class Finding:
    """What is wrong, in a plain sentence with its figures.

    ``since``: the step at which it began (None: now). ``certain``: the alarm is raised at once,
    without a second finding.
    """

    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    since: int | None = None
    certain: bool = False


class Rule:
    """Base of all rules.

    Hysteresis: an alarm is raised after ``raise_after`` findings in a row and cleared after
    ``clear_after`` judgements in a row without one. The nth of these counts only (n - 1) *
    ``apart`` or more steps after the first, since judgements close together see the same weights.
    While its alarm is ``raised``, a rule should require a clearly better state before it finds
    nothing.

    ``exams``: whether the rule judges by readings of exams. A rule that does not is also applied
    between rounds, a few times a second. ``measures``: readings that the rule needs and that not
    every round takes; its first finding starts another round at once, in which they are taken.
    ``vital``: no run counts as healthy before this rule could have raised its alarm.
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
        """A Finding if something is wrong, False if all is well, None if that is unknown.

        None (no measurement yet, or NaN) neither raises nor clears the alarm.
        """
        raise NotImplementedError

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """Remedies, the best first: keys and commands that are possible now."""
        return ()
