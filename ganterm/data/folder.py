"""Your own pictures: a folder of them, sub-folders being classes."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganterm.core.errors import UserError
from ganterm.core.text import clean
from ganterm.data import picture_file, remarks
from ganterm.data.listing import Listing, list_pictures
from ganterm.data.load import class_places, too_few
from ganterm.data.options import DataSection
from ganterm.data.picture_file import DecodedPicture, PictureOptions
from ganterm.data.source import (
    BrokenSample,
    Dataset,
    DataSource,
    Files,
    ProgressCallback,
    Remark,
    SourceAway,
    Unreachable,
)
from ganterm.system.folders import expanded

if TYPE_CHECKING:
    from torch import Tensor

PREVIEW = 2_048
"""Pictures of a streamed folder that are held as its ``samples``, if so many fit the memory."""

REFUSED_PERCENT = 1
"""From this share of bad files on, the folder is refused."""
MOST_SKIPPED = 10_000
"""Bad files after which a folder that is refused anyway is not read to its end."""
PROBES = 8
"""Other pictures that are tried where one cannot be read, to tell whether the disk is away."""

_AT_ONCE = 64
_NAMED = 5
_NEIGHBOURS = 1_000


@dataclass(frozen=True)
class PictureStream:
    """The good files of a folder that is larger than its memory; each is decoded when asked for.

    ``names`` below ``root``; ``labels`` one a name, or empty; ``decoding``: how they are read.
    Workers get a copy each, so it is plain data.
    """

    root: Path
    names: tuple[str, ...]
    labels: tuple[int, ...]
    decoding: PictureOptions
    sha256: str

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """A picture, uint8 (channels, side, side), and its label or -1.

        BrokenSample names the file; SourceAway where other files cannot be read either.
        """
        import torch

        name = self.names[index]
        try:
            with picture_file.warned(self.decoding.reading):
                try:
                    found = picture_file.read(self.root, name, self.decoding)
                except Unreachable as error:
                    if self._away(index):
                        raise SourceAway(f"{clean(self.root)}: {_line(name, error)}") from None
                    # It may have been away when it was tried, and be back now.
                    found = picture_file.read(self.root, name, self.decoding)
        except BrokenSample as error:
            raise BrokenSample(_line(name, error)) from None
        label = self.labels[index] if self.labels else -1
        return torch.from_numpy(found.pixels.copy()), label

    def _away(self, index: int) -> bool:
        """Whether the folder of a picture that cannot be read, or all of them, is out of reach."""
        name, count = self.names[index], len(self.names)
        if not (self.root / name).parent.is_dir():
            return True
        folder = name.rpartition("/")[0]
        near = (self.names[(index + n) % count] for n in range(1, min(_NEIGHBOURS, count)))
        beside = [other for other in near if other.rpartition("/")[0] == folder][:PROBES]
        apart = [self.names[(index + n * count // PROBES) % count] for n in range(1, PROBES)]
        groups = (beside, [other for other in apart if other != name])
        return any(group and not any(map(self._readable, group)) for group in groups)

    def _readable(self, name: str) -> bool:
        try:
            with (self.root / name).open("rb", buffering=0) as file:
                return bool(file.read(1))
        except (OSError, ValueError):
            return False


def _load(options: DataSection, folder: Path | None, progress: ProgressCallback) -> Dataset:
    """The folder's pictures, in memory or, where they are too many, as a stream.

    Files are sorted by name, and classes take turns, so that the first few show them all. What is
    not wanted by ``classes`` and ``limit`` (of files) is never opened. Every other file is decoded
    once: one that cannot be is skipped and named, 1 % of them or more are refused. Pictures of 16
    bits that leave the upper ones unused are read again by those they use.
    """
    import torch

    root = _root(options, folder)
    listing = list_pictures(root, options.reading, progress)
    names = _wanted(listing, root, options)
    fitting = options.memory_mb * 2**20 // (3 * options.side**2)
    streamed = len(names) > fitting
    held = min(PREVIEW, fitting) if streamed else len(names)
    decoding = PictureOptions.of(options)
    scan = _scan(root, names, listing.links, decoding, held, progress)
    said = remarks.file_remarks(listing, scan.names, root)
    if options.reading > 1 and not options.bits and 0 < scan.highest < 1 << 15:
        decoding = replace(decoding, bits=scan.highest.bit_length())
        said.append(
            Remark(
                "bits",
                f"the 16-bit pictures have values up to {scan.highest:,}: {decoding.bits} bits are "
                "stretched to 0..255 (data.bits)",
            )
        )
        scan = _scan(root, names, listing.links, decoding, held, progress)
    if options.reading > 1 and not options.channels and scan.grey:
        decoding = replace(decoding, channels=1)
    samples = np.ascontiguousarray(scan.held[: len(scan.names), : decoding.channels])
    classes = sorted({_class(name) for name in scan.names} - {""})
    places = {name: place for place, name in enumerate(classes)}
    labels = tuple(places[_class(name)] for name in scan.names) if classes else ()
    said += remarks.pixel_remarks(
        samples,
        np.array(scan.lows, np.uint8),
        np.array(scan.highs, np.uint8),
        len(scan.different),
        options.batch_size,
    )
    stream = None
    if streamed:
        digest = scan.digests[decoding.channels]
        digest.update(np.array(labels, np.int64).tobytes())
        stream = PictureStream(root, tuple(scan.names), labels, decoding, digest.hexdigest())
    resolved = {"channels": decoding.channels, "bits": decoding.bits}
    return Dataset(
        name=options.name,
        samples=torch.from_numpy(samples),
        labels=torch.tensor(labels[: len(samples)]) if classes else None,
        classes=tuple(clean(name, 64) for name in classes),
        skipped=tuple(scan.skipped),
        remarks=tuple(said),
        options=options.model_copy(update=resolved) if options.reading > 1 else options,
        files=Files(root, tuple(scan.names), tuple(scan.marks), scan.by_times.hexdigest()),
        narrowed=True,
        stream=stream,
    )


def _root(options: DataSection, folder: Path | None) -> Path:
    """Where the pictures lie, without links in its path; UserError where there is no folder."""
    given = folder or (Path(options.folder) if options.folder else None)
    if given is None:
        raise UserError("data folder: which one? Say it with --set data.folder=PATH")
    try:
        root = expanded(given).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        root = given
    if not root.is_dir():
        raise UserError(f"data.folder: {clean(given)}: there is no such folder")
    return root


def _wanted(listing: Listing, root: Path, options: DataSection) -> list[str]:
    """Those of the wanted classes, the classes taking turns, and of them the first ``limit``."""
    names = listing.names
    if not names:
        besides = f"; not read: {listing.unread_kinds()}" if listing.unread else ""
        besides += f"; {listing.away[0]}" if listing.away else ""
        raise UserError(
            f"data.folder: {clean(root)} holds no pictures that can be read{besides}\n"
            "PNG, JPEG, WEBP, BMP, GIF and TIFF are read; convert others"
        )
    classes = sorted({_class(name) for name in names})
    if len(classes) > 1 and not classes[0]:
        raise UserError(
            f"data.folder: {clean(root)} holds pictures both in folders and beside them\n"
            "Put each into the folder of its class, or all into one folder"
        )
    kept = set(classes)
    if options.classes:
        shown = [clean(name, 64) for name in classes if name]
        kept = {classes[place] for place in class_places(shown, options)}
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


@dataclass
class _Scan:
    """What a look at every picture has shown.

    ``names``: the good ones, with their ``marks``, ``lows`` and ``highs``; ``held`` (n, channels,
    side, side): the first of them; ``skipped``: a line for each other one. ``digests``: of the
    pixels, by the number of channels. ``different``: hashes of pictures, each once. ``highest``:
    the largest 16-bit value, or -1; ``grey``: whether all are.
    """

    held: np.ndarray
    skipped: list[str]
    by_times: hashlib._Hash
    digests: dict[int, hashlib._Hash]
    names: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    lows: list[int] = field(default_factory=list)
    highs: list[int] = field(default_factory=list)
    different: set[int] = field(default_factory=set)
    highest: int = -1
    grey: bool = True

    def take(self, name: str, found: DecodedPicture) -> None:
        """One more good picture."""
        pixels = found.pixels
        if len(self.names) < len(self.held):
            self.held[len(self.names)] = pixels
        self.grey = self.grey and found.grey
        for channels, digest in self.digests.items():
            if channels > 1 or self.grey:
                digest.update(pixels[:channels].tobytes())
        self.by_times.update(os.fsencode(f"\0{name}\0{found.size}\0{found.changed}"))
        self.names.append(name)
        self.marks.append(found.mark)
        self.lows.append(int(pixels.min()))
        self.highs.append(int(pixels.max()))
        self.different.add(hash(pixels.tobytes()))
        self.highest = max(self.highest, found.highest)


def _scan(
    root: Path,
    names: Sequence[str],
    links: Sequence[str],
    decoding: PictureOptions,
    held: int,
    progress: ProgressCallback,
) -> _Scan:
    """A look at every picture, and ``held`` of them kept; UserError where too many are bad."""
    total = len(names) + len(links)
    channels = {decoding.channels, 1}
    scan = _Scan(
        np.empty((held, decoding.channels, decoding.side, decoding.side), np.uint8),
        list(links),
        hashlib.sha256(str(decoding.side).encode()),
        {count: hashlib.sha256() for count in channels},
    )
    for name, found in _looked_at(root, names, decoding, progress):
        if isinstance(found, DecodedPicture):
            scan.take(name, found)
            continue
        scan.skipped.append(_line(name, found))
        if len(scan.skipped) >= MOST_SKIPPED and 100 * len(scan.skipped) >= REFUSED_PERCENT * total:
            break
    if 100 * len(scan.skipped) >= REFUSED_PERCENT * total:
        _refuse(root, scan.skipped, total)
    return scan


def _looked_at(
    root: Path, names: Sequence[str], decoding: PictureOptions, progress: ProgressCallback
) -> Iterator[tuple[str, DecodedPicture | BrokenSample]]:
    """Each of the names with what it is, in their order; decoded by several threads."""

    def seen(name: str) -> DecodedPicture | BrokenSample:
        try:
            return picture_file.read(root, name, decoding)
        except BrokenSample as error:
            return error

    workers = min(8, os.cpu_count() or 1)
    with picture_file.warned(decoding.reading), ThreadPoolExecutor(workers, "ganterm-scan") as pool:
        for start in range(0, len(names), _AT_ONCE):
            progress(f"checking {len(names):,} pictures", start / len(names))
            part = names[start : start + _AT_ONCE]
            yield from zip(part, pool.map(seen, part), strict=True)
    progress(f"checking {len(names):,} pictures", 1.0)


def _line(name: str, reason: object) -> str:
    return f"{clean(name)}: {clean(reason, 100)}"


def _refuse(root: Path, skipped: Sequence[str], total: int) -> None:
    more = f"; and {len(skipped) - _NAMED:,} more" if len(skipped) > _NAMED else ""
    least = "at least " if len(skipped) == MOST_SKIPPED else ""
    raise UserError(
        f"data.folder: {clean(root)}: {least}{len(skipped):,} of {total:,} pictures cannot be "
        f"used; below {REFUSED_PERCENT} % they would be skipped\n"
        f"{'; '.join(skipped[:_NAMED])}{more}"
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
