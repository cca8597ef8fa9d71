"""Your own pictures: a folder of them, whose sub-folders are classes."""

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
"""Pictures of a streamed folder that are kept in memory as its ``samples``, if they fit."""

REFUSED_PERCENT = 1
"""A folder is refused if at least this share of its files, in %, is bad."""
MOST_SKIPPED = 10_000
"""Bad files after which the rest of a folder is not read, if it is refused in any case."""
PROBES = 8
"""Other pictures that are tried if one cannot be read, to see whether the disk is missing."""

_BLOCK = 64
"""Pictures decoded between two reports of progress."""
_NAMED = 5
"""Most bad files that an error names."""
_NEIGHBOURS = 1_000
"""Following pictures among which others of the same folder are looked for."""


@dataclass(frozen=True)
class PictureStream:
    """The good files of a folder that does not fit in memory; each is decoded when it is indexed.

    ``names``: paths below ``root``. ``labels``: one for each name, or empty. ``decoding``: how the
    files are read. The class holds plain data only, since each worker process gets a copy.
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

        BrokenSample names a file that cannot be used. SourceAway: others cannot be read either.
        """
        import torch

        name = self.names[index]
        try:
            with picture_file.pil_warnings(self.decoding.reading):
                try:
                    picture = picture_file.read(self.root, name, self.decoding)
                except Unreachable as error:
                    if self._away(index):
                        raise SourceAway(f"{clean(self.root)}: {_line(name, error)}") from None
                    # The disk may have been missing at first and be back now.
                    picture = picture_file.read(self.root, name, self.decoding)
        except BrokenSample as error:
            raise BrokenSample(_line(name, error)) from None
        label = self.labels[index] if self.labels else -1
        return torch.from_numpy(picture.pixels.copy()), label

    def _away(self, index: int) -> bool:
        """Whether the folder of an unreadable picture, or the whole source, is out of reach."""
        name, count = self.names[index], len(self.names)
        if not (self.root / name).parent.is_dir():
            return True
        folder = name.rpartition("/")[0]
        near = (self.names[(index + n) % count] for n in range(1, min(_NEIGHBOURS, count)))
        siblings = [other for other in near if other.rpartition("/")[0] == folder][:PROBES]
        spread = [self.names[(index + n * count // PROBES) % count] for n in range(1, PROBES)]
        groups = (siblings, [other for other in spread if other != name])
        return any(group and not any(map(self._readable, group)) for group in groups)

    def _readable(self, name: str) -> bool:
        try:
            with (self.root / name).open("rb", buffering=0) as file:
                return bool(file.read(1))
        except (OSError, ValueError):
            return False


def _load(options: DataSection, folder: Path | None, progress: ProgressCallback) -> Dataset:
    """The folder's pictures, in memory or, if they do not fit, as a stream.

    Files are sorted by name, and classes take turns, so that the first few samples show all of
    them. Files that ``classes`` and ``limit`` leave out are never opened. Every other file is
    decoded once. One that cannot be used is skipped and named; if these are 1 % or more, the folder
    is refused. Pictures of 16 bits are read a second time if they do not use the highest bits.
    """
    import torch

    root = _root(options, folder)
    listing = list_pictures(root, options.reading, progress)
    names = _selection(listing, root, options)
    capacity = options.memory_mb * 2**20 // (3 * options.side**2)
    streamed = len(names) > capacity
    in_memory = min(PREVIEW, capacity) if streamed else len(names)
    decoding = PictureOptions.of(options)
    scan = _scan(root, names, listing.links, decoding, in_memory, progress)
    messages = remarks.file_remarks(listing, scan.names, root)
    if options.reading > 1 and not options.bits and 0 < scan.highest < 1 << 15:
        decoding = replace(decoding, bits=scan.highest.bit_length())
        messages.append(
            Remark(
                "bits",
                f"the 16-bit pictures have values up to {scan.highest:,}: {decoding.bits} bits are "
                "stretched to 0..255 (data.bits)",
            )
        )
        scan = _scan(root, names, listing.links, decoding, in_memory, progress)
    if options.reading > 1 and not options.channels and scan.grey:
        decoding = replace(decoding, channels=1)
    samples = np.ascontiguousarray(scan.samples[: len(scan.names), : decoding.channels])
    classes = sorted({_class(name) for name in scan.names} - {""})
    places = {name: place for place, name in enumerate(classes)}
    labels = tuple(places[_class(name)] for name in scan.names) if classes else ()
    messages += remarks.pixel_remarks(
        samples,
        np.array(scan.lows, np.uint8),
        np.array(scan.highs, np.uint8),
        len(scan.distinct),
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
        remarks=tuple(messages),
        options=options.model_copy(update=resolved) if options.reading > 1 else options,
        files=Files(root, tuple(scan.names), tuple(scan.marks), scan.by_times.hexdigest()),
        narrowed=True,
        stream=stream,
    )


def _root(options: DataSection, folder: Path | None) -> Path:
    """The folder of the pictures, with links in its path resolved; UserError if there is none."""
    path = folder or (Path(options.folder) if options.folder else None)
    if path is None:
        raise UserError("data folder: which one? Name it with --set data.folder=PATH")
    try:
        root = expanded(path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        root = path
    if not root.is_dir():
        raise UserError(f"data.folder: {clean(path)}: there is no such folder")
    return root


def _selection(listing: Listing, root: Path, options: DataSection) -> list[str]:
    """The first ``limit`` names of the classes in ``options``; classes take turns."""
    names = listing.names
    if not names:
        reasons = f"; not read: {listing.unread_kinds()}" if listing.unread else ""
        reasons += f"; {listing.unread_folders[0]}" if listing.unread_folders else ""
        raise UserError(
            f"data.folder: {clean(root)} holds no pictures that can be read{reasons}\n"
            "PNG, JPEG, WEBP, BMP, GIF and TIFF are read; convert others"
        )
    classes = sorted({_class(name) for name in names})
    if len(classes) > 1 and not classes[0]:
        raise UserError(
            f"data.folder: {clean(root)} holds pictures both in folders and beside them\n"
            "Put each into the folder of its class, or all into one folder"
        )
    selection = set(classes)
    if options.classes:
        titles = [clean(name, 64) for name in classes if name]
        selection = {classes[place] for place in class_places(titles, options)}
    turns: Counter[str] = Counter()
    ordered = []
    for name in names:
        if _class(name) in selection:
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
    """What is known after decoding every picture once.

    ``names``: the good pictures, with their ``marks`` and their smallest and largest values, 0 to
    255, in ``lows`` and ``highs``. ``samples`` (n, channels, side, side): the first of them.
    ``skipped``: a line for each bad one. ``digests``: checksums of the pixels, by the number of
    channels. ``distinct``: hashes of all pictures, so that copies can be counted. ``highest``: the
    largest value of any 16-bit picture, or -1. ``grey``: whether all pictures are.
    """

    samples: np.ndarray
    skipped: list[str]
    by_times: hashlib._Hash
    digests: dict[int, hashlib._Hash]
    names: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    lows: list[int] = field(default_factory=list)
    highs: list[int] = field(default_factory=list)
    distinct: set[int] = field(default_factory=set)
    highest: int = -1
    grey: bool = True

    def add(self, name: str, picture: DecodedPicture) -> None:
        """Add a good picture."""
        pixels = picture.pixels
        if len(self.names) < len(self.samples):
            self.samples[len(self.names)] = pixels
        self.grey = self.grey and picture.grey
        for channels, digest in self.digests.items():
            if channels > 1 or self.grey:
                digest.update(pixels[:channels].tobytes())
        self.by_times.update(os.fsencode(f"\0{name}\0{picture.size}\0{picture.changed}"))
        self.names.append(name)
        self.marks.append(picture.mark)
        self.lows.append(int(pixels.min()))
        self.highs.append(int(pixels.max()))
        self.distinct.add(hash(pixels.tobytes()))
        self.highest = max(self.highest, picture.highest)


def _scan(
    root: Path,
    names: Sequence[str],
    links: Sequence[str],
    decoding: PictureOptions,
    in_memory: int,
    progress: ProgressCallback,
) -> _Scan:
    """Decode every picture and keep the first ``in_memory``; UserError if too many are bad."""
    total = len(names) + len(links)
    channels = {decoding.channels, 1}
    scan = _Scan(
        np.empty((in_memory, decoding.channels, decoding.side, decoding.side), np.uint8),
        list(links),
        hashlib.sha256(str(decoding.side).encode()),
        {count: hashlib.sha256() for count in channels},
    )
    for name, result in _decode_all(root, names, decoding, progress):
        if isinstance(result, DecodedPicture):
            scan.add(name, result)
            continue
        scan.skipped.append(_line(name, result))
        if len(scan.skipped) >= MOST_SKIPPED and 100 * len(scan.skipped) >= REFUSED_PERCENT * total:
            break
    if 100 * len(scan.skipped) >= REFUSED_PERCENT * total:
        _refuse(root, scan.skipped, total)
    return scan


def _decode_all(
    root: Path, names: Sequence[str], decoding: PictureOptions, progress: ProgressCallback
) -> Iterator[tuple[str, DecodedPicture | BrokenSample]]:
    """Decode files in several threads; yields each name with its picture or fault, in order."""

    def decode(name: str) -> DecodedPicture | BrokenSample:
        try:
            return picture_file.read(root, name, decoding)
        except BrokenSample as error:
            return error

    workers = min(8, os.cpu_count() or 1)
    warnings = picture_file.pil_warnings(decoding.reading)
    with warnings, ThreadPoolExecutor(workers, "ganterm-scan") as pool:
        for start in range(0, len(names), _BLOCK):
            progress(f"checking {len(names):,} pictures", start / len(names))
            part = names[start : start + _BLOCK]
            yield from zip(part, pool.map(decode, part), strict=True)
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
