"""What a run's journal holds: one class for each kind of event, and how each is written and read.

A line of ``events.jsonl`` is one JSON object: step, branch, time and kind, then the fields of the
class in their order. A new kind is a new class here;
whoever shows events may then add words for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import msgspec
from msgspec import Struct

from ganterm.core.controls import KNOBS, ControlError, Value
from ganterm.core.findings import Severity

_HEAD = ("step", "branch", "time", "kind")


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened at ``step`` of ``branch``; ``time`` is ISO 8601, UTC.

    The journal fills in these three when it logs an event. ``kind`` is the word in the file;
    ``nullable`` names the fields that stand in it even where they are None.
    """

    kind: ClassVar[str] = ""
    nullable: ClassVar[frozenset[str]] = frozenset()

    step: int = 0
    branch: int = 0
    time: str = ""

    def placed(self, step: int, branch: int, time: str) -> Self:
        """The same event, at a step of a branch and at a time."""
        return msgspec.structs.replace(self, step=step, branch=branch, time=time)

    def details(self) -> dict[str, Any]:
        """The fields of this kind by their names in the file, without those that are None."""
        names = zip(self.__struct_encode_fields__, self.__struct_fields__, strict=True)
        values = [(name, getattr(self, field)) for name, field in names][len(_HEAD) - 1 :]
        return {k: value for k, value in values if value is not None or k in self.nullable}

    def table(self) -> dict[str, Any]:
        """The event as one flat table, as it is logged."""
        head = {"step": self.step, "branch": self.branch, "time": self.time, "kind": self.kind}
        return {**head, **self.details()}

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """The event of this kind that a table describes; ValidationError where it is not sound."""
        return msgspec.convert(dict(table), cls)


class StartEvent(Event, frozen=True, kw_only=True):
    """Training starts with these controls; it stands right before iteration 1."""

    kind = "start"
    controls: Mapping[str, Any] | None = None


class ChangeEvent(Event, frozen=True, kw_only=True):
    """A control changes; ``step`` is the first that is made with the new value.

    ``by``: "key", "prompt", or the name of a watcher.
    """

    kind = "change"
    key: str
    before: Value = msgspec.field(name="from")
    after: Value = msgspec.field(name="to")
    by: str

    def __post_init__(self) -> None:
        _check_change(self.key, self.before, self.after)


class ScheduleEvent(ChangeEvent, frozen=True, kw_only=True):
    """A control changes because the preset's schedule says so."""

    kind = "schedule"


class RefusedEvent(Event, frozen=True, kw_only=True):
    """A command is not carried out. ``key``: a control, "rewind" or ``HAND_OVER``."""

    kind = "refused"
    key: str
    to: Any
    by: str | None = None
    reason: str


class DataEvent(Event, frozen=True, kw_only=True):
    """A remark about the data: a ``text``, or else ``files`` that are not used and ``why``."""

    kind = "data"
    text: str | None = None
    files: tuple[str, ...] | None = None
    why: str | None = None

    def __post_init__(self) -> None:
        if self.text is None and (not self.files or self.why is None):
            raise ValueError("neither a text nor files")


class PauseEvent(Event, frozen=True, kw_only=True):
    """Training pauses. ``cause``: why, where nobody asked for it. ``waits``: it goes on by itself
    once the cause is gone.
    """

    kind = "pause"
    cause: str | None = None
    waits: bool | None = None


class UnpauseEvent(Event, frozen=True, kw_only=True):
    """Training goes on after a pause."""

    kind = "unpause"


class AlarmEvent(Event, frozen=True, kw_only=True):
    """An alarm is raised or cleared; see ``findings.Alarm`` for the fields."""

    kind = "alarm"
    name: str
    severity: Severity = "alarm"
    title: str = ""
    message: str
    since: int | None = None
    evidence: Mapping[str, Any] = {}
    remedies: tuple[Mapping[str, str], ...] = ()
    state: Literal["raised", "cleared"]

    @property
    def raised(self) -> bool:
        """Whether it is raised rather than cleared."""
        return self.state == "raised"

    @property
    def first_step(self) -> int:
        """The step that what it is about began at; its own step where it does not say so."""
        return self.step if self.since is None else self.since


