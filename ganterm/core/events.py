"""What a run's journal holds: one class for each kind of event, and how each is written and read.

A line of ``events.jsonl`` is one JSON object: step, branch, time and kind, then the fields of the
class in their order. A new kind is a new class here; whoever shows events may add words for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import msgspec
from msgspec import Struct

from ganterm.core.controls import KNOBS, ControlError, Value
from ganterm.core.findings import Alarm, Severity

AlarmState = Literal["raised", "cleared"]

_HEAD = ("step", "branch", "time", "kind")


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened at ``step`` of ``branch``; ``time`` is ISO 8601, UTC.

    The journal fills in these three when it logs an event. ``kind`` is the word in the file.
    A field that is None is left out of the line, unless its name is in ``nullable``.
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
        """The fields of this kind by their names in the file."""
        names = zip(self.__struct_encode_fields__, self.__struct_fields__, strict=True)
        values = {name: getattr(self, field) for name, field in names if name not in _HEAD}
        return {k: value for k, value in values.items() if value is not None or k in self.nullable}

    def table(self) -> dict[str, Any]:
        """The event as one flat table, in the order of its line."""
        head = {"step": self.step, "branch": self.branch, "time": self.time, "kind": self.kind}
        return {**head, **self.details()}

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """The event of this kind that a line's table describes; ValueError where it is unsound."""
        event = msgspec.convert(dict(table), cls)
        event.check()
        return event

    def check(self) -> None:
        """ValueError where a watcher could not show the event, though its types are right."""


class StartEvent(Event, frozen=True, kw_only=True):
    """Training starts with these controls, right before iteration 1."""

    kind = "start"
    controls: Mapping[str, Any] | None = None


class ChangeEvent(Event, frozen=True, kw_only=True):
    """A control changes; ``step`` is the first with the new value.

    ``by``: "key", "prompt", or the name of a watcher.
    """

    kind = "change"
    key: str
    before: Value = msgspec.field(name="from")
    after: Value = msgspec.field(name="to")
    by: str

    def check(self) -> None:
        """A control must be able to have both values."""
        _check_change(self.key, self.before, self.after)


class ScheduleEvent(ChangeEvent, frozen=True, kw_only=True):
    """A control changes because the preset's schedule says so."""

    kind = "schedule"


class RefusedEvent(Event, frozen=True, kw_only=True):
    """A command is not carried out. ``key`` is a control, "rewind" or ``HAND_OVER``."""

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

    def check(self) -> None:
        """There must be a text, or files and a reason."""
        if self.text is None and (not self.files or self.why is None):
            raise ValueError("neither a text nor files")


class PauseEvent(Event, frozen=True, kw_only=True):
    """Training pauses.

    ``cause`` is given where ganterm pauses by itself; ``waits``: it goes on once the cause is gone.
    """

    kind = "pause"
    cause: str | None = None
    waits: bool | None = None


class UnpauseEvent(Event, frozen=True, kw_only=True):
    """Training goes on after a pause."""

    kind = "unpause"


class AlarmEvent(Event, frozen=True, kw_only=True):
    """An alarm is raised or cleared; ``findings.Alarm`` explains the fields."""

    kind = "alarm"
    name: str
    severity: Severity = "alarm"
    title: str = ""
    message: str
    since: int | None = None
    evidence: Mapping[str, Any] = {}
    remedies: tuple[Mapping[str, str], ...] = ()
    state: AlarmState

    @classmethod
    def of(cls, alarm: Alarm, state: AlarmState) -> AlarmEvent:
        """The event of an alarm that is raised or cleared."""
        return cls(
            name=alarm.name,
            severity=alarm.severity,
            title=alarm.title,
            message=alarm.message,
            since=alarm.since,
            evidence=dict(alarm.evidence),
            remedies=tuple(remedy._asdict() for remedy in alarm.remedies),
            state=state,
        )

    @property
    def raised(self) -> bool:
        """Whether the alarm is raised rather than cleared."""
        return self.state == "raised"

    @property
    def first_step(self) -> int:
        """The step at which the trouble began; the event's own step where the line has none."""
        return self.step if self.since is None else self.since


class CheckpointEvent(Event, frozen=True, kw_only=True):
    """A checkpoint is on the disk at ``path``, relative to the run directory.

    ``own``: the user asked for it. ``cfid`` is given where it is the best checkpoint so far.
    """

    kind = "checkpoint"
    path: str
    own: bool | None = None
    cfid: float | None = None


class ResumeEvent(Event, frozen=True, kw_only=True):
    """A run resumes from a checkpoint.

    ``passed_over`` names a newer checkpoint that was not used. ``discards``: steps are given up, so
    a branch begins. ``differs`` lists what keeps the run from being the same bit for bit.
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

    ``changed`` holds the controls that differ, each with its value "from" and "to".
    """

    kind = "rewind"
    checkpoint: str
    from_step: int
    from_branch: int | None = None
    by: str | None = None
    changed: Mapping[str, Mapping[str, Value]]
    controls: Mapping[str, Any] | None = None

    def check(self) -> None:
        """Each control must be able to have both values."""
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


class _OpenEvent(Event, frozen=True, kw_only=True):
    """An event whose fields are not fixed. ``about`` holds them; the line has no such name."""

    about: Mapping[str, Any] = {}

    def details(self) -> dict[str, Any]:
        """The fields of the line."""
        return dict(self.about)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """The event that a line's table describes; ValueError where it is unsound."""
        head = {name: value for name, value in table.items() if name in _HEAD}
        about = {name: value for name, value in table.items() if name not in _HEAD}
        return msgspec.convert({**head, "about": about}, cls)


class AttachEvent(_OpenEvent, frozen=True, kw_only=True):
    """A watcher comes."""

    kind = "attach"


class DetachEvent(_OpenEvent, frozen=True, kw_only=True):
    """A watcher leaves; a dashboard says what watching has cost."""

    kind = "detach"


class OtherEvent(_OpenEvent, frozen=True, kw_only=True):
    """An event of a kind that this ganterm does not know; another version may have written it."""

    kind: str  # type: ignore[misc]


class ErrorEvent(Event, frozen=True, kw_only=True):
    """The run fails."""

    kind = "error"
    message: str


class StopEvent(Event, frozen=True, kw_only=True):
    """The run ends.

    ``saved`` is its last checkpoint, relative to the run directory. ``healthy`` is given where an
    alarm speaks against that one, and is the newest checkpoint that none speaks against.
    """

    kind = "stop"
    nullable = frozenset({"saved"})
    reason: str
    state: str | None = None
    saved: str | None = None
    healthy: str | None = None


def from_table(table: Mapping[str, Any]) -> Event | None:
    """The event that a line's table describes; None where a watcher could not show it."""
    kind = table.get("kind")
    if not isinstance(kind, str) or not all(name in table for name in _HEAD):
        return None
    try:
        return KINDS.get(kind, OtherEvent).from_table(table)
    except ValueError:
        return None


def _check_change(name: str, before: object, after: object) -> None:
    """ControlError unless a control can have both values."""
    if name not in KNOBS:
        raise ControlError("there is no such control")
    KNOBS[name].check(before)
    KNOBS[name].check(after)


def _kinds(base: type[Event]) -> dict[str, type[Event]]:
    classes = {}
    for cls in base.__subclasses__():
        if isinstance(cls.kind, str) and cls.kind:
            classes[cls.kind] = cls
        classes.update(_kinds(cls))
    return classes


KINDS = _kinds(Event)
"""The class of each kind of event, by the word in the file."""
BRANCHING = (ResumeEvent, RewindEvent)
"""Events that may begin a branch."""
