"""Reads one picture file from outside: checks it, cuts it to a square, resizes it."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ganterm.data import container
from ganterm.data.options import DataSection
from ganterm.data.source import BrokenSample, Unreachable

STRICT = ("PNG", "JPEG", "WEBP")
"""Formats with ``reading = 1``."""

MOST_PIXELS = 50_000_000
"""Most pixels that a file's header may claim: a small file can claim gigabytes."""
MOST_SLOW_PIXELS = 4_000_000
"""Most pixels in formats that PIL decodes in Python, which is 1,000 times slower."""

_TOO_LARGE = f"more than {MOST_PIXELS // 1_000_000} million pixels"
_ORIENTATION = 0x0112
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_FILLER = b"\x5a" * 1024
"""Bytes that a decoder takes neither for a marker nor for the missing end of a scan."""


@dataclass(frozen=True)
class PictureOptions:
    """How pictures are read: the keys of ``DataSection`` that matter for it."""

    side: int
    channels: int = 3
    bits: int = 16
    reading: int = 2

    @classmethod
    def of(cls, options: DataSection) -> PictureOptions:
        """The options of a preset; colour and all 16 bits if it leaves them open."""
        return cls(options.side, options.channels or 3, options.bits or 16, options.reading)


@dataclass(frozen=True)
class DecodedPicture:
    """A decoded picture.

    ``pixels``: uint8 (channels, side, side). ``grey``: whether all channels are equal. ``highest``:
    the largest value of a 16-bit picture, -1 for others. ``mark``: BLAKE2b, 8 bytes in hex, of the
    content that the pixels depend on. ``size``: of the file, in bytes. ``changed``: time of the
    file's last change, in ns.
    """

    pixels: np.ndarray
    grey: bool
    highest: int
    mark: str
    size: int
    changed: int


@contextmanager
def pil_warnings(reading: int) -> Iterator[None]:
    """Ignore PIL's warnings, or with ``reading = 1`` raise them as errors.

    This acts on the whole process: enter it once, not in each of several threads.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error" if reading == 1 else "ignore", module=r"PIL(\.|$)")
        yield


def read(root: Path, name: str, decoding: PictureOptions) -> DecodedPicture:
    """Read the picture ``name`` below ``root``, a path without links.

    The picture is turned upright by its EXIF orientation, cut to the largest square in its middle
    and resized with a Lanczos filter. The result is RGB or grey without transparency. A 16-bit grey
    picture keeps the upper 8 of ``decoding.bits`` bits; an animation keeps its first frame.
    BrokenSample says why a file cannot be used; Unreachable, that the disk may be at fault instead.
    Call this function within ``pil_warnings``.
    """
    with _open_inside(root, name) as file:
        status = os.fstat(file.fileno())
        try:
            if decoding.reading == 1:
                mark = hashlib.blake2b(digest_size=8)
                while part := file.read(1 << 20):
                    mark.update(part)
                file.seek(0)
                image = Image.open(file, formats=STRICT)
                _check_size(image)
                upright = ImageOps.exif_transpose(image)
            else:
                content = container.content(file)
                mark = hashlib.blake2b(content.data, digest_size=8)
                upright = _upright(content)
                mark.update(b"%d" % upright.info["orientation"])
            square, highest = _square(upright, decoding)
        except BrokenSample:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise BrokenSample(_TOO_LARGE) from None
        except UnidentifiedImageError:
            raise BrokenSample(container.UNSUPPORTED) from None
        except OSError as error:
            if error.errno is not None:
                raise Unreachable(error.strerror) from None
            raise BrokenSample(str(error)) from None
        except Exception as error:  # noqa: BLE001 - decoders raise anything on broken files
            raise BrokenSample(str(error) or type(error).__name__) from None
    pixels = np.asarray(square).transpose(2, 0, 1)
    grey = bool((pixels[0] == pixels[1]).all() and (pixels[1] == pixels[2]).all())
    if decoding.channels == 1:
        pixels = np.asarray(square.convert("L"))[None]
    return DecodedPicture(
        pixels, grey, highest, mark.hexdigest(), status.st_size, status.st_mtime_ns
    )


def _open_inside(root: Path, name: str) -> BinaryIO:
    """Open the file; a link is followed only if it stays inside ``root``."""
    path = Path(os.path.realpath(root / name))
    if not path.is_relative_to(root):
        raise BrokenSample("a link out of the folder")
    try:
        # O_NONBLOCK: opening a pipe that is named like a picture would block for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise Unreachable("no such file") from None
    except OSError as error:
        raise Unreachable(error.strerror) from None
    except ValueError as error:
        raise BrokenSample(str(error)) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise BrokenSample("not a file")
    return os.fdopen(handle, "rb")


def _upright(content: container.Content) -> Image.Image:
    """Decode a picture and turn it upright; ``info["orientation"]`` is EXIF's number, 1 to 8."""
    if content.open_end:
        image = _decode(content, content.data + b"\xff\xd9")
        # Bytes after the last pixel are ignored. If they change the picture, pixels are missing.
        if image.tobytes() != _decode(content, content.data + _FILLER + b"\xff\xd9").tobytes():
            raise BrokenSample("image file is truncated")
    else:
        image = _decode(content, content.data)
    orientation = content.orientation
    try:
        if content.exif is None:
            orientation = image.getexif().get(_ORIENTATION, 1)
        elif content.exif:
            exif = Image.Exif()
            exif.load(content.exif)
            orientation = exif.get(_ORIENTATION, orientation)
    except Exception:  # noqa: BLE001 - broken EXIF raises anything, and is ignored
        orientation = content.orientation
    if orientation not in _TRANSPOSES:
        orientation = 1
    upright = image.transpose(_TRANSPOSES[orientation]) if orientation != 1 else image
    upright.info = {"orientation": orientation}
    return upright


def _decode(content: container.Content, data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=(content.kind,))
    _check_size(image)
    decoders = {tile[0] for tile in getattr(image, "tile", ())}
    width, height = image.size
    if width * height > MOST_SLOW_PIXELS and decoders & Image.DECODERS.keys():
        million = MOST_SLOW_PIXELS // 1_000_000
        raise BrokenSample(f"more than {million} million pixels of a kind that is slow to read")
    image.load()
    return image


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise BrokenSample(_TOO_LARGE)


def _square(image: Image.Image, decoding: PictureOptions) -> tuple[Image.Image, int]:
    """The middle square, resized, in RGB; and the largest value of a 16-bit picture, or -1."""
    width, height = image.size
    cut = min(width, height)
    left, top = (width - cut) // 2, (height - cut) // 2
    middle = image.crop((left, top, left + cut, top + cut))
    highest = -1
    if middle.mode.startswith("I"):
        values = np.asarray(middle).astype(np.int64)
        highest = int(values.max())
        if highest > 0xFFFF or values.min() < 0:
            raise BrokenSample("values of 32 bits; save it with 8 or 16")
        # PIL's own conversion would clip 16-bit grey at 255.
        upper = np.minimum((values << 8) >> decoding.bits, 255)
        middle = Image.fromarray(upper.astype(np.uint8))
    elif middle.mode == "F":
        raise BrokenSample("values of 32 bits; save it with 8 or 16")
    # By way of RGBA: PIL warns if a palette with several transparent colours becomes RGB at once.
    middle = middle.convert("RGBA") if middle.mode == "P" else middle
    square = middle.convert("RGB").resize((decoding.side, decoding.side), Image.Resampling.LANCZOS)
    return square, highest
