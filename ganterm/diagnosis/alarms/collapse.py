"""Samples of few of the data's modes only, or all alike.

Which measure tells depends on the data. Pictures with labels: G's histogram over the modes. Points,
which miss their modes by a little while they are learnt: how many different ones there are, their
Vendi score. Pictures without labels: their Vendi score against its own past, since that of good
pictures takes thousands of steps to rise and is not the same on all data.

Thresholds were chosen on one half of the runs of ``tests.alarm_bench``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ganterm.diagnosis.cures import add_r1, divided, in_order, lower, put, switch
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.diagnosis.signs import began, fresh
from ganterm.session.findings import Modes, Remedy, Series, Steps

WARM_UP = 500
"""Steps before which an untrained G may be all alike."""
RISING = 1.3
"""Times as varied as three rounds before: a G that still spreads, if it never has so far."""
ROUNDS = 3


class Bounds(NamedTuple):
    """``poor``: at most, it is a collapse; ``rich``: at least, it is over; ``drop``: share of its
    own best below which it is one, too (0: whatever its past)."""

    poor: float
    rich: float
    drop: float = 0.0


SHARE_OF_MODES = Bounds(0.5, 0.65)
"""Of e to the minus KL: modes in effect, in shares of the data's; half of them gives a half."""
VARIETY_OF_POINTS = Bounds(60, 75)
"""Of the Vendi score in % of that of reals; half of the modes gives 50 to 65."""
VARIETY_OF_PICTURES = Bounds(20, 30, 0.4)
DISTANCE = Bounds(45, 60)
"""Of the mean distance in % of that of reals, where there is no Vendi score."""


class Evidence(NamedTuple):
    """The series that is judged, and how."""

    series: Series
    bounds: Bounds
    told: str


class Collapse(Rule):
    """Half of the modes or more are lost, or samples are as good as all alike."""

    name = "collapse"
    title = "Mode collapse"

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """By the measure that tells on these data; see the module."""
        seen = self._evidence(record)
        if seen is None or record.step < WARM_UP:
            return None
        (steps, values), bounds, _ = seen
        bound = bounds.rich if raised else bounds.poor
        best = _best(steps, values)
        if not raised and bounds.drop * best > bound:
            bound = bounds.drop * best
        poor = values <= bound
        if not poor[-1]:
            return False
        if not raised and _still_spreads(steps, values, bound):
            return None
        return self._finding(record, seen, int(steps[began(poor, 1) or 0]))

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """What acts at once, then what changes the game."""
        controls = record.controls
        weight = None
        if controls.loss == "wgan_gp" and record.traits.plane:
            weight = put(controls, "penalty_weight", 0.1, "the penalty's weight for points")
        return in_order(
            add_r1(controls, "R1 keeps D from pushing G onto one mode"),
            lower(controls, "k", "fewer D updates a step"),
            divided(controls, "lr_d", 2, "half of D's rate"),
            divided(controls, "lr_g", 2, "half of G's rate"),
            switch(controls, "rpgan_r1_r2", "each fake against a real of its own: no mode is free"),
            switch(controls, "wgan_gp", "a critic that tells how far every mode is"),
            weight,
        )

    def _evidence(self, record: Record) -> Evidence | None:
        """What there is to judge by; None where nothing fresh was measured."""
        plane = record.traits.plane
        if not plane and math.isfinite(fresh(record, "mode_kl")):
            steps, kl = record.series("mode_kl")
            floor = fresh(record, "mode_kl_floor")
            above = np.maximum(kl - (floor if math.isfinite(floor) else 0), 0)
            return Evidence(Series(steps, np.exp(-above)), SHARE_OF_MODES, "share_of_modes")
        if math.isfinite(fresh(record, "vendi_pixels")):
            bounds = VARIETY_OF_POINTS if plane else VARIETY_OF_PICTURES
            return Evidence(record.series("vendi_pixels"), bounds, "vendi_pixels")
        if math.isfinite(fresh(record, "diversity_pixels")):
            return Evidence(record.series("diversity_pixels"), DISTANCE, "diversity_pixels")
        return None

    @staticmethod
    def _finding(record: Record, seen: Evidence, since: int) -> Finding:
        value = float(seen.series.values[-1])
        evidence: dict[str, object] = {seen.told: float(f"{value:.3g}")}
        told = []
        modes = record.diagnosis.modes
        if modes is not None and modes.samples and modes.step == record.diagnosis.step:
            left = int(modes.found.sum())
            if 2 * left <= len(modes.names) or seen.told == "share_of_modes":
                told.append(_left(modes))
                evidence["modes_left"] = left
                evidence["modes"] = len(modes.names)
                evidence["lost"] = _names(modes, ~modes.found)
        for name, words in (
            ("vendi_pixels", "{:.0f} % as many different samples as the data"),
            ("diversity_pixels", "mean distance {:.0f} % of the data's"),
        ):
            reading = fresh(record, name)
            if math.isfinite(reading):
                evidence[name] = float(f"{reading:.3g}")
                told.append(words.format(reading))
        sentence = "; ".join(told) + "."
        return Finding(sentence[0].upper() + sentence[1:], evidence, since)


