"""One picture file from outside: read with suspicion, cut to a square, resized."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ganterm.data.source import BrokenSample

FORMATS = ("PNG", "JPEG", "WEBP")
"""What a file must be by its content; other decoders of PIL see no byte of it."""

MOST_PIXELS = 50_000_000
"""Pictures of more are refused by their header: a small file can claim gigabytes."""

_TROUBLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Warning)
_TOO_LARGE = f"more than {MOST_PIXELS // 1_000_000} million pixels"


@contextmanager
def strict() -> Iterator[None]:
    """Has PIL's warnings raised, so that a doubtful file counts as broken.

    It holds for the whole process: enter it once, not in each of several threads.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"PIL(\.|$)")
        yield


def read(root: Path, name: str, side: int) -> np.ndarray:
    """The picture ``name`` below ``root`` (resolved), uint8 (3, side, side).

    Turned as its EXIF says, then the largest square in its middle, resized with Lanczos' filter,
    which also smooths what gets smaller. RGB, transparency left out, 16-bit grey by its upper 8
    bits, the first frame of several. BrokenSample tells why there is none. Call it within
    ``strict``.
    """
    path = Path(os.path.realpath(root / name))
    if not path.is_relative_to(root):
        raise BrokenSample("a link out of the folder")
    # A pipe by the name of a picture would be waited at for ever.
    if not path.is_file():
        raise BrokenSample("no such file")
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise BrokenSample(_TOO_LARGE)
            upright = ImageOps.exif_transpose(image)
            width, height = upright.size
            cut = min(width, height)
            left, top = (width - cut) // 2, (height - cut) // 2
            square = _rgb(upright.crop((left, top, left + cut, top + cut)))
            resized = square.resize((side, side), Image.Resampling.LANCZOS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BrokenSample(_TOO_LARGE) from None
    except UnidentifiedImageError:
        raise BrokenSample("not a PNG, JPEG or WEBP picture") from None
    except _TROUBLE as error:
        raise BrokenSample(getattr(error, "strerror", None) or str(error)) from None
    return np.asarray(resized).transpose(2, 0, 1)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # PIL itself would cut 16-bit grey off at 255.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    # A palette with several transparent colours warns on its way to RGB unless alpha comes along.
    return (image.convert("RGBA") if image.mode == "P" else image).convert("RGB")
