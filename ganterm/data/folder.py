"""Your own pictures: a folder of PNG, JPEG or WEBP files, sub-folders being classes."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganterm.data import picture
from ganterm.data.load import chosen, too_few
from ganterm.data.options import DataSection
from ganterm.data.source import BrokenSample, Dataset, DataSource, Progress
from ganterm.errors import UserError
from ganterm.text import clean

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
"""What makes a file count as a picture; its content must then be one of these, whichever."""

PREVIEW = 2_048
"""Pictures of a streamed folder that are held as its ``samples``, if so many fit the memory."""

REFUSED_PERCENT = 1
"""From this share of bad files on, the folder is refused."""

_AT_ONCE = 64
_NAMED = 5


@dataclass(frozen=True)
class PictureStream:
    """The good files of a folder that is larger than its memory; each is decoded when asked for.

    ``names`` below ``root``; ``labels`` one a name, or empty; ``sha256`` is over the names, sizes
    and times of change. Workers get a copy each, so it is plain data.
    """

    root: Path
    names: tuple[str, ...]
    labels: tuple[int, ...]
    side: int
    sha256: str

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """A picture, uint8 (3, side, side), and its label or -1; BrokenSample names the file."""
        import torch

        name = self.names[index]
        try:
            with picture.strict():
                pixels = picture.read(self.root, name, self.side)
        except BrokenSample as error:
            raise BrokenSample(_line(name, error)) from None
        label = self.labels[index] if self.labels else -1
        return torch.from_numpy(pixels.copy()), label


def _load(options: DataSection, folder: Path | None, progress: Progress) -> Dataset:
    """The folder's pictures, in memory or, where they are too many, as a stream.

    Files are sorted by name, and classes take turns, so that the first few show them all. What is
    not wanted by ``classes`` and ``limit`` (of files) is never opened. Every other file is decoded
    once: one that cannot be is skipped and named, 1 % of them or more are refused.
    """
    import torch

    root = _root(options, folder)
    names, skipped = _listed(root, progress)
    names = _wanted(names, root, options)
    total, side = len(names) + len(skipped), options.side
    fitting = options.memory_mb * 2**20 // (3 * side * side)
    streamed = len(names) > fitting
    held = np.empty((min(PREVIEW, fitting) if streamed else len(names), 3, side, side), np.uint8)
    good: list[str] = []
    digest = hashlib.sha256(str(side).encode())
    for name, found in _scanned(root, names, side, progress):
        if isinstance(found, BrokenSample):
            skipped.append(_line(name, found))
            continue
        if len(good) < len(held):
            held[len(good)] = found.pixels
        digest.update(os.fsencode(f"\0{name}\0{found.size}\0{found.changed}"))
        good.append(name)
    if 100 * len(skipped) >= REFUSED_PERCENT * total:
        _refuse(root, skipped, total)
    classes = sorted({_class(name) for name in good} - {""})
    places = {name: place for place, name in enumerate(classes)}
    labels = tuple(places[_class(name)] for name in good) if classes else ()
    stream = PictureStream(root, tuple(good), labels, side, digest.hexdigest())
    return Dataset(
        name=options.name,
        samples=torch.from_numpy(held[: len(good)]),
        labels=torch.tensor(labels[: len(held)]) if classes else None,
        classes=tuple(clean(name, 64) for name in classes),
        skipped=tuple(skipped),
        narrowed=True,
        stream=stream if streamed else None,
    )


def _root(options: DataSection, folder: Path | None) -> Path:
    """Where the pictures lie, without links in its path; UserError where there is no folder."""
    given = Path(options.folder) if options.folder else folder
    if given is None:
        raise UserError("data folder: which one? Say it with --set data.folder=PATH")
    try:
        root = given.expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        root = given
    if not root.is_dir():
        raise UserError(f"data.folder: {clean(given)}: there is no such folder")
    return root


def _listed(root: Path, progress: Progress) -> tuple[list[str], list[str]]:
    """The pictures below ``root`` by their suffix, and a line for each link to a folder.

    Names are relative, with "/". What is hidden is left out: copies from a Mac are full of it.
    """
    names, linked = [], []
    for path, inner, files in os.walk(root, onerror=_unreadable):
        progress("listing pictures", None)
        inner[:] = [name for name in inner if not name.startswith(".")]
        below = Path(path).relative_to(root)
        links = [below / name for name in inner if Path(path, name).is_symlink()]
        linked += [_line(name.as_posix(), "a link to a folder") for name in links]
        pictures = [name for name in files if name.lower().endswith(SUFFIXES)]
        names += [(below / name).as_posix() for name in pictures if not name.startswith(".")]
    if not names:
        raise UserError(f"data.folder: {clean(root)} holds no PNG, JPEG or WEBP pictures")
    return sorted(names), sorted(linked)


def _unreadable(error: OSError) -> None:
    raise UserError(f"data.folder: {clean(error.filename)}: {error.strerror}") from None


def _wanted(names: Sequence[str], root: Path, options: DataSection) -> list[str]:
    """Those of the wanted classes, the classes taking turns, and of them the first ``limit``."""
    classes = sorted({_class(name) for name in names})
    if len(classes) > 1 and not classes[0]:
        raise UserError(
            f"data.folder: {clean(root)} holds pictures both in folders and beside them\n"
            "Put each into the folder of its class, or all into one folder"
        )
    kept = set(classes)
    if options.classes:
        shown = [clean(name, 64) for name in classes if name]
        kept = {classes[place] for place in chosen(shown, options)}
    turns: Counter[str] = Counter()
    ordered = []
    for name in names:
        if _class(name) in kept:
            ordered.append((turns[_class(name)], _class(name), name))
            turns[_class(name)] += 1
    if options.limit > len(ordered):
        raise too_few(options, len(ordered))
    return [name for *_, name in sorted(ordered)][: options.limit or None]


def _class(name: str) -> str:
    """The folder directly below the root, or nothing."""
    return name.partition("/")[0] if "/" in name else ""


@dataclass(frozen=True)
class _Found:
    """A picture, uint8 (3, side, side), its file's size in bytes and time of change in ns."""

    pixels: np.ndarray
    size: int
    changed: int


