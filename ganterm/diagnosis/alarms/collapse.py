"""Mode collapse: samples of few of the data's modes, or all alike.

The measure depends on the data. Pictures with labels: G's histogram over the modes. Points: their
Vendi score, since they narrowly miss their modes while they are learnt. Pictures without labels:
their Vendi score against its own past, which takes thousands of steps to rise and differs between
data sets, and their coverage of the data in a fixed network's features.

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
"""Steps in which the samples of an untrained G may be all alike."""
APART = 50
"""Steps between two findings.

A healthy G may have few modes for a moment; none was seen to have them twice so far apart.
"""
AWAY = 1.8
"""Distance of samples to the data, as a multiple of the data's own, above which they show nothing
yet. Good digits have 1.2, noise 2 and more.
"""


class Bounds(NamedTuple):
    """When a measure means collapse.

    A value of at most ``poor`` is a collapse; above ``rich`` it is over. ``drop`` and ``regained``
    are the same bounds as shares of the measure's own best; the larger bound holds (0: no such
    bound). A G that was never above ``poor`` is still learning while it has ``rising`` times its
    value of ``rounds`` ago.
    """

    poor: float
    rich: float
    rising: float = math.inf
    rounds: int = 3
    drop: float = 0.0
    regained: float = 0.0


SHARE_OF_MODES = Bounds(0.5, 0.65, rising=1.5)
"""Bounds on exp(-KL), the effective fraction of the data's modes."""
VARIETY_OF_POINTS = Bounds(60, 75)
"""Bounds on the Vendi score in % of that of reals; half of the modes gives 50 to 65."""
VARIETY_OF_PICTURES = Bounds(20, 30, rising=1.15, rounds=5, drop=0.6, regained=0.75)
"""Bounds on the Vendi score of pictures.

Good digits have 30 after 500 steps and 60 to 80 in the end, and never lost an eighth of their best.
Collapses fell to a third of it or less.
"""
COVERED = Bounds(30, 45, rising=1.15, rounds=5, drop=0.5, regained=0.65)
"""Bounds on the coverage in %: 50 to 96 in healthy runs from step 500 on, at most 50 in collapsed
ones. Coverage also finds a G of noise, and one of few but varied kinds.
"""
DISTANCE = Bounds(45, 60, rising=1.1, rounds=5)
"""Bounds on the mean distance in % of that of reals, where there is no Vendi score."""


