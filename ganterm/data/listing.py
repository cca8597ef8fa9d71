"""The picture files of a folder, found by their names, or by their content if names do not help."""

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
"""Endings of pictures with ``reading = 1``."""
# An old Pillow does not know the name, and would warn where it is asked for it.
_AVIF = (".avif",) if "avif" in features.modules and features.check("avif") else ()
SUFFIXES = (
    *FIRST_SUFFIXES,
    *(".jpe", ".jfif", ".jif", ".jfi", ".apng", ".bmp", ".dib", ".gif", ".tif", ".tiff"),
    *(".pgm", ".ppm", *_AVIF),
)
"""Endings of picture files; their content must also be of a supported kind."""
_UNREAD = (
    ".heic .heif .avif .jxl .jp2 .j2k .jpx .svg .eps .psd .xcf .exr .hdr .tga .ico .pbm .pnm .dcm "
    ".nii .npy .npz .mat .raw .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf .srw .mp4 .mov .avi .webm "
    ".mkv .zip .tar .gz .tgz .rar .7z .tfrecord .tfrecords .lmdb .mdb .parquet .h5 .hdf5"
)
PICTURES_UNREAD = frozenset(_UNREAD.split()) - frozenset(SUFFIXES)
"""Endings of files that hold pictures but are not read, even if they start like a picture."""
_TEXTS = (
    ".txt .csv .tsv .json .jsonl .xml .yaml .yml .toml .md .html .htm .pdf .log .py .ipynb .sh "
    ".db .ini .cfg .pt .pth .pkl .safetensors .onnx .mtl .url .lnk"
)
DEEPEST = 64
"""Most levels of folders that are visited; deeper ones are left out and reported."""
_REPORT_EVERY = 5_000
"""Files between two reports of progress."""
_KINDS_NAMED = 8
"""Most kinds of unread files that a message names."""
_LONGEST_KIND = 12
"""Most characters of an ending in a message."""


@dataclass
class Listing:
    """What a folder holds.

    ``names``: paths of the pictures below the folder, sorted, with "/". ``links``: a line for each
    link to a folder. ``unread_folders``: a line for each folder that was not read. ``unread``:
    number of files that are not readable pictures, by kind.
    """

    names: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    unread_folders: list[str] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)

    @property
    def unread_pictures(self) -> int:
        """The number of unread files that are likely to hold pictures."""
        return sum(count for kind, count in self.unread.items() if kind in PICTURES_UNREAD)

    def unread_kinds(self) -> str:
        """The unread files in words, as in "40 .heic, 3 .txt"."""
        kinds = sorted(self.unread.items(), key=lambda item: (-item[1], item[0]))
        parts = [f"{count:,} {kind}" for kind, count in kinds[:_KINDS_NAMED]]
        rest = sum(count for _, count in kinds[_KINDS_NAMED:])
        return ", ".join([*parts, *([f"{rest:,} of other kinds"] if rest else [])])


def list_pictures(root: Path, reading: int, progress: ProgressCallback) -> Listing:
    """List everything below ``root`` except hidden files, which copies from a Mac are full of.

    Folders are visited in a loop, so that deep ones do not exhaust Python's stack.
    """
    listing = Listing()
    progress("listing pictures", None)
    suffixes = FIRST_SUFFIXES if reading == 1 else SUFFIXES
    count = 0
    folders = [""]
    while folders:
        folder = folders.pop()
        for name, is_folder, is_link in _entries(root, folder, listing):
            count += 1
            if count % _REPORT_EVERY == 0:
                progress(f"listing pictures, {count:,} files so far", None)
            path = f"{folder}{name}"
            if is_folder and is_link:
                listing.links.append(f"{clean(path)}: a link to a folder")
            elif is_folder and path.count("/") >= DEEPEST:
                listing.unread_folders.append(
                    f"{clean(path, 60)}: more than {DEEPEST} folders deep"
                )
            elif is_folder:
                folders.append(f"{path}/")
            elif name.lower().endswith(suffixes) or (reading > 1 and _is_picture(root, path)):
                listing.names.append(path)
            else:
                listing.unread[_kind(name)] += 1
    for lines in (listing.names, listing.links, listing.unread_folders):
        lines.sort()
    return listing


def _entries(root: Path, folder: str, listing: Listing) -> Sequence[tuple[str, bool, bool]]:
    """The entries of a folder that are not hidden: name, whether a folder, whether a link."""
    try:
        with os.scandir(root / folder) as entries:
            return [
                (entry.name, _is_folder(entry), entry.is_symlink())
                for entry in entries
                if not entry.name.startswith(".")
            ]
    except OSError as error:
        path = clean(folder.rstrip("/") or root, 60)
        listing.unread_folders.append(f"{path}: {error.strerror}")
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_picture(root: Path, name: str) -> bool:
    """Whether a file with an unknown ending starts like a supported picture."""
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
