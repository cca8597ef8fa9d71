"""Values of the protocol's types as JSON, and back.

How a type is written follows from its annotations, so a field more there is a field more here.
Arrays are base64 of their little-endian bytes. Nothing is believed: a value either is of its type
in every field, or ``WireError``; its text is made safe to show.
"""

from __future__ import annotations

import base64
import binascii
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from ganterm.core.controls import KNOBS, ControlError
from ganterm.core.snapshot import Command, SetControl
from ganterm.core.text import clean, clean_data

_LONGEST_TEXT = 4000
_DTYPES = ("|u1", "|b1", "<i4", "<i8", "<f4", "<f8")
_MOST_DIMENSIONS = 5
_LONGEST_SIDE = 1 << 25
_MOST_ITEMS = 1 << 16
"""Of a list or an object; no message has more."""
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class WireError(ValueError):
    """A line that is no message, or a value of another type; what is wrong, in a few words."""


def packed(value: Any) -> Any:
    """A value as JSON can hold it; a number that is not finite is its name."""
    match value:
        case bool() | int() | str() | None:
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case np.generic():
            return packed(value.item())
        case np.ndarray():
            ordered = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
            content = base64.b64encode(ordered.data).decode() if value.size else ""
            return {"dtype": ordered.dtype.str, "shape": value.shape, "base64": content}
        case tuple() | list():
            return [packed(item) for item in value]
        case Mapping():
            return {str(key): packed(item) for key, item in value.items()}
    table = {f.name: packed(getattr(value, f.name)) for f in fields(value)}
    return {"is": type(value).__name__, **table} if type(value) in get_args(Command) else table


Reader = Callable[[Any, bool], Any]


@cache
def reader_of(kind: Any) -> Reader:
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
        readers = {kind: reader_of(kind) for kind in inner}

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
    reader = reader_of(some)
    return lambda value, strict: None if value is None else reader(value, strict)


def _literal(choices: tuple[Any, ...]) -> Reader:
    def read(value: Any, _strict: bool) -> Any:
        if not isinstance(value, str) or value not in choices:
            raise WireError("none of the choices")
        return value

    return read


def _tuple(inner: tuple[Any, ...]) -> Reader:
    many = inner[-1] is Ellipsis
    readers = [reader_of(kind) for kind in inner if kind is not Ellipsis]

    def read(value: Any, strict: bool) -> tuple[Any, ...]:
        if type(value) is not list or (not many and len(value) != len(readers)):
            raise WireError("not a list of that length")
        if len(value) > _MOST_ITEMS:
            raise WireError(f"more than {_MOST_ITEMS:,}")
        used = readers * len(value) if many else readers
        return tuple(reader(item, strict) for reader, item in zip(used, value, strict=True))

    return read


def _named_tuple(kind: Any) -> Reader:
    hints = get_type_hints(kind)
    read = _tuple(tuple(hints[name] for name in kind._fields))
    return lambda value, strict: kind(*read(value, strict))


def _mapping(inner: Any) -> Reader:
    reader = reader_of(inner)

    def read(value: Any, strict: bool) -> dict[str, Any]:
        if type(value) is not dict:
            raise WireError("not an object")
        if len(value) > _MOST_ITEMS:
            raise WireError(f"more than {_MOST_ITEMS:,}")
        return {_text(name): reader(item, strict) for name, item in value.items()}

    return read


def _table(kind: Any) -> Reader:
    hints = get_type_hints(kind)
    readers = {f.name: reader_of(hints[f.name]) for f in fields(kind)}
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
    command = reader_of(known[name])(table, strict)
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
        if not sizes or not all(type(n) is int and 0 <= n <= _LONGEST_SIDE for n in shape):
            raise WireError("not the shape of an array")
        try:
            content = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise WireError("not base64") from None
        if math.prod(shape) * np.dtype(dtype).itemsize != len(content):
            raise WireError("not as many bytes as the shape says")
        if dtype == "|b1" and not set(content) <= {0, 1}:
            raise WireError("neither true nor false")
        return np.frombuffer(content, dtype).reshape(shape)

    return read
