"""Pictures in the terminal's own pixels. They follow a frame of cells and lie over blank ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ganterm.dashboard.draw.cells import Inlay
from ganterm.dashboard.terminal import kitty, sixel


@dataclass(frozen=True)
class Placed:
    """An inlay and the cell of the screen at its upper left corner, from 0."""

    inlay: Inlay
    row: int
    column: int


class OverCells:
    """The pictures over the cells of an app's frames, as the driver calls them: here none."""

    def after_frame(self) -> bytes:
        """The bytes that follow the frame of cells that is being sent."""
        return b""

    def frame_lost(self) -> None:
        """Take note that the terminal did not get the last frame, nor the pictures after it."""

    def erase(self) -> bytes:
        """The bytes to write before the terminal is given back."""
        return b""


class Overlay:
    """Keeps account of the pictures over the cells, and writes those that must change.

    Sixel pictures vanish where cells are painted; Kitty's stay until they are erased.
    """

    def __init__(self) -> None:
        # Numbers of Kitty's images; programs that share a terminal must not use the same ones.
        self._first = 1 + (os.getpid() & 0x7FFF) * 0x10000
        self._pictures: list[Placed] = []
        self._count = 0
        self._encoded: dict[tuple[str, int, Inlay], bytes] = {}
        self._painted = False
        self._unknown = False

    @property
    def shows(self) -> bool:
        """Whether a picture may be on the screen."""
        return bool(self._pictures or self._count)

    def cells_painted(self) -> None:
        """Take note that the next frame paints the cells below the pictures."""
        self._painted = True

    def frame_lost(self) -> None:
        """Take note that the terminal did not get the last frame, nor the pictures after it."""
        self._unknown = True

    def after_frame(self, pictures: Sequence[Placed], protocol: str) -> bytes:
        """The bytes after a frame that make exactly ``pictures`` visible."""
        redraw = self._unknown or (self._painted and protocol == "sixel")
        before: list[Placed | None] = [*self._pictures]
        before += [None] * (len(pictures) - len(before))
        new = [
            (number, placed)
            for number, (placed, old) in enumerate(zip(pictures, before, strict=False))
            if redraw or placed != old
        ]
        output = self._erase_from(len(pictures)) if protocol == "kitty" or not pictures else b""
        if new:
            parts = [self._show(number, placed, protocol) for number, placed in new]
            output += b"\x1b7" + b"".join(parts) + b"\x1b8"
        self._pictures = list(pictures)
        self._painted = self._unknown = False
        self._encoded = {
            key: data
            for key, data in self._encoded.items()
            if any(key[2] is placed.inlay for placed in pictures)
        }
        return output

    @property
    def undo(self) -> bytes:
        """The bytes that remove every picture, without changing the account of them."""
        return b"".join(kitty.erase(self._first + number) for number in range(self._count))

    def erase(self) -> bytes:
        """The bytes that remove every picture; the next frame will draw them all again."""
        self._pictures = []
        return self._erase_from(0)

    def _erase_from(self, first: int) -> bytes:
        """The bytes that remove Kitty's pictures from number ``first`` on."""
        numbers, self._count = range(first, self._count), min(first, self._count)
        return b"".join(kitty.erase(self._first + number) for number in numbers)

    def _show(self, number: int, placed: Placed, protocol: str) -> bytes:
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
            self._count = max(self._count, number + 1)
        return b"\x1b[%d;%dH%s" % (placed.row + 1, placed.column + 1, data)
