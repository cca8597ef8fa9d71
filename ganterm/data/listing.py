"""Which files of a folder are pictures: by their names, and by their content where those say
nothing."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from PIL import features

from ganterm.core.text import clean
from ganterm.data import container
from ganterm.data.source import ProgressCallback

FIRST_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
"""Of the first way of reading."""
SUFFIXES = (
    *FIRST_SUFFIXES,
    *(".jpe", ".jfif", ".jif", ".jfi", ".apng", ".bmp", ".dib", ".gif", ".tif", ".tiff"),
    *(".pgm", ".ppm", *((".avif",) if features.check("avif") else ())),
)
"""What makes a file count as a picture; its content must then be one of a kind that is read."""
_PICTURES = (
    ".heic .heif .avif .jxl .jp2 .j2k .jpx .svg .eps .psd .xcf .exr .hdr .tga .ico .pbm .pnm .dcm "
    ".nii .npy .npz .mat .raw .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf .srw .mp4 .mov .avi .webm "
    ".mkv .zip .tar .gz .tgz .rar .7z .tfrecord .tfrecords .lmdb .mdb .parquet .h5 .hdf5"
)
PICTURES_UNREAD = frozenset(_PICTURES.split()) - frozenset(SUFFIXES)
"""Files that hold pictures and are not read; some of them begin like a kind that is."""
_TEXTS = (
    ".txt .csv .tsv .json .jsonl .xml .yaml .yml .toml .md .html .htm .pdf .log .py .ipynb .sh "
    ".db .ini .cfg .pt .pth .pkl .safetensors .onnx .mtl .url .lnk"
)
DEEPEST = 64
"""Folders below the one that was given; what lies deeper is left out and said."""
_TOLD_EVERY = 5_000
_KINDS_NAMED = 8
_LONGEST_KIND = 12


@dataclass
class Listing:
    """``names``: the pictures, sorted, relative, with "/". ``links``: those to folders.

    ``away``: folders that were not looked into, a line each; ``unread``: files by kind that are no
    pictures, or none that can be read.
    """

    names: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    away: list[str] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)

    @property
    def unread_pictures(self) -> int:
        """How many files are not read that are likely to hold pictures."""
        return sum(count for kind, count in self.unread.items() if kind in PICTURES_UNREAD)

    def unread_kinds(self) -> str:
        """What is not read, in words, as in "40 .heic, 3 .txt"."""
        kinds = sorted(self.unread.items(), key=lambda item: (-item[1], item[0]))
        named = [f"{count:,} {kind}" for kind, count in kinds[:_KINDS_NAMED]]
        rest = sum(count for _, count in kinds[_KINDS_NAMED:])
        return ", ".join([*named, *([f"{rest:,} of other kinds"] if rest else [])])


def list_pictures(root: Path, reading: int, progress: ProgressCallback) -> Listing:
    """All that lies below ``root``. What is hidden is left out: copies from a Mac are full of it.

    Folders are visited one after the other, so their depth costs no memory of Python's own.
    """
    found = Listing()
    progress("listing pictures", None)
    suffixes = FIRST_SUFFIXES if reading == 1 else SUFFIXES
    seen = 0
    waiting = [""]
    while waiting:
        below = waiting.pop()
        for name, is_folder, is_link in _entries(root, below, found):
            seen += 1
            if seen % _TOLD_EVERY == 0:
                progress(f"listing pictures, {seen:,} files so far", None)
            path = f"{below}{name}"
            if is_folder and is_link:
                found.links.append(f"{clean(path)}: a link to a folder")
            elif is_folder and path.count("/") >= DEEPEST:
                found.away.append(f"{clean(path, 60)}: more than {DEEPEST} folders deep")
            elif is_folder:
                waiting.append(f"{path}/")
            elif name.lower().endswith(suffixes) or (reading > 1 and _is_picture(root, path)):
                found.names.append(path)
            else:
                found.unread[_kind(name)] += 1
    for lines in (found.names, found.links, found.away):
        lines.sort()
    return found


def _entries(root: Path, below: str, found: Listing) -> Sequence[tuple[str, bool, bool]]:
    """Name, whether a folder and whether a link, of what is not hidden in a folder."""
    try:
        with os.scandir(root / below) as entries:
            return [
                (entry.name, _is_folder(entry), entry.is_symlink())
                for entry in entries
                if not entry.name.startswith(".")
            ]
    except OSError as error:
        found.away.append(f"{clean(below.rstrip('/') or root, 60)}: {error.strerror}")
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_picture(root: Path, name: str) -> bool:
    """Whether a file whose name says nothing begins like a picture of a kind that is read."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _TEXTS.split() or suffix in PICTURES_UNREAD:
        return False
    try:
        handle = os.open(root / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return False
    try:
        regular = stat.S_ISREG(os.fstat(handle).st_mode)
        return regular and bool(container.kind(os.read(handle, container.HEAD)))
    except OSError:
        return False
    finally:
        os.close(handle)


def _kind(name: str) -> str:
    return clean(PurePosixPath(name).suffix.lower(), _LONGEST_KIND) or "without an ending"