def _scanned(
    root: Path, names: Sequence[str], side: int, progress: Progress
) -> Iterator[tuple[str, _Found | BrokenSample]]:
    """Each of the names with what it is, in their order; decoded by several threads."""

    def look(name: str) -> _Found | BrokenSample:
        try:
            pixels = picture.read(root, name, side)
            about = (root / name).stat()
        except BrokenSample as error:
            return error
        except OSError as error:
            return BrokenSample(error.strerror)
        return _Found(pixels, about.st_size, about.st_mtime_ns)

    workers = min(8, os.cpu_count() or 1)
    with picture.strict(), ThreadPoolExecutor(workers, "ganterm-scan") as pool:
        for start in range(0, len(names), _AT_ONCE):
            progress(f"checking {len(names):,} pictures", start / len(names))
            part = names[start : start + _AT_ONCE]
            yield from zip(part, pool.map(look, part), strict=True)
    progress(f"checking {len(names):,} pictures", 1.0)


def _line(name: str, reason: object) -> str:
    return f"{clean(name)}: {clean(reason, 100)}"


def _refuse(root: Path, skipped: Sequence[str], total: int) -> None:
    more = f"; and {len(skipped) - _NAMED:,} more" if len(skipped) > _NAMED else ""
    raise UserError(
        f"data.folder: {clean(root)}: {len(skipped):,} of {total:,} pictures cannot be used; "
        f"below {REFUSED_PERCENT} % they would be skipped\n{'; '.join(skipped[:_NAMED])}{more}"
    )


SOURCES = (
    DataSource(
        name="folder",
        title="Your own folder of pictures; sub-folders are classes",
        kind="image",
        size="any, resized",
        load=_load,
    ),
)
