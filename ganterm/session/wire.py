"""What trainer and watchers of other processes say to each other: a JSON object a line. No torch.

How a type of the protocol is written follows from its annotations, so a field more there is a field
more here. Arrays are base64 of their little-endian bytes. Nothing is believed: a line either is one
of the messages below in every field, or ``WireError``; its text is made safe to show.
"""

from __future__ import annotations

import base64
import binascii
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import orjson
from numpy.typing import NDArray

from ganterm.controls import KNOBS, ControlError
from ganterm.session.findings import Diagnosis
from ganterm.session.protocol import (
    DEFAULT_VIEW,
    Command,
    Sample,
    SetControl,
    Snapshot,
    View,
)
from ganterm.text import clean, clean_data

PROTOCOL = 1
"""Counts up when an older watcher could no longer understand a newer trainer, or the other way."""

LONGEST_ASKED = 1 << 16
"""Bytes of a line from a watcher."""
LONGEST_TOLD = 1 << 25
"""Bytes of a line from a trainer; sample pictures make the long ones."""

_LONGEST_TEXT = 4000
_DTYPES = ("|u1", "|b1", "<i4", "<i8", "<f4", "<f8")
_MOST_DIMENSIONS = 5
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class WireError(ValueError):
    """A line that is no message; what is wrong with it, in a few words."""


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
    table = {"is": type(message).__name__, **_packed(message)}
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
    return _reader(known[name])(table, strict)


def _packed(value: Any) -> Any:
    """A value as JSON can hold it; a number that is not finite is its name."""
    match value:
        case bool() | int() | str() | None:
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case np.generic():
            return _packed(value.item())
        case np.ndarray():
            ordered = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
            content = base64.b64encode(ordered.data).decode() if value.size else ""
            return {"dtype": ordered.dtype.str, "shape": value.shape, "base64": content}
        case tuple() | list():
            return [_packed(item) for item in value]
        case Mapping():
            return {str(key): _packed(item) for key, item in value.items()}
    table = {f.name: _packed(getattr(value, f.name)) for f in fields(value)}
    return {"is": type(value).__name__, **table} if type(value) in get_args(Command) else table


Reader = Callable[[Any, bool], Any]


