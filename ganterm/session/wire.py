"""The messages between a trainer and the watchers of other processes. No torch.

A message travels as a frame: its length in four bytes, most significant first, then msgpack.
Neither side trusts the other. A message is of the right type in every field, or it raises
``WireError``; every text in it is safe to show.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from ganterm.core.controls import KNOBS, ControlError
from ganterm.core.findings import Diagnosis
from ganterm.core.snapshot import DEFAULT_VIEW, Command, Sample, SetControl, Snapshot, View
from ganterm.core.text import clean

PROTOCOL = 2
"""Version of the messages. It rises when old and new processes no longer understand each other."""

LONGEST_CLIENT_MESSAGE = 1 << 16
"""Largest message of a watcher, in bytes."""
LONGEST_SERVER_MESSAGE = 1 << 25
"""Largest message of a trainer, in bytes. Sample pictures make the long ones."""

_HEAD = 4
"""Bytes of the length before each message."""
_LONGEST_TEXT = 4000
"""Characters of a text; longer ones are cut."""
_MOST_ITEMS = 1 << 16
"""Items of a list or a table. No real message has more."""
_DEEPEST = 16
"""Levels of lists and tables. A real message has at most half as many."""
_ARRAY = 1
"""Code of the msgpack extension that holds an array: dtype, shape and bytes, as msgpack."""
_DTYPES = ("|u1", "|b1", "<i4", "<i8", "<f4", "<f8")
"""Types of an array's numbers. None of them holds Python objects."""
_MOST_DIMENSIONS = 5
_LONGEST_SIDE = 1 << 25
"""Items along one dimension of an array."""


class WireError(ValueError):
    """Bytes that are no message, or a value that cannot be; says what is wrong in a few words."""


class _ClientMessage(Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """A watcher's message. Fields that this version does not have are refused."""


class _ServerMessage(Struct, frozen=True, tag=True, eq=False):
    """A trainer's message. Fields that only a newer trainer has are ignored."""


class Hello(_ClientMessage, frozen=True):
    """A watcher's first message. ``terminal`` is the one it runs in, "" for none."""

    protocol: int
    readonly: bool = False
    terminal: str = ""


class Do(_ClientMessage, frozen=True):
    """A command; its answer carries the same ``number``."""

    number: int
    command: Command


class _NamedDo(_ClientMessage, frozen=True, tag="Do"):
    """``Do`` as it travels: the command's class by name, and its fields."""

    number: int
    command: tuple[str, dict[str, Any]]


class Watch(_ClientMessage, frozen=True):
    """How often the watcher wants sample pictures, and of which view; see ``Session.watch``."""

    samples_per_s: float
    view: View = DEFAULT_VIEW


class Note(_ClientMessage, frozen=True):
    """The watcher comes or goes; recorded in the event log."""

    kind: Literal["attach", "detach"]
    data: dict[str, Any] = {}


class Greeting(_ServerMessage, frozen=True):
    """The trainer's first message: the run, its process, and the watcher's name in events."""

    protocol: int
    run: str
    pid: int
    display_name: str


class SnapshotUpdate(_ServerMessage, frozen=True):
    """The newest snapshot without its sample and diagnosis, which change less often."""

    snapshot: Snapshot


class SampleUpdate(_ServerMessage, frozen=True):
    """The newest sample."""

    sample: Sample | None


class DiagnosisUpdate(_ServerMessage, frozen=True):
    """The newest diagnosis."""

    diagnosis: Diagnosis


class Heartbeat(_ServerMessage, frozen=True):
    """The process is alive, though nothing has changed."""


class Answer(_ServerMessage, frozen=True):
    """The command acts in the iteration that completes as ``step``, unless ``refused`` says why
    it does not."""

    number: int
    step: int
    refused: str = ""


class Goodbye(_ServerMessage, frozen=True):
    """The last message. ``ended``: the run is over; otherwise ``why`` the watcher has to leave."""

    ended: bool
    why: str = ""


ClientMessage = Hello | Do | Watch | Note
ServerMessage = (
    Greeting | SnapshotUpdate | SampleUpdate | DiagnosisUpdate | Heartbeat | Answer | Goodbye
)

OLD_GOODBYE = (
    b'{"is":"Goodbye","ended":false,"why":"the run speaks protocol %d; attach with the ganterm '
    b'that trains it"}\n' % PROTOCOL
)
"""The answer to a watcher of protocol 1, whose messages are lines of JSON and begin with "{"."""


class FrameReader:
    """Cuts the bytes of a connection into messages of at most ``longest`` bytes."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._bytes = bytearray()

    def feed(self, content: bytes) -> None:
        """Add bytes that have arrived."""
        self._bytes += content

    def next(self) -> bytes | None:
        """The next message, None until it is complete; WireError where it is too long."""
        if len(self._bytes) < _HEAD:
            return None
        size = int.from_bytes(self._bytes[:_HEAD])
        if size > self._longest:
            raise WireError(f"a message of {size:,} bytes; {self._longest:,} are allowed")
        end = _HEAD + size
        if len(self._bytes) < end:
            return None
        message = bytes(self._bytes[_HEAD:end])
        del self._bytes[:end]
        return message

    @property
    def is_old(self) -> bool:
        """Whether what came is of protocol 1. No client message is long enough to begin so."""
        return self._bytes.startswith(b"{")

    def clear(self) -> None:
        """Drop the bytes that are not read yet."""
        self._bytes.clear()


def frame(message: ClientMessage | ServerMessage) -> bytes:
    """The bytes of a message with its length in front."""
    value: object = message
    if isinstance(message, Do):
        value = {
            "type": "Do",
            "number": message.number,
            "command": (type(message.command).__name__, message.command),
        }
    content = msgspec.msgpack.encode(value, enc_hook=_encoded)
    return len(content).to_bytes(_HEAD) + content


def client_message(content: bytes) -> ClientMessage:
    """The message of a watcher; WireError where it is none in every field."""
    table = _table(content, LONGEST_CLIENT_MESSAGE, finite=True)
    message: Hello | _NamedDo | Watch | Note = _converted(table, Hello | _NamedDo | Watch | Note)
    if isinstance(message, Watch):
        _check_names(View, table.get("view", {}))
    if isinstance(message, _NamedDo):
        return Do(message.number, _command(*message.command))
    return message


def server_message(content: bytes) -> ServerMessage:
    """The message of a trainer; WireError where it is none."""
    table = _table(content, LONGEST_SERVER_MESSAGE, finite=False)
    message: ServerMessage = _converted(table, ServerMessage)
    return message


def _encoded(value: Any) -> Any:
    """What msgspec cannot encode by itself: mappings, and NumPy's numbers and arrays."""
    match value:
        case np.generic():
            return value.item()
        case np.ndarray():
            ordered = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
            parts = ordered.dtype.str, value.shape, ordered.tobytes()
            return msgspec.msgpack.Ext(_ARRAY, msgspec.msgpack.encode(parts))
        case Mapping():
            return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be part of a message")


def _table(content: bytes, longest: int, finite: bool) -> dict[str, Any]:
    """The table that a message is, its texts cleaned; ``finite``: whether NaN is refused."""
    if len(content) > longest:
        raise WireError(f"longer than {longest:,} bytes")
    try:
        value = msgspec.msgpack.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError):
        # msgspec 0.21 raises TypeError where a name within a table is a table itself.
        raise WireError("not msgpack") from None
    if type(value) is not dict:
        raise WireError("no message of this protocol")
    table: dict[str, Any] = _cleaned(value, finite)
    return table


