"""Picture files: their format by the first bytes, and only the bytes that pixels depend on.

Cameras, phones and editors put texts, colour profiles, previews and further frames around good
pixels, and often write them wrongly or make them huge. A decoder would then refuse the file or read
without end, so it gets only what the pixels depend on.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from ganterm.data.source import BrokenSample

HEAD = 32
"""Number of first bytes that identify a format."""
MOST_BYTES = 256 << 20
"""Largest number of bytes read of one file; 50 million pixels of 4 bytes fit."""
MOST_CHUNKS = 200_000
"""Largest number of chunks in a PNG file; 50 million pixels in pieces of 8 KiB have a fifth."""
MOST_SCANS = 200
"""Largest number of scans in a JPEG file; each covers all pixels, a progressive file has 10."""
MOST_PARTS = 65_536
"""Largest number of strips or tiles in a TIFF file; the decoder makes an object for each."""
MOST_TAG_BYTES = 32 << 20
"""Largest size of all tags of a TIFF file, which its decoder reads whole."""
MOST_EXIF = 1 << 20

_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_OFFSETS = (273, 324)
"""Tags of the offsets of strips and of tiles in TIFF."""
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_IEND = b"\0\0\0\0IEND\xae\x42\x60\x82"
# Within a scan 0xff is followed by 0, or by the number of a restart marker.
_JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)([1-8])")


@dataclass(frozen=True)
class Content:
    """What a picture's pixels depend on.

    ``kind``: PIL's name of the format. ``exif``: the raw EXIF block, or empty; None where only the
    decoder finds it. ``open_end``: whether a JPEG file lacks its end marker.
    """

    kind: str
    data: bytes
    exif: bytes | None = b""
    orientation: int = 1
    open_end: bool = False


def kind(head: bytes) -> str:
    """PIL's name of a format by a file's first ``HEAD`` bytes; "" for an unsupported one."""
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
    """The content of a file that is open at its beginning; BrokenSample where it is no picture."""
    head = file.read(HEAD)
    if not head:
        raise BrokenSample("an empty file")
    found = kind(head)
    file.seek(0)
    match found:
        case "":
            raise BrokenSample("no picture of a kind that is read")
        case "PNG":
            return _png(file)
        case "JPEG":
            return _jpeg(_whole(file))
        case "WEBP":
            return _webp(_whole(file))
        case "GIF":
            return Content(found, _first_frame(_whole(file)))
    data = _whole(file)
    if found == "TIFF":
        _check_tags(data)
    return Content(found, data, None)


def _whole(file: BinaryIO) -> bytes:
    # Huge sparse files are refused unread; files without a size may still have no end.
    small = os.fstat(file.fileno()).st_size <= MOST_BYTES
    data = file.read(MOST_BYTES + 1) if small else b""
    if not small or len(data) > MOST_BYTES:
        raise BrokenSample(f"larger than {MOST_BYTES >> 20} MiB")
    return data


def _png(file: BinaryIO) -> Content:
    """Keep header, palette and pixels of a PNG; other chunks are skipped unread."""
    kept = [file.read(8)]
    exif, size = b"", 0
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        length, name = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"IEND")
        if name == b"IEND":
            return Content("PNG", b"".join([*kept, _IEND]), exif)
        if name in (b"IHDR", b"PLTE", b"IDAT"):
            size += length
            if size > MOST_BYTES:
                raise BrokenSample(f"larger than {MOST_BYTES >> 20} MiB")
            kept += [head, file.read(length + 4)]
        elif name == b"eXIf" and length <= MOST_EXIF:
            exif = file.read(length + 4)[:length]
        else:
            file.seek(length + 4, 1)
    raise BrokenSample(f"a PNG of more than {MOST_CHUNKS:,} chunks")


def _jpeg(data: bytes) -> Content:
    """Keep a JPEG without application segments and comments, up to its first picture's end."""
    kept, exif, orientation, scans, at = [data[:2]], b"", 1, 0, 2
    while (marker := _JPEG_MARKER.search(data, at)) is not None:
        at, code = marker.start(), data[marker.start() + 1]
        if code == 0xD9:
            return Content("JPEG", b"".join([*kept, b"\xff\xd9"]), exif, orientation)
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
            # JFIF's and Adobe's segments say what the colours are.
            kept.append(segment)
        if code == 0xDA:
            scans += 1
            if scans > MOST_SCANS:
                raise BrokenSample(f"a JPEG of more than {MOST_SCANS} scans")
            following = _JPEG_MARKER.search(data, at)
            end = following.start() if following else len(data)
            kept.append(data[at:end])
            at = end
    return Content("JPEG", b"".join(kept), exif, orientation, open_end=True)


def _webp(data: bytes) -> Content:
    """Keep the picture's own chunk of a WEBP file; an animation stays whole."""
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
    """A GIF file of the first frame alone, without comments."""
    at = 13 + _table_bytes(data[10:11])
    kept = [data[:at]]
    while data[at : at + 1] == b"!":
        end = _behind_blocks(data, at + 2)
        if data[at + 1 : at + 2] == b"\xf9":
            kept.append(data[at:end])
        at = end
    end = _behind_blocks(data, at + 11 + _table_bytes(data[at + 9 : at + 10]))
    return b"".join([*kept, data[at:end], b";"])


def _table_bytes(flags: bytes) -> int:
    """Bytes of the colour table that GIF's flags describe."""
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & 128 else 0


def _behind_blocks(data: bytes, at: int) -> int:
    """The offset behind a chain of GIF blocks; each begins with its length, the last is empty."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _check_tags(data: bytes) -> None:
    """BrokenSample where a TIFF file's tags are larger than its decoder should read."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        entries = struct.iter_unpack(f"{order}HHI4x", data[at + 2 : at + 2 + 12 * count])
        size = 0
        for tag, kind_of_value, values in entries:
            size += values * _TYPE_BYTES.get(kind_of_value, 0)
            if tag in _OFFSETS and values > MOST_PARTS:
                raise BrokenSample(f"a TIFF of more than {MOST_PARTS:,} parts")
    except struct.error:
        raise BrokenSample("a TIFF whose tags are cut off") from None
    if size > MOST_TAG_BYTES:
        raise BrokenSample(f"a TIFF with more than {MOST_TAG_BYTES >> 20} MiB of tags")