@cache
def _reader(kind: Any) -> Reader:
    """What makes a value of type ``kind`` from JSON; the second argument is ``strict``."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind == Command:
        return _command
    if origin in (Union, types.UnionType):
        return _union(inner)
    if origin is Literal:
        return _literal(inner)
    if origin is tuple:
        return _tuple(inner)
    if origin is np.ndarray:
        return _array(inner[1])
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(inner[1])
    if is_dataclass(kind):
        return _table(kind)
    if isinstance(kind, type) and issubclass(kind, tuple):
        return _named_tuple(kind)
    return _PLAIN[kind]


def _text(value: Any, _strict: bool = True) -> str:
    if type(value) is not str:
        raise WireError("not a text")
    plain = value.isascii() and value.isprintable() and len(value) <= _LONGEST_TEXT
    return value if plain else clean(value, _LONGEST_TEXT)


def _whole(value: Any, _strict: bool) -> int:
    if type(value) is not int:
        raise WireError("not a whole number")
    return value


def _number(value: Any, strict: bool) -> float:
    if not strict and isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if type(value) not in (int, float):
        raise WireError("not a number")
    return float(value)


def _truth(value: Any, _strict: bool) -> bool:
    if type(value) is not bool:
        raise WireError("neither true nor false")
    return value


def _nothing(value: Any, _strict: bool) -> None:
    if value is not None:
        raise WireError("not null")


def _anything(value: Any, _strict: bool) -> Any:
    try:
        return clean_data(value)
    except ValueError as error:
        raise WireError(str(error)) from None


_PLAIN: dict[Any, Reader] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: _truth,
    type(None): _nothing,
    Any: _anything,
}


def _union(inner: tuple[Any, ...]) -> Reader:
    if set(inner) <= _PLAIN.keys():
        # Of several plain types, the one that JSON says it is.
        readers = {kind: _reader(kind) for kind in inner}

        def plain(value: Any, strict: bool) -> Any:
            if type(value) in readers:
                return readers[type(value)](value, strict)
            if float in readers:
                return _number(value, strict)
            raise WireError("of a wrong type")

        return plain
    if all(get_origin(kind) is Literal for kind in inner):
        return _literal(tuple(choice for kind in inner for choice in get_args(kind)))
    (some,) = (kind for kind in inner if kind is not type(None))
    reader = _reader(some)
    return lambda value, strict: None if value is None else reader(value, strict)


def _literal(choices: tuple[Any, ...]) -> Reader:
    def read(value: Any, _strict: bool) -> Any:
        if not isinstance(value, str) or value not in choices:
            raise WireError("none of the choices")
        return value

    return read


def _tuple(inner: tuple[Any, ...]) -> Reader:
    many = inner[-1] is Ellipsis
    readers = [_reader(kind) for kind in inner if kind is not Ellipsis]

    def read(value: Any, strict: bool) -> tuple[Any, ...]:
        if type(value) is not list or (not many and len(value) != len(readers)):
            raise WireError("not a list of that length")
        used = readers * len(value) if many else readers
        return tuple(reader(item, strict) for reader, item in zip(used, value, strict=True))

    return read


def _named_tuple(kind: Any) -> Reader:
    hints = get_type_hints(kind)
    read = _tuple(tuple(hints[name] for name in kind._fields))
    return lambda value, strict: kind(*read(value, strict))


def _mapping(inner: Any) -> Reader:
    reader = _reader(inner)

    def read(value: Any, strict: bool) -> dict[str, Any]:
        if type(value) is not dict:
            raise WireError("not an object")
        return {_text(name): reader(item, strict) for name, item in value.items()}

    return read


def _table(kind: Any) -> Reader:
    hints = get_type_hints(kind)
    readers = {f.name: _reader(hints[f.name]) for f in fields(kind)}
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}

    def read(value: Any, strict: bool) -> Any:
        if type(value) is not dict:
            raise WireError(f"{kind.__name__} is not an object")
        if missing := needed - value.keys():
            raise WireError(f"{kind.__name__} without {min(missing)}")
        if strict and (unknown := value.keys() - readers.keys()):
            raise WireError(f"{kind.__name__} has no {clean(min(unknown), 40)}")
        made = {}
        for name, reader in readers.items():
            if name in value:
                try:
                    made[name] = reader(value[name], strict)
                except WireError as error:
                    raise WireError(f"{name}: {error}") from None
        try:
            return kind(**made)
        except ControlError as error:
            raise WireError(str(error)) from None

    return read


def _command(value: Any, strict: bool) -> Command:
    known = {kind.__name__: kind for kind in get_args(Command)}
    table = dict(value) if type(value) is dict else {}
    name = table.pop("is", None)
    if not isinstance(name, str) or name not in known:
        raise WireError("there is no such command")
    command = _reader(known[name])(table, strict)
    if isinstance(command, SetControl):
        try:
            knob = KNOBS[command.name]
            return SetControl(command.name, knob.check(command.value), command.by)
        except KeyError:
            raise WireError(f"there is no control {clean(command.name, 40)}") from None
        except ControlError as error:
            raise WireError(str(error)) from None
    return command


def _array(kind: Any) -> Reader:
    (scalar,) = get_args(kind)
    dtypes = _DTYPES if scalar is Any else (np.dtype(scalar).newbyteorder("<").str,)

    def read(value: Any, _strict: bool) -> NDArray[Any]:
        if type(value) is not dict or value.keys() != {"dtype", "shape", "base64"}:
            raise WireError("not an array")
        dtype, shape, text = value["dtype"], value["shape"], value["base64"]
        if dtype not in dtypes or type(text) is not str:
            raise WireError("not an array of that kind")
        sizes = type(shape) is list and len(shape) <= _MOST_DIMENSIONS
        if not sizes or not all(type(n) is int and 0 <= n <= LONGEST_TOLD for n in shape):
            raise WireError("not the shape of an array")
        try:
            content = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise WireError("not base64") from None
        if math.prod(shape) * np.dtype(dtype).itemsize != len(content):
            raise WireError("not as many bytes as the shape says")
        return np.frombuffer(content, dtype).reshape(shape)

    return read
