"""The health light: how a run is, in a sign, a word and a colour, and which alarm comes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ganterm.dashboard import palette
from ganterm.session.findings import Alarm, Severity
from ganterm.session.protocol import Snapshot
from ganterm.text import clean

Level = Literal["unknown", "healthy", "warning", "alarm"]
COLORS: dict[Level, str] = {
    "unknown": palette.DIM,
    "healthy": palette.GOOD,
    "warning": palette.G,
    "alarm": palette.ALARM,
}
WORDS: dict[Severity, str] = {"warning": "watch:", "alarm": "ALARM"}


@dataclass(frozen=True)
class Health:
    """``words`` for where there is room, ``short`` for where there is none."""

    level: Level
    words: str
    short: str


def ranked(alarms: tuple[Alarm, ...]) -> list[Alarm]:
    """Alarms before warnings, a collapse before all, the oldest of each first."""
    return sorted(alarms, key=lambda a: (a.severity != "alarm", a.name != "collapse", a.since))


def health(snapshot: Snapshot) -> Health:
    """Of a run, by its raised alarms; without any look at it nothing is said."""
    if snapshot.alarms:
        worst = ranked(snapshot.alarms)[0]
        word = WORDS[worst.severity]
        title = clean(worst.title, 40)
        if title[1:2].islower():
            title = f"{title[0].lower()}{title[1:]}"
        return Health(worst.severity, f"{word} {title}", word.rstrip(":"))
    every = snapshot.info.diagnose_every
    if snapshot.diagnosis.readings:
        return Health("healthy", "healthy", "healthy")
    if every:
        return Health("unknown", f"first look after {every:,} steps", "not yet looked at")
    if snapshot.state == "loading":
        return Health("unknown", "not yet looked at", "not yet looked at")
    return Health("unknown", "diagnosis is off (run.diagnosis = 0)", "diagnosis off")
