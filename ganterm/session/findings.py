"""What diagnosis found out about a run, and the alarms it raised; frozen, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganterm.text import clean, clean_data

Floats = NDArray[np.float32]
Steps = NDArray[np.int64]

Severity = Literal["alarm", "warning"]


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
