"""JSON as ganterm writes and reads it: strict, in UTF-8, with NumPy's values as plain ones."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

_MOST_DIGITS = 19
"""Digits of a whole number, its sign included; more do not fit into 64 bits."""
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % _MOST_DIGITS)
_MANTISSA_DIGITS = range(9, 5, -1)
"""Significant digits that tell float32 numbers apart: 9 are always enough, 6 never too many."""


def json_bytes(value: object, indent: int = 0) -> bytes:
    """``value`` as JSON in one line, or over several lines that ``indent`` spaces indent.

    Floats have the shortest form that reads back the same; what is not finite is null. NumPy's
    numbers and arrays become numbers and lists. TypeError for what JSON cannot hold.
    """
    content = msgspec.json.encode(value, enc_hook=_plain)
    return msgspec.json.format(content, indent=indent) if indent else content


def json_line(value: object) -> str:
    """``value`` as JSON in a line of ASCII, which may be printed on any terminal."""
    return json.dumps(msgspec.json.decode(json_bytes(value)))


def parse_json(content: bytes) -> Any:
    """The value of some JSON; ValueError where it is none, or more than ganterm ever writes."""
    try:
        value = msgspec.json.decode(content)
        if _LONG_NUMBER.search(content):
            json.loads(content, parse_int=_whole)
        return value
    except RecursionError:
        raise ValueError("too deep") from None


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a whole number of more than {_MOST_DIGITS} digits")
    return int(text)


def shortest(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Float64 numbers with the fewest decimal digits that still read back as these float32 ones.

    JSON has only float64 numbers: 0.1 in float32 would become 0.10000000149011612.
    """
    exact = values.astype(np.float64)
    result = exact
    with np.errstate(all="ignore"):
        magnitude = np.floor(np.log10(np.abs(exact)))
        for digits in _MANTISSA_DIGITS:
            places = digits - 1 - magnitude
            # Only whole powers of ten are exact, so large numbers are divided first.
            up, down = 10.0 ** np.maximum(places, 0), 10.0 ** np.maximum(-places, 0)
            rounded = np.rint(exact * up / down) / up * down
            result = np.where(rounded.astype(np.float32) == values, rounded, result)
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype == np.float32:
            return shortest(np.asarray(value)).tolist()
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
