"""Words for people: foreign text made safe, and the nearest valid name."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from typing import Any

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_MOST_MARKS = 2
"""Combining marks on one letter; more would pile up over the lines around it."""
_DEEPEST = 12
_LONGEST = 4000
_MOST_NAMES = 60
"""Valid names that an error lists; with more it is no longer read."""


def clean(text: object, limit: int = 200) -> str:
    """Text from outside, safe to send to a terminal.

    Control characters become caret notation, other invisible ones ``<U+XXXX>``, and so do
    combining marks without a letter or in excess; what exceeds ``limit`` characters is cut and
    ends in an ellipsis. What is clean stays as it is.
    """
    raw = str(text)[: limit + 1]
    if raw.isascii() and raw.isprintable() and len(raw) <= limit:
        return raw
    shown: list[str] = []
    length, marks = 0, _MOST_MARKS
    for char in raw:
        safe = _safe(char)
        if unicodedata.category(char)[0] == "M":
            marks += 1
            safe = char if marks <= _MOST_MARKS else f"<U+{ord(char):04X}>"
        else:
            marks = 0 if safe == char else _MOST_MARKS
        shown.append(safe)
        length += len(safe)
    if length <= limit:
        return "".join(shown)
    while shown and length > limit - 1:
        length -= len(shown.pop())
    return "".join(shown) + "…"


def _safe(char: str) -> str:
    code = ord(char)
    if code < 0x20 or code == 0x7F:
        return "^" + chr(code ^ 0x40)
    return f"<U+{code:04X}>" if unicodedata.category(char) in _INVISIBLE else char


def clean_lines(text: object) -> str:
    """Text of several lines, each of them cleaned."""
    return "\n".join(clean(line, _LONGEST) for line in str(text).split("\n"))


def clean_data(value: Any, depth: int = 0) -> Any:
    """Data from outside, as JSON holds them, with every text in them cleaned.

    ValueError where they are nested deeper than anything that ganterm writes.
    """
    if depth > _DEEPEST:
        raise ValueError("too deep")
    match value:
        case str():
            return clean(value, _LONGEST)
        case list():
            return [clean_data(item, depth + 1) for item in value]
        case dict():
            return {
                clean(key, _LONGEST): clean_data(item, depth + 1) for key, item in value.items()
            }
    return value


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint to end an error with: the valid name nearest to ``name``, or all of them; of many the
    first ``_MOST_NAMES``."""
    names = sorted(valid)
    close = difflib.get_close_matches(name[:64], names, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"valid: {', '.join(names[:_MOST_NAMES])}{more}"
