"""Text as an attacker writes it, and what must not be left of it on a terminal."""

from __future__ import annotations

import unicodedata
from dataclasses import fields, is_dataclass, replace
from typing import Any

MARK = "PWNED"

PAYLOADS = {
    "clipboard, BEL": "\x1b]52;c;UFdORUQ=\x07",
    "clipboard, ST": "\x1b]52;c;UFdORUQ=\x1b\\",
    "title": f"\x1b]0;{MARK}\x07",
    "link": f"\x1b]8;;http://x.example/\x1b\\{MARK}\x1b]8;;\x1b\\",
    "clear": f"\x1b[2J\x1b[H{MARK}",
    "colour": f"\x1b[31;1m{MARK}",
    "8-bit CSI": f"\x9b2J{MARK}",
    "8-bit OSC": "\x9d52;c;UFdORUQ=\x9c",
    "DCS": f"\x1bPq{MARK}\x1b\\",
    "DECRQSS": "\x1bP$qm\x1b\\",
    "mouse on": "\x1b[?1003h",
    "right to left": f"\u202e{MARK}\u2066\u2069",
    "zero width": "\u200bPW\u200dNED\ufeff",
    "tags": "\U000e0001\U000e0050\U000e0057",
    "bell, backspace, return": f"{MARK}\x07\x08\x08\x08\r\x7f",
    "line feed": f"\nganterm: {MARK}\n",
    "line separator": f"\u2028{MARK}\u0085\u2029",
    "clickable": f"[@click=app.quit]{MARK}[/]",
    "markup": f"[bold red on white]{MARK}[/bold red on white]",
    "link markup": f"[link=http://x.example/]{MARK}[/link]",
    "broken markup": f"[/{MARK}] \\[[",
    "lone surrogate": f"{MARK}\udc9b\ud800",
    "very long": MARK * 40_000,
    "combining flood": f"P{chr(0x301) * 500}",
}

EVERYTHING = "".join(text for name, text in PAYLOADS.items() if len(text) < 1000)
"""All short ones in one text."""

_FORBIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}

_OURS_NEVER = (
    *("\x1b]52", "\x1b]0;", "\x1b]8;", "\x1bP", f"\x1b[H{MARK}", f"\x1b[31;1m{MARK}"),
    *(f"{MARK}\x07", "\r\x7f", chr(0x301) * 3),
)
"""What ganterm itself never sends."""


def sent_of_data(raw: bytes) -> list[str]:
    """What a terminal was sent that only data can have brought: control characters by 8 bits,
    invisible ones, or whole sequences of payloads."""
    text = raw.decode()
    invisible = {
        char for char in text if char > "\x7f" and unicodedata.category(char) in _FORBIDDEN
    }
    return [*map(ascii, invisible), *(ascii(part) for part in _OURS_NEVER if part in text)]


def harm(text: str, limit: int = 100_000) -> list[str]:
    """What is wrong with a text that was shown; nothing if all is well."""
    found = [
        f"U+{ord(char):04X}"
        for char in text
        if char != "\n" and unicodedata.category(char) in _FORBIDDEN
    ]
    if chr(0x301) * 3 in text:
        found.append("a pile of marks")
    if len(text) > limit:
        found.append(f"{len(text):,} characters")
    found += [
        f"a line of its own: {line}"
        for line in text.split("\n")
        if line.startswith(f"ganterm: {MARK}")
    ]
    return found


def infected(thing: Any, text: str) -> Any:
    """A frozen object of the protocol with ``text`` in every field that holds free text."""
    if isinstance(thing, str):
        return text
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return type(thing)(*(infected(part, text) for part in thing))
    if isinstance(thing, tuple):
        return tuple(infected(part, text) for part in thing)
    if isinstance(thing, list):
        return [infected(part, text) for part in thing]
    if isinstance(thing, dict):
        return {key: infected(value, text) for key, value in thing.items()}
    if not is_dataclass(thing) or isinstance(thing, type):
        return thing
    changed = {}
    for field in fields(thing):
        value = getattr(thing, field.name)
        if field.name not in NOT_FREE:
            changed[field.name] = infected(value, text)
    return replace(thing, **changed)


NOT_FREE = {
    "state",
    "severity",
    "network",
    "views",
    "view",
    "kind",
    "loss",
    "controls",
    "time",
    "press",
}
"""Fields that hold one of a few words of ours, which the wire and the readers of files check."""
