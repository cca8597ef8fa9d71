"""Pictures by DEC's Sixel protocol: six rows of pixels a character, one colour at a time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

GREYS = 16
LEVELS = 6
"""Levels of each channel of a picture in colour: the cube that terminals with 256 colours have."""
_LONGEST = 255
"""Largest count of one Sixel repetition; older terminals take no more."""
_SHORT = 3
"""Repetitions up to this are as short when spelt out."""


def encode(pixels: NDArray[np.uint8], scale: int = 1) -> bytes:
    """The sequence for a picture (height, width, 1 or 3), each pixel ``scale`` x ``scale`` large.

    Grey ones in GREYS greys, others in LEVELS levels a channel. Each band of six rows is filled
    with its commonest colour, and the others are set over it. After VT330/VT340 Programmer
    Reference Manual, volume 2, chapter 14.
    """
    codes, palette = _reduced(pixels)
    tall, width = len(codes) * scale, codes.shape[1]
    head = f'\x1bP7;1q"1;1;{width * scale};{tall}'
    head += "".join(
        f"#{register};2;{red};{green};{blue}"
        for register, (red, green, blue) in enumerate(palette.tolist())
    )
    bands = _bands(np.repeat(codes, scale, axis=0), len(palette), scale)
    return head.encode() + b"-".join(bands) + b"\x1b\\"


def _reduced(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """A register (height, width) for each pixel, and the registers' colours (n, 3) in per cent."""
    levels = GREYS if pixels.shape[2] == 1 else LEVELS
    steps = (pixels.astype(np.uint16) * (levels - 1) + 127) // 255
    codes = steps[:, :, 0]
    for channel in range(1, pixels.shape[2]):
        codes = codes * levels + steps[:, :, channel]
    known, registers = np.unique(codes, return_inverse=True)
    channels = [known // levels**place % levels for place in range(pixels.shape[2])][::-1]
    colors = np.stack(channels * (3 // len(channels)), axis=1).astype(np.intp)
    percent = (colors * 100 + (levels - 1) // 2) // (levels - 1)
    return registers.reshape(codes.shape), percent


def _bands(codes: NDArray[np.intp], colors: int, scale: int) -> list[bytes]:
    """The text of each six rows of registers (height, width), the width still to be enlarged."""
    height, width = codes.shape
    band = (np.arange(height) // 6)[:, None]
    kinds = band * colors + codes
    counts = np.bincount(kinds.ravel())
    counts = np.pad(counts, (0, -len(counts) % colors)).reshape(-1, colors)
    filled = counts.argmax(axis=1)
    # Each band gets one row of sixels per colour, except for the colour that fills it.
    has = counts > 0
    has[np.arange(len(filled)), filled] = False
    which, register = np.nonzero(has)
    place = np.full(counts.size, -1)
    place[np.flatnonzero(has)] = np.arange(len(which))
    rows = place[kinds]
    over = rows >= 0
    at = (rows * width + np.arange(width))[over]
    bits = np.broadcast_to((1 << np.arange(height) % 6)[:, None], codes.shape)[over]
    masks = np.bincount(at, bits, len(which) * width).astype(np.uint8).reshape(-1, width)

    made = []
    for number, code in enumerate(filled.tolist()):
        lit = (1 << min(6, height - 6 * number)) - 1
        made.append([b"#%d%s" % (code, _run(63 + lit, width * scale))])
    for number, code, text in zip(
        which.tolist(), register.tolist(), _runs(masks, scale), strict=True
    ):
        made[number].append(b"#%d%s" % (code, text))
    return [b"$".join(parts) for parts in made]


def _run(sixel: int, count: int) -> bytes:
    whole, rest = divmod(count, _LONGEST)
    return b"!%d%c" % (_LONGEST, sixel) * whole + (b"!%d%c" % (rest, sixel) if rest else b"")


def _runs(masks: NDArray[np.uint8], scale: int) -> list[bytes]:
    """Each row (n, width) of sixels as text, each repeated ``scale`` times, the empty end left out.

    All rows at once: where a run begins, how many characters it takes, and which ones.
    """
    rows, width = masks.shape
    if not rows:
        return []
    turns = np.ones((rows, width), bool)
    turns[:, 1:] = masks[:, 1:] != masks[:, :-1]
    starts = np.flatnonzero(turns)
    lengths = np.diff(starts, append=rows * width) * scale
    values = masks.ravel()[starts]
    row = starts // width
    last = np.append(row[1:] != row[:-1], True)
    kept = ~(last & (values == 0))
    lengths, values, row = lengths[kept], values[kept], row[kept]
    # No run is longer than may be said at once.
    pieces = -(-lengths // _LONGEST)
    values, row = np.repeat(values, pieces), np.repeat(row, pieces)
    ends = np.zeros(len(values), bool)
    ends[np.cumsum(pieces) - 1] = True
    rest = np.repeat(lengths - (pieces - 1) * _LONGEST, pieces)
    lengths = np.where(ends, rest, _LONGEST)

    spelt = lengths <= _SHORT
    digits = 1 + (lengths >= 10) + (lengths >= 100)
    sizes = np.where(spelt, lengths, digits + 2)
    stops = np.cumsum(sizes)
    out = np.repeat((values + 63).astype(np.uint8), sizes)
    at = (stops - sizes)[~spelt]
    lengths, digits = lengths[~spelt], digits[~spelt]
    out[at] = ord("!")
    for place in range(3):
        has = digits > place
        digit = lengths[has] // 10 ** (digits[has] - 1 - place) % 10
        out[at[has] + 1 + place] = ord("0") + digit
    text = out.tobytes()
    cuts = [0, *np.append(0, stops)[np.searchsorted(row, np.arange(1, rows + 1))].tolist()]
    return [text[a:b] for a, b in pairwise(cuts)]
