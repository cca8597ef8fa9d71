"""Picture files: the format by the first bytes, and the bytes that the pixels depend on.

Cameras, phones and editors surround good pixels with texts, colour profiles, previews and further
frames, and often write these wrongly or make them huge. A decoder may then refuse the file or read
without end. It therefore gets only the bytes that the pixels depend on.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from ganterm.data.source import BrokenSample

HEAD = 32
"""First bytes of a file that identify its format."""
MOST_BYTES = 256 << 20
"""Most bytes read from one file; 50 million pixels of 4 bytes fit."""
MOST_CHUNKS = 200_000
"""Most chunks in a PNG file; 50 million pixels of 4 bytes in pieces of 8 KiB have 25,000."""
MOST_SCANS = 200
"""Most scans in a JPEG file; each covers all pixels, and a progressive file has about 10."""
MOST_PARTS = 65_536
"""Most strips or tiles in a TIFF file; the decoder makes an object for each."""
MOST_TAG_BYTES = 32 << 20
"""Most bytes in all tags of a TIFF file together; its decoder reads them whole."""
MOST_EXIF = 1 << 20
"""Most bytes of an EXIF block that is read; cameras write up to 64 KiB."""

UNSUPPORTED = "not a picture in a supported format"

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_OFFSETS = (273, 324)
"""TIFF's tags for the offsets of strips and of tiles."""
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_IEND = b"\0\0\0\0IEND\xae\x42\x60\x82"
# Within a scan, 0xff is followed by 0 or by a restart marker (0xd0 to 0xd7): neither matches.
_JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])")


@dataclass(frozen=True)
class Content:
    """The part of a file that its pixels depend on.

    ``kind``: PIL's name of the format. ``exif``: the raw EXIF block, empty without one, None if
    only the decoder can find it. ``orientation``: EXIF's number from 1 to 8, as XMP has it.
    ``open_end``: whether a JPEG file lacks its end marker.
    """

    kind: str
    data: bytes
    exif: bytes | None = b""
    orientation: int = 1
    open_end: bool = False


def kind(head: bytes) -> str:
    """PIL's name of the format of a file with these first ``HEAD`` bytes; "" if unsupported."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith((b"II*\0", b"MM\0*")):
        return "TIFF"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head[:2] in (b"P5", b"P6") and head[2:3].isspace():
        return "PPM"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    return ""


def content(file: BinaryIO) -> Content:
    """Read the content of a file that is open at its start; BrokenSample if it is no picture."""
    head = file.read(HEAD)
    if not head:
        raise BrokenSample("an empty file")
    name = kind(head)
    file.seek(0)
    match name:
        case "":
            raise BrokenSample(UNSUPPORTED)
        case "PNG":
            return _png(file)
        case "JPEG":
            return _jpeg(_read_all(file))
        case "WEBP":
            return _webp(_read_all(file))
        case "GIF":
            return Content(name, _first_frame(_read_all(file)))
    data = _read_all(file)
    if name == "TIFF":
        _check_tags(data)
    return Content(name, data, None)


def _read_all(file: BinaryIO) -> bytes:
    # The size alone refuses huge sparse files. Files that state no size may still have no end.
    small = os.fstat(file.fileno()).st_size <= MOST_BYTES
    data = file.read(MOST_BYTES + 1) if small else b""
    if not small or len(data) > MOST_BYTES:
        raise BrokenSample(f"larger than {MOST_BYTES >> 20} MiB")
    return data


def _png(file: BinaryIO) -> Content:
    """Keep header, palette and pixels of a PNG file; skip other chunks unread."""
    parts = [file.read(8)]
    exif, size = b"", 0
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        length, name = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"IEND")
        if name == b"IEND":
            return Content("PNG", b"".join([*parts, _IEND]), exif)
        if name in (b"IHDR", b"PLTE", b"IDAT"):
            size += length
            if size > MOST_BYTES:
                raise BrokenSample(f"larger than {MOST_BYTES >> 20} MiB")
            parts += [head, file.read(length + 4)]
        elif name == b"eXIf" and length <= MOST_EXIF:
            exif = file.read(length + 4)[:length]
        else:
            file.seek(length + 4, 1)
    raise BrokenSample(f"a PNG of more than {MOST_CHUNKS:,} chunks")


def _jpeg(data: bytes) -> Content:
    """Keep a JPEG file's first picture, without application segments and comments."""
    parts, exif, orientation, scans, at = [data[:2]], b"", 1, 0, 2
    while (marker := _JPEG_MARKER.search(data, at)) is not None:
        at, code = marker.start(), data[marker.start() + 1]
        if code == 0xD9:
            return Content("JPEG", b"".join([*parts, b"\xff\xd9"]), exif, orientation)
        if code == 0xD8:
            at += 2
            continue
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
        segment = data[at:end]
        at = end
        if code == 0xE1:
            if segment[4:10] == b"Exif\0\0":
                exif = exif or segment[10:]
            elif xmp := _XMP_ORIENTATION.search(segment):
                orientation = int(xmp[1])
        elif code in (0xE0, 0xEE) or not (0xE0 <= code <= 0xEF or code == 0xFE):
            # The segments of JFIF and Adobe define the colour space: keep them.
            parts.append(segment)
        if code == 0xDA:
            scans += 1
            if scans > MOST_SCANS:
                raise BrokenSample(f"a JPEG of more than {MOST_SCANS} scans")
            next_marker = _JPEG_MARKER.search(data, at)
            end = next_marker.start() if next_marker else len(data)
            parts.append(data[at:end])
            at = end
    return Content("JPEG", b"".join(parts), exif, orientation, open_end=True)


