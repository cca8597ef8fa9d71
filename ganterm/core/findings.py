"""The results of diagnosis: readings, modes, scores, layers and alarms. Frozen, no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganterm.core.text import clean, clean_data

Floats = NDArray[np.float32]
Steps = NDArray[np.int64]

Severity = Literal["alarm", "warning"]

A_MODE = 4
"""Samples that are counted for each mode of the data, where there are very many modes."""


class Measure(NamedTuple):
    """The meaning of a reading: its title, its unit ("%", "" for none) and one sentence."""

    title: str
    unit: str
    help: str


class Reading(NamedTuple):
    """A measured value, and the step of the networks that were measured."""

    value: float
    step: int


class Series(NamedTuple):
    """All readings of one measure: increasing int64 steps and float32 values, both (n,)."""

    steps: Steps
    values: Floats


@dataclass(frozen=True, eq=False)
class Modes:
    """How G's samples at ``step`` are distributed over the m modes of the data.

    ``shares`` and ``expected``, float32 (m,), are the shares of G's samples and of the data; each
    adds up to 1. ``found``, bool (m,), says whether G makes a mode often enough to count.
    ``samples``: the number of samples counted. ``kind``: "digit", "class" or "mode".
    """

    step: int
    names: tuple[str, ...]
    shares: Floats
    expected: Floats
    found: NDArray[np.bool_]
    samples: int
    kind: str = "class"

    @property
    def kinds(self) -> str:
        """The plural of ``kind``, such as "digits" or "classes"."""
        return f"{self.kind}es" if self.kind.endswith("s") else f"{self.kind}s"

    @property
    def missing(self) -> int:
        """The number of modes not found; 0 where so many may be missing by chance.

        Of n samples of the data, the expected number of missing modes is the sum of
        (1 - share) ** n. More than three standard deviations above it are not chance.
        """
        gone = int(np.count_nonzero(~self.found))
        count = max(self.samples, A_MODE * len(self.names))
        chance = float(((1 - self.expected.astype(np.float64)).clip(0) ** count).sum())
        return gone if gone > chance + 3 * math.sqrt(chance) else 0


@dataclass(frozen=True, eq=False)
class ModeTrail:
    """The shares of the modes over time: increasing steps (t,) and shares (t, m)."""

    steps: Steps
    shares: Floats


@dataclass(frozen=True, eq=False)
class Scores:
    """Histograms of D's raw scores: ``edges`` (b + 1,), and counts (b,) of reals and fakes.

    ``held_out``: counts of reals that D is never trained on; None where there are none.
    """

    step: int
    edges: Floats
    real: NDArray[np.int64]
    fake: NDArray[np.int64]
    held_out: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Layer:
    """A layer of G or D: the norms of its gradient and weights, and its share of dead units (0..1).

    ``dead`` is NaN where it is not measured.
    """

    network: Literal["G", "D"]
    name: str
    grad_norm: float
    weight_norm: float
    dead: float = float("nan")


@dataclass(frozen=True, eq=False)
class Surface:
    """D's raw scores over the plane, (rows, columns), with the largest y in the first row.

    ``extent``: left, right, bottom, top. ``threshold``: the score above which D takes a point for
    real; None where the loss has none.
    """

    step: int
    scores: Floats
    extent: tuple[float, float, float, float]
    threshold: float | None = None


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """All results of diagnosis on a run, each with the step it was measured at.

    ``measures``: the meaning of each reading, by its name. ``series``: the past of each reading.
    ``cost``: the share of training time that diagnosis has taken so far, 0..1. ``note``: what a
    reader must know, such as the accuracy of the classifier that counts the modes.
    """

    step: int = 0
    measures: Mapping[str, Measure] = field(default_factory=dict)
    readings: Mapping[str, Reading] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)
    modes: Modes | None = None
    mode_trail: ModeTrail | None = None
    scores: Scores | None = None
    layers: tuple[Layer, ...] = ()
    surface: Surface | None = None
    cost: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Outlook:
    """How much can be said of a run while no alarm is raised.

    ``sure``: every rule that a healthy run must pass could have raised its alarm by now. ``late``:
    the newest round of exams is too old, or is from before a resume. ``doubt``: the title of an
    alarm with a first finding, which is checked again before the alarm is raised; else "".
    """

    sure: bool = False
    late: bool = False
    doubt: str = ""


class Remedy(NamedTuple):
    """Something to try: ``press`` is a key ("k") or a line of the `:` prompt (":r1 0.1"), and
    ``does`` says what it does."""

    press: str
    does: str


@dataclass(frozen=True)
class Alarm:
    """Something that is wrong with the run.

    ``since``: the first step at which it shows; ``raised``: the step at which the alarm was
    raised. ``message``: one sentence; ``evidence``: the figures behind it; ``remedies``: what to
    try, best first.
    """

    name: str
    title: str
    message: str
    since: int
    raised: int
    severity: Severity = "alarm"
    evidence: Mapping[str, Any] = field(default_factory=dict)
    remedies: tuple[Remedy, ...] = ()

    def cleaned(self) -> Alarm:
        """The same alarm with its texts made safe to show, for an alarm from outside.

        ValueError where its evidence is nested too deeply.
        """
        return replace(
            self,
            name=clean(self.name, 40),
            title=clean(self.title),
            message=clean(self.message, 600),
            evidence=clean_data(dict(self.evidence)),
            remedies=tuple(Remedy(clean(r.press), clean(r.does)) for r in self.remedies),
        )