def _best(steps: Steps, values: np.ndarray) -> float:
    """The best that lasted two rounds, once the warm-up was over; 0 before."""
    known = values[steps >= WARM_UP]
    return float(np.minimum(known[1:], known[:-1]).max()) if len(known) > 1 else 0.0


def _still_spreads(steps: Steps, values: np.ndarray, bound: float) -> bool:
    """Whether a G that was never rich is on its way: clearly better than some rounds before."""
    known = values[steps >= WARM_UP]
    if (known > bound).any():
        return False
    return len(values) > ROUNDS and values[-1] >= RISING * values[-1 - ROUNDS]


def _left(modes: Modes) -> str:
    """Such as "3 of 10 digits left: 1, 7, 9"; where most samples are, if over half are left."""
    left = int(modes.found.sum())
    plural = modes.kind + ("es" if modes.kind.endswith("s") else "s")
    told = f"{left} of {len(modes.names):,} {plural} left"
    if 2 * left <= len(modes.names):
        return f"{told}: {', '.join(_names(modes, modes.found))}"
    order = np.argsort(-modes.shares)
    enough = int(np.searchsorted(np.cumsum(modes.shares[order]), 0.8)) + 1
    chosen = np.zeros(len(order), bool)
    chosen[order[:enough]] = True
    return f"{told}, but 80 % of the samples are {', '.join(_names(modes, chosen))}"


def _names(modes: Modes, which: np.ndarray) -> list[str]:
    """Names of modes, the first twelve."""
    chosen = [modes.names[place] for place in np.flatnonzero(which)]
    return chosen if len(chosen) <= 12 else [*chosen[:12], "..."]


class LostModes(Rule):
    """Some modes are lost for long, though most are there."""

    name = "lost_modes"
    title = "Modes lost"
    severity = "warning"
    raise_after = 5
    clear_after = 3

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """By the modes found, where enough samples are sure to be of one."""
        modes, quality = record.diagnosis.modes, fresh(record, "high_quality")
        if modes is None or modes.step != record.diagnosis.step or record.step < 2 * WARM_UP:
            return None
        if not quality >= SURE or modes.samples < 10 * len(modes.names):
            return None
        left = int(modes.found.sum())
        if left == len(modes.names) or 2 * left <= len(modes.names):
            return False
        lost = _names(modes, ~modes.found)
        return Finding(
            f"{left} of {len(modes.names):,} {modes.kind}s are left; lost: {', '.join(lost)}.",
            {"modes_left": left, "modes": len(modes.names), "lost": lost},
        )

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """As against a collapse."""
        return COLLAPSE.remedies(record)


SURE = 60.0
"""Per cent of samples of high quality from which a mode that is not found is a mode lost."""
COLLAPSE = Collapse()
RULES = (COLLAPSE, LostModes())
