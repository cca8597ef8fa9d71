"""The health light: the state of a run as a sign, a few words and a colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ganterm.core.findings import Alarm, Severity
from ganterm.core.snapshot import Snapshot
from ganterm.core.text import clean
from ganterm.dashboard import palette

Level = Literal["unknown", "healthy", "warning", "alarm"]
COLORS: dict[Level, str] = {
    "unknown": palette.DIM,
    "healthy": palette.GOOD,
    "warning": palette.G,
    "alarm": palette.ALARM,
}
WORDS: dict[Severity, str] = {"warning": "watch:", "alarm": "ALARM"}


@dataclass(frozen=True)
class Light:
    """A level of health with its words, and a ``short`` form for small panels."""

    level: Level
    words: str
    short: str


def ranked(alarms: tuple[Alarm, ...]) -> list[Alarm]:
    """Alarms before warnings, a collapse before other alarms, the oldest of each first."""
    return sorted(alarms, key=lambda a: (a.severity != "alarm", a.name != "collapse", a.since))


def health(snapshot: Snapshot) -> Light:
    """The light of a run: that of its worst raised alarm, else of its newest diagnosis.

    A run is called healthy only once its rules could have raised an alarm and did not.
    """
    if snapshot.alarms:
        worst = ranked(snapshot.alarms)[0]
        word = WORDS[worst.severity]
        return Light(worst.severity, f"{word} {_inside(worst.title)}", word.rstrip(":"))
    every = snapshot.info.diagnose_every
    if snapshot.diagnosis.readings:
        return _without_alarm(snapshot)
    if every:
        return Light("unknown", f"first diagnosis after {every:,} steps", "not yet diagnosed")
    if snapshot.state == "loading":
        return Light("unknown", "not yet diagnosed", "not yet diagnosed")
    return Light("unknown", "diagnosis is off (run.diagnosis = 0)", "diagnosis off")


def _without_alarm(snapshot: Snapshot) -> Light:
    """The light of a run that has been diagnosed and has no raised alarm."""
    outlook, step, modes = snapshot.outlook, snapshot.diagnosis.step, snapshot.diagnosis.modes
    if outlook.late:
        return Light("unknown", f"last diagnosed at step {step:,}", f"as of {step:,}")
    if not outlook.sure:
        return Light("unknown", "too early to tell", "too early")
    if outlook.doubt:
        return Light("unknown", f"checking again: {_inside(outlook.doubt)}", "checking")
    if modes is not None and modes.missing:
        words = f"watching: {modes.missing:,} of {len(modes.names):,} {modes.kinds} not found"
        return Light("unknown", words, "watching")
    return Light("healthy", "healthy", "healthy")


def modes_are_lost(snapshot: Snapshot) -> bool:
    """Whether missing modes are called lost, because an alarm says so."""
    return any(alarm.name in ("collapse", "lost_modes") for alarm in snapshot.alarms)


def _inside(title: str) -> str:
    """A title in lower case, to stand inside a line; "D wins" keeps its capital."""
    title = clean(title, 40)
    return f"{title[0].lower()}{title[1:]}" if title[1:2].islower() else title
