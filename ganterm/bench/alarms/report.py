"""How well the alarms did: recall, false alarms and delay, measured against ``truth``."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from ganterm.bench.alarms.replay import AlarmSpan, replay
from ganterm.bench.alarms.settings import Run
from ganterm.bench.alarms.truth import Points, Verdict, others, read, verdict
from ganterm.diagnosis.rule import rules

LATE = 200
"""Steps after the end of a collapse within which its alarm still counts as a hit."""
OTHERS = ("d_wins", "d_dead", "d_stuck", "divergence", "mode_hopping")
"""The other alarms whose truth is known."""


class Result(NamedTuple):
    """A run, the truth about it, and its alarms.

    ``others``: onsets of illnesses other than a collapse. ``unlabelled``: the alarms that it would
    have if its data had no labels.
    """

    run: Run
    points: Points
    truth: Verdict
    others: dict[str, int]
    alarms: list[AlarmSpan]
    unlabelled: list[AlarmSpan]


def read_results(runs: Iterable[Run], out: Path) -> list[Result]:
    """The results of all runs that were collected and examined."""
    results = []
    for run in runs:
        path = out / run.name / "truth.json"
        if path.exists() and (out / run.name / "about.json").exists():
            points = read(path)
            alarms = [replay(run, out, hidden) for hidden in (False, True)]
            results.append(Result(run, points, verdict(points), others(points), *alarms))
    return results


class Score(NamedTuple):
    """How one alarm did, in numbers of runs.

    ``positive`` runs had the alarm's illness; ``hit`` of these raised it, after ``delays`` steps.
    ``negative`` runs were healthy; ``false`` of these raised it. ``unwell`` runs had another
    illness; ``astray`` of these raised it.
    """

    positive: int
    hit: int
    negative: int
    false: int
    unwell: int
    astray: int
    delays: list[int]

    def row(self, title: str) -> str:
        """A row of the table."""
        recall = share(self.hit, self.positive)
        false = share(self.false, self.negative)
        delay = f"{statistics.median(self.delays):.0f}" if self.delays else "-"
        worst = f"{max(self.delays)}" if self.delays else "-"
        astray = share(self.astray, self.unwell)
        return f"| {title} | {recall} | {false} | {astray} | {delay} | {worst} |"


def share(part: int, whole: int) -> str:
    """A number of runs, with the exact 95 % interval of its share (Clopper and Pearson 1934)."""
    if not whole:
        return "-"
    interval = binomtest(part, whole).proportion_ci(method="exact")
    return f"{part} of {whole} ({100 * interval.low:.0f} to {100 * interval.high:.0f} %)"


def collapse(runs: list[Result], unlabelled: bool) -> Score:
    """The score of the alarm ``collapse``, without mixed runs.

    Here ``astray`` counts collapsed runs that raised it while their samples were not poor.
    """
    hit, astray, delays = 0, 0, []
    collapsed = [run for run in runs if run.truth.fate == "collapsed"]
    healthy = [run for run in runs if run.truth.fate == "healthy"]
    for run in collapsed:
        alarms = _named(run, "collapse", unlabelled)
        delay = first_hit(alarms, run.truth)
        if delay is not None:
            hit += 1
            delays.append(delay)
        astray += any(not _poor_at(run.points, alarm.raised) for alarm in alarms)
    false = sum(bool(_named(run, "collapse", unlabelled)) for run in healthy)
    return Score(len(collapsed), hit, len(healthy), false, len(collapsed), astray, delays)


def first_hit(alarms: list[AlarmSpan], truth: Verdict) -> int | None:
    """Steps from the onset of a collapse to its alarm; None if there was no alarm."""
    for onset, last in truth.spans:
        for alarm in alarms:
            ended = alarm.cleared if alarm.cleared is not None else np.inf
            if alarm.raised <= last + LATE and ended > onset:
                return max(0, alarm.raised - onset)
    return None


def other(runs: list[Result], name: str) -> Score:
    """The score of another alarm. A healthy run has neither a collapse nor any other illness."""
    delays = []
    positive = [run for run in runs if name in run.others]
    healthy = [run for run in runs if well(run)]
    unwell = [run for run in runs if not well(run) and name not in run.others]
    for run in positive:
        alarms = _named(run, name, False)
        if alarms:
            delays.append(max(0, alarms[0].raised - run.others[name]))
    false, astray = (
        sum(bool(_named(run, name, False)) for run in some) for some in (healthy, unwell)
    )
    return Score(len(positive), len(delays), len(healthy), false, len(unwell), astray, delays)


def well(run: Result) -> bool:
    """Whether nothing was wrong with a run."""
    return run.truth.fate == "healthy" and not run.others


def _named(run: Result, name: str, unlabelled: bool) -> list[AlarmSpan]:
    alarms = run.unlabelled if unlabelled else run.alarms
    return [alarm for alarm in alarms if alarm.name == name]


def _poor_at(points: Points, step: int) -> bool:
    """Whether samples were poor within 100 steps of ``step``."""
    near = np.abs(points.steps - step) <= 100
    return bool(points.poor[near].any())


def table(runs: list[Result], half: str) -> str:
    """The table of one half of the runs, "tuning" or "reporting", or of "all"."""
    selection = [run for run in runs if half == "all" or run.run.tuning == (half == "tuning")]
    mixed = sum(run.truth.fate == "mixed" for run in selection)
    lines = [
        f"{half}: {len(selection)} runs, {mixed} of them mixed",
        "",
        "| alarm | recall | healthy runs with one | others with a false one "
        "| median delay, steps | worst |",
        "|---|---|---|---|---|---|",
        collapse(selection, False).row("collapse"),
        collapse(selection, True).row("collapse, labels hidden"),
    ]
    lines += [other(selection, name).row(name) for name in OTHERS]
    healthy = [run for run in selection if well(run)]
    rest = sorted(rule.name for rule in rules() if rule.name not in {"collapse", *OTHERS})
    for name in rest:
        false = sum(bool(_named(run, name, False)) for run in healthy)
        lines.append(f"| {name} | no truth | {false} of {len(healthy)} | - | - | - |")
    return "\n".join(lines)


def details(runs: list[Result]) -> str:
    """For each run a line with the truth, and a line for each of its alarms."""
    lines = []
    for run in runs:
        truth, half = run.truth, "tuning" if run.run.tuning else "reporting"
        spans = " ".join(f"{a}-{b}" for a, b in truth.spans)
        lines.append(
            f"{run.run.name} [{half}] {truth.fate} {spans}"
            f"{' from the start' if truth.from_start else ''} {run.others or ''}"
        )
        for title, alarms in (("", run.alarms), ("hidden ", run.unlabelled)):
            for alarm in alarms:
                if title and alarm.name != "collapse":
                    continue
                ended = "" if alarm.cleared is None else f", cleared {alarm.cleared}"
                lines.append(
                    f"    {title}{alarm.name} {alarm.raised} (since {alarm.since}){ended}: "
                    f"{alarm.message}"
                )
    return "\n".join(lines)
