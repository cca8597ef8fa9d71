"""Pictures in the terminal's own pixels, over cells that are blank: what a frame is followed by."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ganterm.dashboard.draw.cells import Inlay
from ganterm.dashboard.terminal import kitty, sixel


@dataclass(frozen=True)
class Placed:
    """An inlay and the cell of the screen where its upper left corner lies, from 0."""

    inlay: Inlay
    row: int
    column: int


class OverCells:
    """What lies over the cells of an app's frames, as the driver asks for it: nothing."""

    def after_frame(self) -> bytes:
        """What the frame of cells that is being sent is to be followed by."""
        return b""

    def dropped(self) -> None:
        """The terminal has not got the last frame, nor what followed it."""

    def erase(self) -> bytes:
        """What is to be written before the terminal is given back."""
        return b""


class Overlay:
    """Knows what lies over the cells, and writes what must change.

    Sixel pictures are gone where cells are painted; Kitty's stay until they are erased.
    """

    def __init__(self) -> None:
        self._first = 1 + (os.getpid() & 0x7FFF) * 0x10000
        self._there: list[Placed] = []
        self._most = 0
        self._encoded: dict[tuple[str, int, Inlay], bytes] = {}
        self._painted = False
        self._unknown = False

    @property
    def shows(self) -> bool:
        """Whether a picture may be there."""
        return bool(self._there or self._most)

    def painted(self) -> None:
        """Cells below were painted in the frame to come."""
        self._painted = True

    def dropped(self) -> None:
        """The terminal has not got the last frame, nor what followed it."""
        self._unknown = True

    def after_frame(self, wanted: Sequence[Placed], protocol: str) -> bytes:
        """What to write after a frame, so that exactly the ``wanted`` pictures are seen."""
        gone = self._unknown or (self._painted and protocol == "sixel")
        before: list[Placed | None] = [*self._there]
        before += [None] * (len(wanted) - len(before))
        new = [
            (number, placed)
            for number, (placed, old) in enumerate(zip(wanted, before, strict=False))
            if gone or placed != old
        ]
        written = self._erased(len(wanted)) if protocol == "kitty" or not wanted else b""
        if new:
            parts = [self._shown(number, placed, protocol) for number, placed in new]
            written += b"\x1b7" + b"".join(parts) + b"\x1b8"
        self._there = list(wanted)
        self._painted = self._unknown = False
        self._encoded = {
            key: data
            for key, data in self._encoded.items()
            if any(key[2] is placed.inlay for placed in wanted)
        }
        return written

    @property
    def undo(self) -> bytes:
        """What removes every picture, whatever else is known."""
        return b"".join(kitty.erase(self._first + number) for number in range(self._most))

    def erase(self) -> bytes:
        """Remove every picture that may be there; the next frame is followed by all of them."""
        self._there = []
        return self._erased(0)

    def _erased(self, kept: int) -> bytes:
        """Removes Kitty's pictures, but for the first so many."""
        gone, self._most = range(kept, self._most), min(kept, self._most)
        return b"".join(kitty.erase(self._first + number) for number in gone)

    def _shown(self, number: int, placed: Placed, protocol: str) -> bytes:
        key = (protocol, number, placed.inlay)
        data = self._encoded.get(key)
        if data is None:
            inlay = placed.inlay
            if protocol == "kitty":
                data = kitty.encode(inlay.pixels, inlay.scale, self._first + number)
            else:
                data = sixel.encode(inlay.pixels, inlay.scale)
            self._encoded[key] = data
        if protocol == "kitty":
            self._most = max(self._most, number + 1)
        return b"\x1b[%d;%dH%s" % (placed.row + 1, placed.column + 1, data)