class Evidence(NamedTuple):
    """A series to judge, its bounds, and its key in the evidence."""

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
            self._verdict(record, seen, raised)
            for seen in self._evidence(record)
            if record.step >= WARM_UP and seen.series.steps[-1] == record.diagnosis.step
        ]
        found = next((verdict for verdict in verdicts if isinstance(verdict, Finding)), None)
        if found is not None:
            return found
        return False if False in verdicts else None

    def _verdict(self, record: Record, seen: Evidence, raised: bool) -> Finding | bool | None:
        (steps, values), bounds, _ = seen
        best = _best(steps, values)
        bound = max(bounds.poor, bounds.drop * best)
        if raised:
            bound = max(bounds.rich, bounds.regained * best)
        poor = values <= bound
        if not poor[-1]:
            return False
        if not raised and _still_spreads(steps, values, bounds):
            return None
        return self._finding(record, seen, int(steps[lasting_since(poor, 1) or 0]))

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """Slow a G that runs ahead, then what acts at once, then what changes the game."""
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
        """The series to judge by; none where nothing recent was measured."""
        plane = record.traits.plane
        if not plane and math.isfinite(recent(record, "mode_kl")):
            steps, kl = record.series("mode_kl")
            floor = recent(record, "mode_kl_floor")
            above = np.maximum(kl - (floor if math.isfinite(floor) else 0), 0)
            return [Evidence(Series(steps, np.exp(-above)), SHARE_OF_MODES, "share_of_modes")]
        bounds = VARIETY_OF_POINTS if plane else VARIETY_OF_PICTURES
        measures = [("vendi_pixels", bounds)]
        if not plane:
            measures.append(("coverage", COVERED))
        if not math.isfinite(recent(record, "vendi_pixels")):
            measures[0] = ("diversity_pixels", DISTANCE)
        return [
            Evidence(record.series(name), bounds, name)
            for name, bounds in measures
            if math.isfinite(recent(record, name))
        ]

    @staticmethod
    def _finding(record: Record, seen: Evidence, since: int) -> Finding:
        value = float(seen.series.values[-1])
        evidence: dict[str, object] = {seen.key: float(f"{value:.3g}")}
        head = "Samples are much alike"
        if seen.key == "coverage":
            head = f"Samples cover {value:.0f} % of the data"
        modes = record.diagnosis.modes
        if modes is not None and modes.samples and modes.step == record.diagnosis.step:
            left = int(modes.found.sum())
            if 2 * left <= len(modes.names) or seen.key == "share_of_modes":
                head = _left(modes)
                evidence["modes_left"] = left
                evidence["modes"] = len(modes.names)
                evidence["lost"] = _names(modes, ~modes.found)
        told = []
        for name, words in (
            ("vendi_pixels", "variety {:.0f} % of the data's"),
            ("diversity_pixels", "mean distance {:.0f} %"),
        ):
            reading = recent(record, name)
            if math.isfinite(reading):
                evidence[name] = float(f"{reading:.3g}")
                told.append(words.format(reading))
        away = recent(record, "nearest_ratio")
        if away >= AWAY:
            evidence["nearest_ratio"] = float(f"{away:.3g}")
            told.append(f"and {away:.1f} times as far from the data as data are: not learnt yet")
        return Finding(f"{head}; {', '.join(told)}." if told else f"{head}.", evidence, since)


def _best(steps: Steps, values: np.ndarray) -> float:
    """The best value that lasted two rounds after the warm-up; 0 before."""
    known = values[steps >= WARM_UP]
    return float(np.minimum(known[1:], known[:-1]).max()) if len(known) > 1 else 0.0


def _still_spreads(steps: Steps, values: np.ndarray, bounds: Bounds) -> bool:
    """Whether a G that was never more than poor is still improving."""
    if (values[steps >= WARM_UP] > bounds.poor).any() or len(values) <= bounds.rounds:
        return False
    return bool(values[-1] >= bounds.rising * values[rounds_ago(steps, bounds.rounds)])


def _count(modes: Modes) -> str:
    """Such as "3 of 10 digits"."""
    return f"{int(modes.found.sum())} of {len(modes.names):,} {modes.kinds}"


def _left(modes: Modes) -> str:
    """Such as "3 of 10 digits left: 1, 7, 9"; the largest modes where over half are left."""
    left = int(modes.found.sum())
    told = f"{_count(modes)} left"
    if 2 * left <= len(modes.names):
        return f"{told}: {', '.join(_names(modes, modes.found))}"
    order = np.argsort(-modes.shares)
    enough = int(np.searchsorted(np.cumsum(modes.shares[order]), 0.8)) + 1
    chosen = np.zeros(len(order), bool)
    chosen[order[:enough]] = True
    return f"{told}, but 80 % of the samples are {', '.join(_names(modes, chosen))}"


def _names(modes: Modes, which: np.ndarray) -> list[str]:
    """Names of modes, at most twelve."""
    chosen = [modes.names[place] for place in np.flatnonzero(which)]
    return chosen if len(chosen) <= 12 else [*chosen[:12], "..."]


class LostModes(Rule):
    """Some modes are lost for long, though most are there."""

    name = "lost_modes"
    title = "Modes lost"
    severity = "warning"
    raise_after = 5
    clear_after = 3
    apart = STEPS_PER_ROUND

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge the modes found, where enough samples clearly belong to one."""
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
"""Per cent of samples of high quality from which a mode that is not found counts as lost."""
COLLAPSE = Collapse()
RULES = (COLLAPSE, LostModes())
