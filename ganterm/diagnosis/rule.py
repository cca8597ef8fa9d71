"""What an alarm's rule is: it judges what was measured, and says what is wrong in plain words.

A file of ``diagnosis/alarms`` that lists its rules as ``RULES`` has them applied after every round
of exams, and those that need no exam also whenever new rows have come in.
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
"""Alarms of the trainer itself: an update that was not finite, and a disk that takes nothing."""
EMPTY = Series(np.empty(0, np.int64), np.empty(0, np.float32))


@dataclass(frozen=True)
class Traits:
    """What a run's networks and data are, as far as a known trap depends on it.

    ``d_kind``: "score" or "autoencoder". ``data_range``, ``g_range``: the smallest and largest
    value of the data, and of what G's last layer can give (None where it has no bounds).
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
    """All that a rule may know when it judges after ``step``.

    ``medians``: those of the history's rows that earlier records of the same run have looked at.
    """

    step: int
    controls: Controls
    history: HistoryView
    diagnosis: Diagnosis
    traits: Traits = Traits()
    medians: Medians = field(default_factory=Medians)

    def series(self, name: str) -> Series:
        """All readings of a measure that are finite; empty where there are none."""
        steps, values = self.diagnosis.series.get(name, EMPTY)
        finite = np.isfinite(values)
        return Series(steps[finite], values[finite])

    def newest(self, name: str) -> float:
        """The newest reading of a measure; NaN without one."""
        reading = self.diagnosis.readings.get(name)
        return float("nan") if reading is None else reading.value

    def rows(self, metric: str, count: int) -> tuple[Steps, NDArray[np.float32]]:
        """The newest ``count`` rows of a per-step metric, non-finite ones included as NaN."""
        return self.history.newest(metric, count)


def rules() -> list[Rule]:
    """All alarms' rules; loads no torch."""
    from ganterm.diagnosis import alarms

    return gathered(alarms, "RULES")


@cache
def network_alarms() -> frozenset[str]:
    """The alarms, by name, that speak against the networks as they are: no warning, and none of
    the trainer's own about disks, sockets and the like."""
    return frozenset({NONFINITE, *(rule.name for rule in rules() if rule.severity == "alarm")})


def alarm_names() -> list[str]:
    """The alarms that a run can be ended on: those of the rules, and the trainer's own."""
    return sorted([*(rule.name for rule in rules() if rule.severity == "alarm"), *TRAINER_ALARMS])


@dataclass(frozen=True)
class Finding:
    """Something wrong: a plain sentence, its figures, and the step it began at (None: now).

    ``certain``: the alarm is raised without another look.
    """

    message: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    since: int | None = None
    certain: bool = False


class Rule:
    """Base of all alarms' rules.

    Hysteresis: an alarm is raised after ``raise_after`` judgements in a row that found something,
    and cleared after ``clear_after`` in a row that found nothing. The nth of them counts at least
    (n - 1) * ``apart`` steps after the first, since judgements that follow at once say the same of
    the same weights. A rule that is told that its alarm is ``raised`` should ask for a clearly
    better state before it finds nothing.

    ``exams``: whether it judges by readings. A rule that does not is also asked between rounds, a
    few times a second. ``measures``: readings that it judges by, beside those of every round; their
    exams are taken too where its first finding calls for another round at once. ``vital``: no run
    is called healthy before this rule could have raised its alarm.
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
        """A Finding; False where all is well; None where that cannot be told.

        None (no measurement yet, or NaN) neither raises nor clears.
        """
        raise NotImplementedError

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """What to try, best first; each a key or a command that works now."""
        return ()
