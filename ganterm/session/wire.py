"""What trainer and watchers of other processes say to each other: a JSON object a line. No torch.

Nothing is believed: a line either is one of the messages below in every field, or ``WireError``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import orjson

from ganterm.core.findings import Diagnosis
from ganterm.core.snapshot import DEFAULT_VIEW, Command, Sample, Snapshot, View
from ganterm.session.codec import WireError, packed, reader_of

PROTOCOL = 1
"""Counts up when an older watcher could no longer understand a newer trainer, or the other way."""

LONGEST_ASKED = 1 << 16
"""Bytes of a line from a watcher."""
LONGEST_TOLD = 1 << 25
"""Bytes of a line from a trainer; sample pictures make the long ones."""


@dataclass(frozen=True)
class Hello:
    """A watcher's first line. ``terminal``: what it sits at, "" for none."""

    protocol: int
    readonly: bool = False
    terminal: str = ""


@dataclass(frozen=True)
class Do:
    """A command, answered under ``number``."""

    number: int
    command: Command


@dataclass(frozen=True)
class Watch:
    """How often sample pictures are wanted, and of what; see ``Session.watch``."""

    samples_per_s: float
    view: View = DEFAULT_VIEW


@dataclass(frozen=True)
class Note:
    """A watcher came or goes, for the event log."""

    kind: Literal["attach", "detach"]
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Welcome:
    """The trainer's first line: the run, its process, and how the watcher is called in events."""

    protocol: int
    run: str
    pid: int
    you: str


@dataclass(frozen=True, eq=False)
class News:
    """The newest snapshot, without its sample and diagnosis, which change less often."""

    snapshot: Snapshot


@dataclass(frozen=True, eq=False)
class Picture:
    """The newest sample."""

    sample: Sample | None


@dataclass(frozen=True, eq=False)
class Found:
    """The newest diagnosis."""

    diagnosis: Diagnosis


@dataclass(frozen=True)
class Beat:
    """The process lives, though there is no news."""


@dataclass(frozen=True)
class Answer:
    """A command acts in the iteration that completes as ``step``, or is ``refused``, and why."""

    number: int
    step: int
    refused: str = ""


@dataclass(frozen=True)
class Goodbye:
    """The last line. ``ended``: the run is over; else the watcher must leave, and why."""

    ended: bool
    why: str = ""


Asked = Hello | Do | Watch | Note
Told = Welcome | News | Picture | Found | Beat | Answer | Goodbye


def line(message: Asked | Told) -> bytes:
    """A message as it is sent, with its line feed."""
    table = {"is": type(message).__name__, **packed(message)}
    return orjson.dumps(table, option=orjson.OPT_APPEND_NEWLINE)


def asked(content: bytes) -> Asked:
    """What a watcher asks; WireError where it is nothing that could be asked."""
    return _message(content, Asked, LONGEST_ASKED, strict=True)


def told(content: bytes) -> Told:
    """What a trainer tells; fields that only a newer one knows are passed over."""
    return _message(content, Told, LONGEST_TOLD, strict=False)


def _message(content: bytes, kinds: Any, longest: int, strict: bool) -> Any:
    if len(content) > longest:
        raise WireError(f"longer than {longest:,} bytes")
    try:
        table = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise WireError("not JSON") from None
    known = {kind.__name__: kind for kind in get_args(kinds)}
    name = table.pop("is", None) if isinstance(table, dict) else None
    if not isinstance(name, str) or name not in known:
        raise WireError("no message of this protocol")
    return reader_of(known[name])(table, strict)
