"""Data sets and their catalogue entries."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from ganterm.data.options import DataSection

if TYPE_CHECKING:
    from torch import Tensor

ProgressCallback = Callable[[str, float | None], None]
"""Called with what is being done, and the share done (0..1) or None where it is unknown."""


class BrokenSample(Exception):  # noqa: N818 - it is the sample that is wrong, not the program
    """A file from outside that cannot be used; the message is the cause."""


class Unreachable(BrokenSample):
    """A file that cannot be read; its disk may be at fault."""


class SourceAway(Exception):  # noqa: N818 - it may be back in a moment
    """A stream whose whole source is out of reach, not one sample; the message says how."""


class Stream(Protocol):
    """A data set that is too large for memory, read sample by sample, also in other processes.

    ``labels``: one a sample, or empty. ``sha256``: as in ``Dataset``.
    """

    @property
    def labels(self) -> Sequence[int]: ...

    @property
    def sha256(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """A sample, uint8 (channels, height, width), and its label or -1.

        BrokenSample, naming the sample and the cause, where it can no longer be read; SourceAway
        where that is not the sample's own fault.
        """


@dataclass(frozen=True)
class Remark:
    """A remark about the data before training, in a sentence or two.

    ``warns``: whether training on the data is likely to go wrong. ``title`` says it in a few words.
    """

    name: str
    message: str
    title: str = ""
    warns: bool = False


@dataclass(frozen=True)
class Files:
    """The files of a data set, in its order.

    ``names``: paths below ``root``. ``marks``: a text for each that identifies its content.
    ``by_times``: the checksum of names, sizes and times of change by which older runs knew a
    stream; "" where it was not computed.
    """

    root: Path
    names: tuple[str, ...]
    marks: tuple[str, ...]
    by_times: str = ""


@dataclass(frozen=True)
class Dataset:
    """A loaded data set in host memory, or the first samples of a stream.

    ``samples``: uint8 (n, channels, height, width) for pictures, float32 (n, 2) for points.
    ``labels``: int64 (n,) in 0..len(classes)-1, or None. ``classes``: their names. ``modes``:
    float32 (m, 2), the centres of a mixture, with ``sigma`` its standard deviation; None for
    pictures. ``skipped``: a line for each file that could not be used. ``remarks``: remarks to show
    at the start. ``options``: the options with every choice resolved, where loading resolved some;
    else None. ``files``: the user's own files. ``narrowed``: whether loading has already applied
    ``classes`` and ``limit``. ``stream``: all samples of a set that is too large for memory;
    ``samples`` and ``labels`` are then its first (of a folder 2,048, or as many as fit).
    ``stacked``: pictures in one sample, a channel each; with several, a class is named by its
    digits.
    """

    name: str
    samples: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    modes: Tensor | None = None
    sigma: float | None = None
    skipped: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()
    options: DataSection | None = None
    files: Files | None = None
    narrowed: bool = False
    stream: Stream | None = None
    stacked: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """One sample's shape."""
        return tuple(self.samples.shape[1:])

    @property
    def count(self) -> int:
        """The number of samples, in memory or not."""
        return len(self.samples if self.stream is None else self.stream)

    @property
    def sha256(self) -> str:
        """SHA-256 of the samples' bytes and then the labels', whether they are in memory or not."""
        if self.stream is not None:
            return self.stream.sha256
        # The tensors themselves are buffers: no copy of what may be hundreds of megabytes.
        digest = hashlib.sha256(self.samples.contiguous().numpy().data)
        if self.labels is not None:
            digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class DataSource:
    """A data set in the catalogue, and how to load it.

    ``load(options, folder, progress)`` raises UserError, naming the cause, where the data are not
    available. ``folder`` is the user's ``--data-dir``, or None for the platform's cache folder.
    """

    name: str
    title: str
    kind: Literal["image", "points"]
    size: str
    load: Callable[[DataSection, Path | None, ProgressCallback], Dataset]
