"""What diagnosis found out about a run, and the alarms it raised; frozen, no torch."""

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
"""Samples looked at for each mode, where there are very many modes."""


class Measure(NamedTuple):
    """What a reading means, in words: its title, its unit ("%", "" for none) and one sentence."""

    title: str
    unit: str
    help: str


class Reading(NamedTuple):
    """A value, and the step whose networks were measured."""

    value: float
    step: int


class Series(NamedTuple):
    """All readings of one measure: int64 steps, rising, and float32 values, both (n,)."""

    steps: Steps
    values: Floats


@dataclass(frozen=True, eq=False)
class Modes:
    """How the samples of ``step`` fall on the modes of the data.

    ``shares`` and ``expected``, float32 (m,), each adding up to 1: G's, and the data's. ``found``,
    bool (m,): whether G makes any to speak of. ``samples``: how many were counted. ``kind``: what
    a mode is here, "digit", "class" or "mode".
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
        """What several modes are called: "digits", "classes"."""
        return f"{self.kind}es" if self.kind.endswith("s") else f"{self.kind}s"

    @property
    def missing(self) -> int:
        """How many modes are not found; 0 where as many samples of the data may leave out as many.

        The number that n samples of the data leave out is the sum of (1 - share) ** n in the mean,
        and within three of its standard deviations nearly always.
        """
        gone = int(np.count_nonzero(~self.found))
        count = max(self.samples, A_MODE * len(self.names))
        chance = float(((1 - self.expected.astype(np.float64)).clip(0) ** count).sum())
        return gone if gone > chance + 3 * math.sqrt(chance) else 0


@dataclass(frozen=True, eq=False)
class ModeTrail:
    """The shares of the modes over time: steps (t,) rising, shares (t, m)."""

    steps: Steps
    shares: Floats


@dataclass(frozen=True, eq=False)
class Scores:
    """Histograms of D's raw scores: ``edges`` (b + 1,), and counts (b,) of reals and fakes.

    ``held_out``: counts of reals that D was never shown, or None.
    """

    step: int
    edges: Floats
    real: NDArray[np.int64]
    fake: NDArray[np.int64]
    held_out: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Layer:
    """A layer of G or D: the norms of its gradient and its weights, and its dead units' share."""

    network: Literal["G", "D"]
    name: str
    grad_norm: float
    weight_norm: float
    dead: float = float("nan")


@dataclass(frozen=True, eq=False)
class Surface:
    """D's raw scores over the plane: (rows, columns), the first row at the top (largest y).

    ``extent``: left, right, bottom, top. ``threshold``: the score at which D takes a point for
    real, None where the loss has none.
    """

    step: int
    scores: Floats
    extent: tuple[float, float, float, float]
    threshold: float | None = None


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """All that is known of a run, each value with the step it was measured at.

    ``measures``: what the run's readings mean, by name. ``series``: a reading's past. ``cost``:
    the share of training time that diagnosis took so far, 0..1. ``note``: what must be known to
    read it, such as how good the classifier is that tells modes apart.
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
    """What may be said of a run of which no alarm is raised.

    ``sure``: the rules that a healthy run has to pass could have raised their alarms by now.
    ``late``: the newest round of exams is too old to speak for the run, or was taken before it was
    resumed. ``doubt``: the title of an alarm of which there is a first finding, to be looked at
    again before it is raised; "" without any.
    """

    sure: bool = False
    late: bool = False
    doubt: str = ""


class Remedy(NamedTuple):
    """Something to try: ``press``, a key ("k") or what follows the prompt's colon (":r1 0.1")."""

    press: str
    does: str


@dataclass(frozen=True)
class Alarm:
    """Something that is wrong with the run.

    ``since``: the step from which on it was seen; ``raised``: the step at which it was told.
    ``message``: a plain sentence; ``evidence``: the figures behind it; ``remedies``: what to try,
    best first.
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
        """The same alarm, from outside, with its texts safe to show.

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