def _webp(data: bytes) -> Content:
    """Keep the chunk of the pixels of a WEBP file; keep an animation whole."""
    exif, at = b"", 12
    picture: bytes | None = None
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        if name in (b"ANIM", b"ANMF"):
            return Content("WEBP", data, None)
        if name in (b"VP8 ", b"VP8L") and picture is None:
            picture = data[at : at + 8 + length + length % 2]
        elif name == b"EXIF" and length <= MOST_EXIF:
            exif = data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    if picture is None:
        return Content("WEBP", data, None)
    whole = b"RIFF" + (4 + len(picture)).to_bytes(4, "little") + b"WEBP" + picture
    return Content("WEBP", whole, exif)


def _first_frame(data: bytes) -> bytes:
    """The same GIF file with its first frame only, without comments."""
    at = 13 + _table_bytes(data[10:11])
    parts = [data[:at]]
    while data[at : at + 1] == b"!":
        end = _end_of_blocks(data, at + 2)
        if data[at + 1 : at + 2] == b"\xf9":
            parts.append(data[at:end])
        at = end
    end = _end_of_blocks(data, at + 11 + _table_bytes(data[at + 9 : at + 10]))
    return b"".join([*parts, data[at:end], b";"])


def _table_bytes(flags: bytes) -> int:
    """Size in bytes of the colour table that a GIF file's flags describe."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 128 else 0


def _end_of_blocks(data: bytes, at: int) -> int:
    """The offset after a chain of GIF blocks; each starts with its length, the last is empty."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _check_tags(data: bytes) -> None:
    """Raise BrokenSample if the tags of a TIFF file are too large for its decoder."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        entries = struct.iter_unpack(f"{order}HHI4x", data[at + 2 : at + 2 + 12 * count])
        size = 0
        for tag, value_type, values in entries:
            size += values * _TYPE_BYTES.get(value_type, 0)
            if tag in _OFFSETS and values > MOST_PARTS:
                raise BrokenSample(f"a TIFF of more than {MOST_PARTS:,} parts")
    except struct.error:
        raise BrokenSample("a TIFF whose tags are cut off") from None
    if size > MOST_TAG_BYTES:
        raise BrokenSample(f"a TIFF with more than {MOST_TAG_BYTES >> 20} MiB of tags")
