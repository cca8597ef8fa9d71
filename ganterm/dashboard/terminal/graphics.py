"""The question whether the terminal can show pixels, and its answers.

The question is sent once the screen is ours. The answer may come at any time or never, so pictures
are drawn in characters until then and nothing waits. The answers arrive among the user's keys and
are taken out of them; no key is lost.
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
"""Every terminal answers the last part, and answers in order: that answer is the last one."""

# No key has any of these forms.
_ANSWER = re.compile(
    r"\x1b_(?P<kitty>[^\x1b]{0,200})\x1b\\"
    r"|\x1b\[(?P<report>[\d;]{0,40})t"
    r"|\x1b\[\?(?P<attributes>[\d;]{0,80})c"
)
_BEGINNING = re.compile(r"\x1b(?:_[^\x1b]{0,200}\x1b?|\[(?:\??[\d;]{0,80})?)?\Z")
"""The beginning of an answer, or a key that begins like one."""
_CELL_REPORT = re.compile(r"6;(\d{1,5});(\d{1,5})")
_SIXEL = "4"
_PATIENCE = 0.25
"""Seconds for which the app waits at its end for answers, so that they do not reach the shell."""
_OVERDUE = 1.5
"""Seconds after which the app does not wait for an answer any more, though it would read one."""


@dataclass(frozen=True)
class Graphics:
    """The terminal's graphics, as far as known; ``cell`` is a cell's (width, height) in pixels."""

    kitty: bool = False
    sixel: bool = False
    cell: tuple[int, int] | None = None


class Answers:
    """Separates the terminal's answers from the user's keys; the input thread feeds it."""

    def __init__(self) -> None:
        self.graphics = Graphics()
        self._complete = threading.Event()
        self._complete.set()
        self._asked_at = 0.0
        self._held = ""

    def expect(self) -> None:
        """Take note that the question is sent now."""
        self._complete.clear()
        self._asked_at = time.monotonic()

    def feed(self, text: str) -> str:
        """The keys in the newest input; the beginning of an answer is held back."""
        if self._complete.is_set():
            return text
        text, self._held = self._held + text, ""
        typed = _ANSWER.sub(self._take, text)
        rest = None if self._complete.is_set() else _BEGINNING.search(typed)
        if rest is not None:
            typed, self._held = typed[: rest.start()], rest.group()
        return typed

    def release(self) -> str:
        """The text that was held back; after a pause in the input it must be a key."""
        typed, self._held = self._held, ""
        return typed

    def await_them(self) -> None:
        """Wait for answers that may still come, for at most ``_PATIENCE`` seconds."""
        if time.monotonic() - self._asked_at < _OVERDUE:
            self._complete.wait(_PATIENCE)

    def _take(self, answer: re.Match[str]) -> str:
        graphics, kitty = self.graphics, answer["kitty"]
        if kitty is not None:
            graphics = replace(graphics, kitty=kitty[:1] == "G" and kitty[-3:] == ";OK")
        elif answer["report"] is not None:
            size = _CELL_REPORT.fullmatch(answer["report"])
            cell = plausible_cell(int(size[2]), int(size[1])) if size else None
            graphics = replace(graphics, cell=cell)
        else:
            # The first number is the kind of terminal, the others are its abilities.
            graphics = replace(graphics, sixel=_SIXEL in answer["attributes"].split(";")[1:])
            self._complete.set()
        self.graphics = graphics
        return ""


def plausible_cell(width: float, height: float) -> tuple[int, int] | None:
    """A cell's (width, height) in whole pixels, or None where no font has such a size."""
    return (int(width), int(height)) if 3 <= width <= 100 and 5 <= height <= 200 else None


def in_pixels(glyphs: Glyphs, graphics: Graphics, cell: tuple[int, int] | None) -> Glyphs:
    """The glyphs with the best pictures that the terminal can show.

    ``cell``: a cell's (width, height) in pixels where the system knows it, else the terminal's
    own answer counts. Where the user has chosen a protocol, only the size of a cell is used.
    """
    cell = cell or graphics.cell
    if cell is None or not (glyphs.pixels or glyphs.ask):
        return glyphs
    if glyphs.pixels:
        return replace(glyphs, dots=cell)
    if graphics.kitty:
        return replace(glyphs, pictures="kitty", dots=cell)
    return replace(glyphs, pictures="sixel", dots=cell) if graphics.sixel else glyphs
