"""Pictures by Kitty's graphics protocol: PNG data under a number, put where the cursor is."""

from __future__ import annotations

import struct
import zlib
from base64 import standard_b64encode

import numpy as np
from numpy.typing import NDArray

_CHUNK = 4096
"""Most characters of data in one sequence, by the protocol."""
_UP = 2
"""PNG's filter for a row that is stored as its difference from the row above."""


def encode(pixels: NDArray[np.uint8], scale: int, number: int) -> bytes:
    """The sequence that shows a picture (height, width, 1 or 3), enlarged, as image ``number``.

    It replaces an earlier image of that number. The terminal sends no answer and leaves the cursor
    where it is. After sw.kovidgoyal.net/kitty/graphics-protocol.
    """
    data = standard_b64encode(_png(pixels, scale))
    control = b"a=T,f=100,i=%d,p=1,q=2,C=1," % number
    parts = []
    for start in range(0, len(data), _CHUNK):
        more = start + _CHUNK < len(data)
        parts.append(b"\x1b_G%sm=%d;%s\x1b\\" % (control, more, data[start : start + _CHUNK]))
        control = b"q=2,"
    return b"".join(parts)


def erase(number: int) -> bytes:
    """The sequence that removes an image, and its data from the terminal's memory."""
    return b"\x1b_Ga=d,d=I,i=%d,q=2\x1b\\" % number


def _png(pixels: NDArray[np.uint8], scale: int) -> bytes:
    """The enlarged picture as PNG; repeated rows differ by zeros, which take almost no space."""
    wide = np.repeat(pixels, scale, axis=1)
    height, width, channels = wide.shape
    rows = wide.reshape(height, width * channels)
    lines = np.zeros((height, scale, 1 + width * channels), np.uint8)
    lines[:, :, 0] = _UP
    lines[0, 0, 1:] = rows[0]
    lines[1:, 0, 1:] = rows[1:] - rows[:-1]
    kind = 0 if channels == 1 else 2
    head = struct.pack(">IIBBBBB", width, height * scale, 8, kind, 0, 0, 0)
    data = zlib.compress(lines.tobytes(), 1)
    parts = ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_part(name, body) for name, body in parts)


def _part(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
