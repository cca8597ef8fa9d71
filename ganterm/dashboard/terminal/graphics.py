"""What the terminal answers when it is asked whether it can show pixels.

It is asked once its screen is ours, and answers whenever it will: until then pictures are made of
characters, so that nothing waits for a slow link or for a terminal that never answers. The answers
are taken out of what the user types, of which nothing is lost.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, replace

from ganterm.dashboard.draw.glyphs import Glyphs

_KITTY = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
_CELL_SIZE = "\x1b[16t"
_ATTRIBUTES = "\x1b[c"
QUESTION = _KITTY + _CELL_SIZE + _ATTRIBUTES
"""Every terminal answers the last part, and in order: once that has come, no more will."""

# No key is told in any of these forms, whatever stands within.
_ANSWER = re.compile(
    r"\x1b_(?P<kitty>[^\x1b]{0,200})\x1b\\"
    r"|\x1b\[(?P<report>[\d;]{0,40})t"
    r"|\x1b\[\?(?P<attributes>[\d;]{0,80})c"
)
_BEGUN = re.compile(r"\x1b(?:_[^\x1b]{0,200}\x1b?|\[(?:\??[\d;]{0,80})?)?\Z")
"""An answer of which the rest is still to come, or a key that begins like one."""
_CELL_REPORT = re.compile(r"6;(\d{1,5});(\d{1,5})")
_SIXEL = "4"
_PATIENCE = 0.25
"""Seconds for which the end of the app waits for answers, so that no shell finds them typed."""
_OVERDUE = 1.5
"""Seconds after which an answer is not expected any more, though it would be understood."""


@dataclass(frozen=True)
class Graphics:
    """What is known of the terminal; ``cell`` is a cell's (width, height) in pixels."""

    kitty: bool = False
    sixel: bool = False
    cell: tuple[int, int] | None = None


class Answers:
    """Tells the terminal's answers from what the user types; fed by the thread that reads."""

    def __init__(self) -> None:
        self.graphics = Graphics()
        self._complete = threading.Event()
        self._complete.set()
        self._asked_at = 0.0
        self._held = ""

    def expect(self) -> None:
        """The question is being asked."""
        self._complete.clear()
        self._asked_at = time.monotonic()

    def feed(self, text: str) -> str:
        """What of the newest input was typed; the beginning of an answer is held back."""
        if self._complete.is_set():
            return text
        text, self._held = self._held + text, ""
        typed = _ANSWER.sub(self._take, text)
        begun = None if self._complete.is_set() else _BEGUN.search(typed)
        if begun is not None:
            typed, self._held = typed[: begun.start()], begun.group()
        return typed

    def release(self) -> str:
        """What was held back, after a silence: it was a key."""
        typed, self._held = self._held, ""
        return typed

    def await_them(self) -> None:
        """Wait for answers that may still be on their way, but not for long."""
        if time.monotonic() - self._asked_at < _OVERDUE:
            self._complete.wait(_PATIENCE)

    def _take(self, answer: re.Match[str]) -> str:
        told = self.graphics
        if answer["kitty"] is not None:
            told = replace(told, kitty=answer["kitty"][:1] == "G" and answer["kitty"][-3:] == ";OK")
        elif answer["report"] is not None:
            size = _CELL_REPORT.fullmatch(answer["report"])
            cell = believed(int(size[2]), int(size[1])) if size else None
            told = replace(told, cell=cell)
        else:
            # The first number is the kind of terminal, the others are what it can do.
            told = replace(told, sixel=_SIXEL in answer["attributes"].split(";")[1:])
            self._complete.set()
        self.graphics = told
        return ""


def believed(width: float, height: float) -> tuple[int, int] | None:
    """The size of a cell in pixels, None where no font would have it."""
    return (int(width), int(height)) if 3 <= width <= 100 and 5 <= height <= 200 else None


def in_pixels(glyphs: Glyphs, graphics: Graphics, cell: tuple[int, int] | None) -> Glyphs:
    """The glyphs with the best pictures that the terminal can show.

    ``cell``: its size, where the system knows it. Where the user has chosen pixels, that is all
    there is to be learnt.
    """
    cell = cell or graphics.cell
    if cell is None or not (glyphs.pixels or glyphs.ask):
        return glyphs
    if glyphs.pixels:
        return replace(glyphs, dots=cell)
    if graphics.kitty:
        return replace(glyphs, pictures="kitty", dots=cell)
    return replace(glyphs, pictures="sixel", dots=cell) if graphics.sixel else glyphs
