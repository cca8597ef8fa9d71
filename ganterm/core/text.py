"""Text for people: foreign text is made safe to show, and errors name the nearest valid name."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from typing import Any

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_MOST_MARKS = 2
"""Most combining marks on one letter; more would cover the neighbouring lines."""
_DEEPEST = 12
"""Deepest nesting of data from outside; ganterm itself writes less."""
_LONGEST = 4000
"""Most characters of one line or text from outside; longer ones are cut."""
_MOST_NAMES = 60
"""Most valid names that an error lists; nobody reads more."""


def clean(text: object, limit: int = 200) -> str:
    """Text from outside, made safe to send to a terminal.

    Control characters become caret notation. Other invisible characters become ``<U+XXXX>``, as
    do combining marks without a letter or beyond ``_MOST_MARKS``. Text longer than ``limit``
    characters is cut and ends in an ellipsis. Clean text stays as it is.
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
    """Text of several lines, each of which is cleaned."""
    return "\n".join(clean(line, _LONGEST) for line in str(text).split("\n"))


def clean_data(value: Any, depth: int = 0) -> Any:
    """JSON data from outside with every text in it cleaned.

    ValueError where the data are nested deeper than ``_DEEPEST``.
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
    """A hint for the end of an error: the valid name nearest to ``name``, else the valid names, of
    which at most ``_MOST_NAMES`` are listed."""
    names = sorted(valid)
    close = difflib.get_close_matches(name[:64], names, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"valid: {', '.join(names[:_MOST_NAMES])}{more}"
