"""The health light: how a run is, in a sign, a word and a colour, and which alarm comes first."""

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
    """``words`` for where there is room, ``short`` for where there is none."""

    level: Level
    words: str
    short: str


def ranked(alarms: tuple[Alarm, ...]) -> list[Alarm]:
    """Alarms before warnings, a collapse before all, the oldest of each first."""
    return sorted(alarms, key=lambda a: (a.severity != "alarm", a.name != "collapse", a.since))


def health(snapshot: Snapshot) -> Light:
    """The light of a run, by its raised alarms.

    A run is healthy only once its rules could have raised an alarm and did not.
    """
    if snapshot.alarms:
        worst = ranked(snapshot.alarms)[0]
        word = WORDS[worst.severity]
        return Light(worst.severity, f"{word} {_inside(worst.title)}", word.rstrip(":"))
    every = snapshot.info.diagnose_every
    if snapshot.diagnosis.readings:
        return _unraised(snapshot)
    if every:
        return Light("unknown", f"first look after {every:,} steps", "not yet looked at")
    if snapshot.state == "loading":
        return Light("unknown", "not yet looked at", "not yet looked at")
    return Light("unknown", "diagnosis is off (run.diagnosis = 0)", "diagnosis off")


def _unraised(snapshot: Snapshot) -> Light:
    """The light of a run that has been examined and has no alarm raised."""
    outlook, found = snapshot.outlook, snapshot.diagnosis
    if outlook.late:
        return Light("unknown", f"last looked at step {found.step:,}", f"as of {found.step:,}")
    if not outlook.sure:
        return Light("unknown", "too early to tell", "too early")
    if outlook.doubt:
        return Light("unknown", f"checking again: {_inside(outlook.doubt)}", "checking")
    if found.modes is not None and found.modes.missing:
        missing, kinds = found.modes.missing, f"{found.modes.kinds} not found"
        words = f"watching: {missing:,} of {len(found.modes.names):,} {kinds}"
        return Light("unknown", words, "watching")
    return Light("healthy", "healthy", "healthy")


def called_lost(snapshot: Snapshot) -> bool:
    """Whether modes that are not found may be called lost: an alarm says so by now."""
    return any(alarm.name in ("collapse", "lost_modes") for alarm in snapshot.alarms)


def _inside(title: str) -> str:
    """A title as it stands inside a line: "D wins" keeps its capital."""
    title = clean(title, 40)
    return f"{title[0].lower()}{title[1:]}" if title[1:2].islower() else title
