"""Alarm: mode collapse. Samples have few of the data's modes, or are nearly all alike.

The measure depends on the data. Pictures with labels: G's histogram over the modes. Points: their
Vendi score, since points narrowly miss the modes while G learns. Pictures without labels: their
coverage of the data in a fixed network's features, and their Vendi score relative to its past,
since the score takes thousands of steps to rise and differs between data sets.

Thresholds were chosen on one half of the runs of ``ganterm.bench.alarms``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ganterm.core.findings import Modes, Remedy, Series, Steps
from ganterm.diagnosis.remedies import (
    add_r1,
    available,
    halve_rate,
    lower,
    set_to,
    slow_g,
    switch,
)
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.trends import STEPS_PER_ROUND, lasting_since, recent, rounds_ago

WARM_UP = 500
"""Steps before which the samples of an untrained G may be all alike."""
APART = 50
"""Fewest steps between two findings. A healthy G may have few modes for a moment, but none of the
recorded ones had few modes twice, this far apart.
"""
UNLIKE_DATA = 1.8
"""Least distance of samples to the data, as a multiple of that of reals, at which they show nothing
yet. Good digits have 1.2, noise 2 and more.
"""


class Bounds(NamedTuple):
    """When a measure means collapse.

    A value of at most ``poor`` is a collapse; above ``rich`` the collapse is over. ``poor_share``
    and ``rich_share`` are the same bounds as shares of the best value so far; the larger bound
    holds (0: no such bound). A G that was never above ``poor`` is still learning, not collapsed,
    if the value is at least ``rising`` times that of ``rounds`` rounds before.
    """

    poor: float
    rich: float
    rising: float = math.inf
    rounds: int = 3
    poor_share: float = 0.0
    rich_share: float = 0.0


SHARE_OF_MODES = Bounds(0.5, 0.65, rising=1.5)
"""Bounds on exp(-KL), the effective fraction of the data's modes."""
VARIETY_OF_POINTS = Bounds(60, 75)
"""Bounds on the Vendi score in % of that of reals; half of the modes gives 50 to 65."""
VARIETY_OF_PICTURES = Bounds(20, 30, rising=1.15, rounds=5, poor_share=0.6, rich_share=0.75)
"""Bounds on the Vendi score of pictures, in % of that of reals. Good digits have 30 after 500 steps
and 60 to 80 in the end, and never lost an eighth of their best value. Collapses fell to a third of
it or less.
"""
COVERAGE = Bounds(30, 45, rising=1.15, rounds=5, poor_share=0.5, rich_share=0.65)
"""Bounds on the coverage in %: 50 to 96 in healthy runs from step 500 on, at most 50 in collapsed
ones. Coverage also finds a G that makes noise, and one that makes few but varied kinds of pictures.
"""
DISTANCE = Bounds(45, 60, rising=1.1, rounds=5)
"""Bounds on the mean distance, in % of that of reals, for runs without a Vendi score."""


class Evidence(NamedTuple):
    """A series to judge, its bounds, and its key in the alarm's evidence."""

    series: Series
    bounds: Bounds
    key: str


