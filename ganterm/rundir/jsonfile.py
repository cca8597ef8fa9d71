"""JSON files that ganterm writes, read back within bounds and checked field by field.

By msgspec rather than pydantic, which checks what users write and tells them the nearest key: it
loads in a tenth of the time, and a watcher is to be there within a second.
"""

from __future__ import annotations

import json
from typing import Annotated, TypeVar

import msgspec

from ganterm.core.text import clean

FORMAT = 1
MAX_BYTES = 1 << 20
"""Most bytes of run.json and other small JSON files of a run. Real ones have a few kilobytes."""

MOST_DIGITS = 19
"""Most characters of a whole number in such a file, with its sign."""

Natural = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]

RunId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
"""A run's id, which names files: a random UUID (RFC 9562), and nothing else."""

S = TypeVar("S", bound=msgspec.Struct)


class _Format(msgspec.Struct):
    format: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]


def validated(kind: type[S], content: bytes) -> S:
    """JSON with a format as a Struct; ValueError says, in a line, what is wrong with it.

    The format goes first, since another one may have other fields.
    """
    if len(content) > MAX_BYTES:
        raise ValueError("too large")
    try:
        found = msgspec.json.decode(content, type=_Format).format
        if found == FORMAT:
            json.loads(content, parse_int=_whole, parse_constant=_no_number)
            return msgspec.json.decode(content, type=kind)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    except msgspec.DecodeError as error:
        raise ValueError(_problem(str(error))) from None
    except RecursionError:
        raise ValueError("too deep") from None
    age = "a newer" if found > FORMAT else "an older"
    raise ValueError(f"format {found}, of {age} ganterm; this one reads format {FORMAT}")


def _whole(text: str) -> int:
    """A number that JSON of ours can hold again."""
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a whole number of more than {MOST_DIGITS} digits")
    return int(text)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _problem(told: str) -> str:
    """What msgspec says, with the place of a field before it, as in 'data.name: expected ...'."""
    what, _, place = told.partition(" - at `$")
    # "Expected", but not "JSON".
    what = clean(what if what[1:2].isupper() else what[:1].lower() + what[1:], 120)
    place = clean(place.rstrip("`").lstrip("."), 60)
    return f"{place}: {what}" if place else what