def _cleaned(value: Any, finite: bool, depth: int = 0) -> Any:
    """A decoded value, its texts safe to show; WireError where it holds what no message holds."""
    kind = type(value)
    if kind is str:
        plain = value.isascii() and value.isprintable() and len(value) <= _LONGEST_TEXT
        return value if plain else clean(value, _LONGEST_TEXT)
    if kind is float and finite and not math.isfinite(value):
        raise WireError("not a finite number")
    if kind in (float, int, bool, type(None)):
        return value
    if kind is msgspec.msgpack.Ext and not finite:
        return value
    if kind not in (list, dict):
        raise WireError(f"a {kind.__name__}, which no message holds")
    if depth == _DEEPEST:
        raise WireError("too deep")
    if len(value) > _MOST_ITEMS:
        raise WireError(f"more than {_MOST_ITEMS:,} items")
    if kind is list:
        return [_cleaned(item, finite, depth + 1) for item in value]
    table = {}
    for name, item in value.items():
        if type(name) is not str:
            raise WireError("a name that is no text")
        try:
            table[_cleaned(name, finite)] = _cleaned(item, finite, depth + 1)
        except WireError as error:
            raise WireError(f"{clean(name, 40)}: {error}") from None
    return table


def _converted(value: object, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind, dec_hook=_decoded)
    except msgspec.ValidationError as error:
        what, _, where = clean(error, 160).partition(" - at `$")
        where = where.rstrip("`").lstrip(".")
        raise WireError(f"{where}: {what}" if where else what) from None


def _command(name: str, table: dict[str, Any]) -> Command:
    kind = next((kind for kind in get_args(Command) if kind.__name__ == name), None)
    if kind is None:
        raise WireError("there is no such command")
    _check_names(kind, table)
    command: Command = _converted(table, kind)
    if isinstance(command, SetControl):
        try:
            value = KNOBS[command.name].check(command.value)
        except KeyError:
            raise WireError(f"there is no control {clean(command.name, 40)}") from None
        except ControlError as error:
            raise WireError(str(error)) from None
        return SetControl(command.name, value, command.by)
    return command


def _check_names(kind: Any, table: dict[str, Any]) -> None:
    """WireError for a field that a dataclass does not have; msgspec would ignore it."""
    if unknown := table.keys() - {field.name for field in fields(kind)}:
        raise WireError(f"{kind.__name__} has no {clean(min(unknown), 40)}")


def _decoded(kind: Any, value: object) -> NDArray[Any]:
    """The array of an extension, for a field of type ``kind``, which may name its dtype.

    ValueError where it is no such array. Its size is checked before it is made.
    """
    if get_origin(kind) is not np.ndarray or type(value) is not msgspec.msgpack.Ext:
        raise ValueError("not an array")
    try:
        dtype, shape, content = msgspec.msgpack.decode(
            value.data, type=tuple[str, tuple[int, ...], bytes]
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("not an array") from None
    (scalar,) = get_args(get_args(kind)[1])
    if value.code != _ARRAY or dtype not in (
        _DTYPES if scalar is Any else (np.dtype(scalar).newbyteorder("<").str,)
    ):
        raise ValueError("not an array of that kind")
    if len(shape) > _MOST_DIMENSIONS or not all(0 <= side <= _LONGEST_SIDE for side in shape):
        raise ValueError("not the shape of an array")
    if math.prod(shape) * np.dtype(dtype).itemsize != len(content):
        raise ValueError("not as many bytes as the shape says")
    if dtype == "|b1" and not set(content) <= {0, 1}:
        raise ValueError("neither true nor false")
    return np.frombuffer(content, dtype).reshape(shape)