class CheckpointEvent(Event, frozen=True, kw_only=True):
    """A checkpoint is on the disk at ``path``, relative to the run directory.

    ``own``: the user asked for it. ``cfid``: it is the best so far, by this distance.
    """

    kind = "checkpoint"
    path: str
    own: bool | None = None
    cfid: float | None = None


class ResumeEvent(Event, frozen=True, kw_only=True):
    """A sitting goes on from a checkpoint.

    ``passed_over``: a newer checkpoint that was not taken. ``discards``: steps were given up, so a
    branch begins. ``differs``: why what comes is not the same bit for bit.
    """

    kind = "resume"
    from_step: int | None = None
    checkpoint: str
    passed_over: str | None = None
    discards: bool | None = None
    differs: tuple[str, ...]
    controls: Mapping[str, Any] | None = None


class RewindEvent(Event, frozen=True, kw_only=True):
    """A live run goes back to a checkpoint, on a new branch.

    ``changed``: the controls that differ, each with its value "from" and "to".
    """

    kind = "rewind"
    checkpoint: str
    from_step: int
    from_branch: int | None = None
    by: str | None = None
    changed: Mapping[str, Mapping[str, Value]]
    controls: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name, ends in self.changed.items():
            _check_change(name, ends.get("from"), ends.get("to"))


class NoteEvent(Event, frozen=True, kw_only=True):
    """A remark for whoever reads the journal."""

    kind = "note"
    text: str


class WarningEvent(Event, frozen=True, kw_only=True):
    """A remark about the preset that a watcher shows at the start."""

    kind = "warning"
    text: str


class _WatcherEvent(Event, frozen=True, kw_only=True):
    """A watcher comes or leaves. ``about`` holds what it says of itself, numbers and short words,
    and stands in the line without a name of its own.
    """

    about: Mapping[str, Any] = {}

    def details(self) -> dict[str, Any]:
        """What the watcher says."""
        return dict(self.about)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """The event that a table describes; every name that no event has is the watcher's."""
        head = {name: table[name] for name in Event.__struct_fields__ if name in table}
        about = {name: value for name, value in table.items() if name not in _HEAD}
        return msgspec.convert({**head, "about": about}, cls)


class AttachEvent(_WatcherEvent, frozen=True, kw_only=True):
    """A watcher comes."""

    kind = "attach"


class DetachEvent(_WatcherEvent, frozen=True, kw_only=True):
    """A watcher leaves; a dashboard says what watching has cost."""

    kind = "detach"


class ErrorEvent(Event, frozen=True, kw_only=True):
    """The run breaks off."""

    kind = "error"
    message: str


class StopEvent(Event, frozen=True, kw_only=True):
    """The run ends. ``saved``: its last checkpoint. ``healthy``: the newest good one, where an
    alarm speaks against the last state.
    """

    kind = "stop"
    nullable = frozenset({"saved"})
    reason: str
    state: str | None = None
    saved: str | None = None
    healthy: str | None = None


def from_table(table: Mapping[str, Any]) -> Event | None:
    """The event that a line's table describes; None for a kind that is not known here, and for a
    table that is not sound.
    """
    kind = table.get("kind")
    if not all(name in table for name in _HEAD) or not isinstance(kind, str) or kind not in KINDS:
        return None
    try:
        return KINDS[kind].from_table(table)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return None


def _check_change(name: str, before: object, after: object) -> None:
    """ControlError unless a control can go from one of these values to the other."""
    if name not in KNOBS:
        raise ControlError("there is no such control")
    KNOBS[name].check(before)
    KNOBS[name].check(after)


def _kinds(base: type[Event]) -> dict[str, type[Event]]:
    classes: dict[str, type[Event]] = {}
    for kind in base.__subclasses__():
        classes.update({kind.kind: kind} if kind.kind else {}, **_kinds(kind))
    return classes


KINDS = _kinds(Event)
"""The classes of events by the word in the file."""
BRANCHING = (ResumeEvent, RewindEvent)
"""Events that another branch may begin with."""
