"""How well the alarms did: recall, false alarms, delay; by the truth that ``truth`` defines."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from ganterm.bench.alarms.replay import Told, replay
from ganterm.bench.alarms.settings import Run
from ganterm.bench.alarms.truth import Points, Verdict, others, read, verdict
from ganterm.diagnosis.rule import rules

LATE = 200
"""An alarm counts up to so many steps after what it tells of was over."""
OTHERS = ("d_wins", "d_dead", "d_stuck", "divergence", "mode_hopping")


class Judged(NamedTuple):
    """A run, what was true of it, and what was told."""

    run: Run
    points: Points
    truth: Verdict
    others: dict[str, int]
    told: list[Told]
    unlabelled: list[Told]


def judged(runs: Iterable[Run], out: Path) -> list[Judged]:
    """All runs that were collected and examined."""
    found = []
    for run in runs:
        path = out / run.name / "truth.json"
        if path.exists() and (out / run.name / "about.json").exists():
            points = read(path)
            told = [replay(run, out, hidden) for hidden in (False, True)]
            found.append(Judged(run, points, verdict(points), others(points), *told))
    return found


class Score(NamedTuple):
    """How one alarm did, in runs.

    ``positive`` runs had the illness, and ``hit`` of them raised the alarm, after ``delays`` steps.
    ``negative`` runs were healthy, and ``false`` of them raised it. ``unwell`` runs had another
    illness, and ``astray`` of them raised it.
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
    """A count of runs with the exact 95 % interval of its share (Clopper and Pearson 1934)."""
    if not whole:
        return "-"
    interval = binomtest(part, whole).proportion_ci(method="exact")
    return f"{part} of {whole} ({100 * interval.low:.0f} to {100 * interval.high:.0f} %)"


def collapse(runs: list[Judged], unlabelled: bool) -> Score:
    """The score of the alarm ``collapse``. Mixed runs are left out.

    ``astray`` counts collapsing runs that raised it before or after their samples were poor.
    """
    hit, astray, delays = 0, 0, []
    collapsed = [run for run in runs if run.truth.fate == "collapsed"]
    healthy = [run for run in runs if run.truth.fate == "healthy"]
    for run in collapsed:
        told = _named(run, "collapse", unlabelled)
        delay = first_hit(told, run.truth)
        if delay is not None:
            hit += 1
            delays.append(delay)
        astray += any(not _poor_at(run.points, alarm.raised) for alarm in told)
    false = sum(bool(_named(run, "collapse", unlabelled)) for run in healthy)
    return Score(len(collapsed), hit, len(healthy), false, len(collapsed), astray, delays)


def first_hit(told: list[Told], truth: Verdict) -> int | None:
    """Steps from the onset of a collapse to its alarm; None where there was none."""
    for onset, last in truth.spans:
        for alarm in told:
            ended = alarm.cleared if alarm.cleared is not None else np.inf
            if alarm.raised <= last + LATE and ended > onset:
                return max(0, alarm.raised - onset)
    return None


def other(runs: list[Judged], name: str) -> Score:
    """The score of another alarm. A healthy run has neither a collapse nor any other illness."""
    delays = []
    positive = [run for run in runs if name in run.others]
    healthy = [run for run in runs if well(run)]
    unwell = [run for run in runs if not well(run) and name not in run.others]
    for run in positive:
        told = _named(run, name, False)
        if told:
            delays.append(max(0, told[0].raised - run.others[name]))
    false, astray = (
        sum(bool(_named(run, name, False)) for run in some) for some in (healthy, unwell)
    )
    return Score(len(positive), len(delays), len(healthy), false, len(unwell), astray, delays)


def well(run: Judged) -> bool:
    """Whether nothing was wrong with a run."""
    return run.truth.fate == "healthy" and not run.others


def _named(run: Judged, name: str, unlabelled: bool) -> list[Told]:
    told = run.unlabelled if unlabelled else run.told
    return [alarm for alarm in told if alarm.name == name]


def _poor_at(points: Points, step: int) -> bool:
    """Whether a point was poor at ``step``, or just before or after it."""
    near = np.abs(points.steps - step) <= 100
    return bool(points.poor[near].any())


def table(runs: list[Judged], half: str) -> str:
    """The table of the runs of one half: "tuning", "reporting" or "all"."""
    chosen = [run for run in runs if half == "all" or run.run.tuning == (half == "tuning")]
    mixed = sum(run.truth.fate == "mixed" for run in chosen)
    lines = [
        f"{half}: {len(chosen)} runs, {mixed} of them mixed",
        "",
        "| alarm | recall | healthy runs with one | others with a false one "
        "| median delay, steps | worst |",
        "|---|---|---|---|---|---|",
        collapse(chosen, False).row("collapse"),
        collapse(chosen, True).row("collapse, labels hidden"),
    ]
    lines += [other(chosen, name).row(name) for name in OTHERS]
    healthy = [run for run in chosen if well(run)]
    rest = sorted(rule.name for rule in rules() if rule.name not in {"collapse", *OTHERS})
    for name in rest:
        false = sum(bool(_named(run, name, False)) for run in healthy)
        lines.append(f"| {name} | no truth | {false} of {len(healthy)} | - | - | - |")
    return "\n".join(lines)


def details(runs: list[Judged]) -> str:
    """A line for each run: what was true and what was told."""
    lines = []
    for run in runs:
        truth, half = run.truth, "tuning" if run.run.tuning else "reporting"
        spans = " ".join(f"{a}-{b}" for a, b in truth.spans)
        lines.append(
            f"{run.run.name} [{half}] {truth.fate} {spans}"
            f"{' from the start' if truth.from_start else ''} {run.others or ''}"
        )
        for title, told in (("", run.told), ("hidden ", run.unlabelled)):
            for alarm in told:
                if title and alarm.name != "collapse":
                    continue
                ended = "" if alarm.cleared is None else f", cleared {alarm.cleared}"
                lines.append(
                    f"    {title}{alarm.name} {alarm.raised} (since {alarm.since}){ended}: "
                    f"{alarm.message}"
                )
    return "\n".join(lines)
