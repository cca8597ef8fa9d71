"""Words for people: foreign text made safe, and the nearest valid name."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def clean(text: object, limit: int = 200) -> str:
    """Text from outside, safe to send to a terminal.

    Control characters become caret notation, other invisible ones ``<U+XXXX>``; what exceeds
    ``limit`` characters is cut and ends in an ellipsis.
    """
    shown = []
    for char in str(text)[: limit + 1]:
        code = ord(char)
        if code < 0x20 or code == 0x7F:
            shown.append("^" + chr(code ^ 0x40))
        elif unicodedata.category(char) in _INVISIBLE:
            shown.append(f"<U+{code:04X}>")
        else:
            shown.append(char)
    return "".join(shown) if len(shown) <= limit else "".join(shown[: limit - 1]) + "…"


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint to end an error with: the valid name nearest to ``name``, or all of them."""
    names = sorted(valid)
    close = difflib.get_close_matches(name[:64], names, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"valid: {', '.join(names)}"