class Collapse(Rule):
    """Half of the modes or more are lost, or samples are nearly all alike."""

    name = "collapse"
    title = "Mode collapse"
    apart = APART
    vital = True

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge the measures that fit the data; see the module."""
        verdicts = [
            self._verdict(record, evidence, raised)
            for evidence in self._evidence(record)
            if record.step >= WARM_UP and evidence.series.steps[-1] == record.diagnosis.step
        ]
        for verdict in verdicts:
            if isinstance(verdict, Finding):
                return verdict
        return False if False in verdicts else None

    def _verdict(self, record: Record, evidence: Evidence, raised: bool) -> Finding | bool | None:
        (steps, values), bounds, _ = evidence
        best = _best(steps, values)
        bound = max(bounds.poor, bounds.poor_share * best)
        if raised:
            bound = max(bounds.rich, bounds.rich_share * best)
        poor = values <= bound
        if not poor[-1]:
            return False
        if not raised and _still_spreads(steps, values, bounds):
            return None
        return self._finding(record, evidence, int(steps[lasting_since(poor, 1) or 0]))

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """Slow a G that runs ahead; then controls that act at once; then another loss."""
        controls = record.controls
        g_ahead = controls.l > controls.k
        weight = None
        if controls.loss == "wgan_gp" and record.traits.plane:
            weight = set_to(controls, "penalty_weight", 0.1, "the penalty's weight for points")
        return available(
            slow_g(controls),
            halve_rate(controls, "G") if g_ahead else None,
            add_r1(controls, "R1 keeps D from pushing G onto one mode"),
            None if g_ahead else lower(controls, "k", "fewer D updates a step"),
            halve_rate(controls, "D"),
            None if g_ahead else halve_rate(controls, "G"),
            switch(controls, "rpgan_r1_r2", "pairs each fake with a real: no mode is free"),
            switch(controls, "wgan_gp", "a critic that measures the distance to every mode"),
            weight,
        )

    def _evidence(self, record: Record) -> list[Evidence]:
        """The series to judge by; none without a recent measurement."""
        plane = record.traits.plane
        if not plane and math.isfinite(recent(record, "mode_kl")):
            steps, kl = record.series("mode_kl")
            floor = recent(record, "mode_kl_floor")
            above = np.maximum(kl - (floor if math.isfinite(floor) else 0), 0)
            return [Evidence(Series(steps, np.exp(-above)), SHARE_OF_MODES, "share_of_modes")]
        bounds = VARIETY_OF_POINTS if plane else VARIETY_OF_PICTURES
        measures = [("vendi_pixels", bounds)]
        if not plane:
            measures.append(("coverage", COVERAGE))
        if not math.isfinite(recent(record, "vendi_pixels")):
            measures[0] = ("diversity_pixels", DISTANCE)
        return [
            Evidence(record.series(name), bounds, name)
            for name, bounds in measures
            if math.isfinite(recent(record, name))
        ]

    @staticmethod
    def _finding(record: Record, cause: Evidence, since: int) -> Finding:
        value = float(cause.series.values[-1])
        evidence: dict[str, object] = {cause.key: float(f"{value:.3g}")}
        head = "Samples are much alike"
        if cause.key == "coverage":
            head = f"Samples cover {value:.0f} % of the data"
        modes = record.diagnosis.modes
        if modes is not None and modes.samples and modes.step == record.diagnosis.step:
            left = int(modes.found.sum())
            if 2 * left <= len(modes.names) or cause.key == "share_of_modes":
                head = _modes_left(modes)
                evidence["modes_left"] = left
                evidence["modes"] = len(modes.names)
                evidence["lost"] = _names(modes, ~modes.found)
        details = []
        for name, words in (
            ("vendi_pixels", "variety {:.0f} % of the data's"),
            ("diversity_pixels", "mean distance {:.0f} %"),
        ):
            reading = recent(record, name)
            if math.isfinite(reading):
                evidence[name] = float(f"{reading:.3g}")
                details.append(words.format(reading))
        distance = recent(record, "nearest_ratio")
        if distance >= UNLIKE_DATA:
            evidence["nearest_ratio"] = float(f"{distance:.3g}")
            details.append(f"{distance:.1f} times as far from the data as reals: not learnt yet")
        return Finding(f"{head}; {', '.join(details)}." if details else f"{head}.", evidence, since)


def _best(steps: Steps, values: np.ndarray) -> float:
    """The best value that lasted for two rounds after the warm-up; 0 if there is none."""
    after = values[steps >= WARM_UP]
    return float(np.minimum(after[1:], after[:-1]).max()) if len(after) > 1 else 0.0


def _still_spreads(steps: Steps, values: np.ndarray, bounds: Bounds) -> bool:
    """Whether G was never above ``poor`` and is still learning."""
    if (values[steps >= WARM_UP] > bounds.poor).any() or len(values) <= bounds.rounds:
        return False
    return bool(values[-1] >= bounds.rising * values[rounds_ago(steps, bounds.rounds)])


def _count(modes: Modes) -> str:
    """Such as "3 of 10 digits"."""
    return f"{int(modes.found.sum())} of {len(modes.names):,} {modes.kinds}"


def _modes_left(modes: Modes) -> str:
    """Such as "3 of 10 digits left: 1, 7, 9"; only the largest modes if over half are left."""
    left = int(modes.found.sum())
    head = f"{_count(modes)} left"
    if 2 * left <= len(modes.names):
        return f"{head}: {', '.join(_names(modes, modes.found))}"
    order = np.argsort(-modes.shares)
    count = int(np.searchsorted(np.cumsum(modes.shares[order]), 0.8)) + 1
    largest = np.zeros(len(order), bool)
    largest[order[:count]] = True
    return f"{head}, but 80 % of the samples are {', '.join(_names(modes, largest))}"


def _names(modes: Modes, which: np.ndarray) -> list[str]:
    """Names of the modes that the flags ``which`` select, at most twelve."""
    names = [modes.names[place] for place in np.flatnonzero(which)]
    return names if len(names) <= 12 else [*names[:12], "..."]


class LostModes(Rule):
    """Some modes are lost for long, but most are left."""

    name = "lost_modes"
    title = "Modes lost"
    severity = "warning"
    raise_after = 5
    clear_after = 3
    apart = STEPS_PER_ROUND

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge the modes found, provided that enough samples clearly belong to one."""
        modes, quality = record.diagnosis.modes, recent(record, "high_quality")
        if modes is None or modes.step != record.diagnosis.step or record.step < 2 * WARM_UP:
            return None
        if not quality >= SURE or modes.samples < 10 * len(modes.names):
            return None
        left = int(modes.found.sum())
        if left == len(modes.names) or 2 * left <= len(modes.names):
            return False
        lost = _names(modes, ~modes.found)
        return Finding(
            f"{_count(modes)} are left; lost: {', '.join(lost)}.",
            {"modes_left": left, "modes": len(modes.names), "lost": lost},
        )

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """The remedies against a collapse."""
        return COLLAPSE.remedies(record)


SURE = 60.0
"""Least % of high-quality samples at which a mode that is not found counts as lost."""
COLLAPSE = Collapse()
RULES = (COLLAPSE, LostModes())
