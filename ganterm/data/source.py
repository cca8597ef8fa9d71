"""What a data set is: loaded, as a stream, and as an entry of the catalogue."""

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
"""Called with what is being done, and the share of it that is done: 0..1, or None if unknown."""


class BrokenSample(Exception):  # noqa: N818 - it is the sample that is wrong, not the program
    """A file from outside that cannot be used; the message is the cause."""


class Unreachable(BrokenSample):
    """A file that cannot be read; its disk may be at fault."""


class SourceAway(Exception):  # noqa: N818 - it may be back in a moment
    """A stream's whole source is out of reach, not just one sample; the message says why."""


class Stream(Protocol):
    """A data set that is too large for memory: read sample by sample, also by worker processes.

    ``labels``: one for each sample, or empty. ``sha256``: as in ``Dataset``.
    """

    @property
    def labels(self) -> Sequence[int]: ...

    @property
    def sha256(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """A sample, uint8 (channels, height, width), and its label or -1.

        BrokenSample, naming the sample and the cause, if it can no longer be read; SourceAway if
        others cannot be read either.
        """


@dataclass(frozen=True)
class Remark:
    """A remark about the data before training, in a sentence or two.

    ``warns``: whether training on the data is likely to go wrong. ``title``: the remark in a few
    words.
    """

    name: str
    message: str
    title: str = ""
    warns: bool = False


@dataclass(frozen=True)
class Files:
    """The files of a data set, in its order.

    ``names``: paths below ``root``. ``marks``: for each a text that identifies its content.
    ``by_times``: a checksum of names, sizes and times of change, by which older runs identify a
    stream; "" if it was not computed.
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
    float32 (m, 2), the centres of a mixture, and ``sigma``, its standard deviation; None for
    pictures. ``skipped``: a line for each file that could not be used. ``remarks``: shown at the
    start of a run. ``options``: the options with the choices that loading made, or None if it made
    none. ``files``: the user's own files. ``narrowed``: whether loading has already applied
    ``classes`` and ``limit``. ``stream``: all samples of a set that is too large for memory;
    ``samples`` and ``labels`` are then the first of these. ``stacked``: number of pictures in one
    sample, a channel each; if there are several, the name of a class has a digit for each.
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
        """SHA-256 of the bytes of all samples and then of all labels, in memory or not."""
        if self.stream is not None:
            return self.stream.sha256
        # Hash the tensors' memory itself: a copy could take hundreds of megabytes.
        digest = hashlib.sha256(self.samples.contiguous().numpy().data)
        if self.labels is not None:
            digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class DataSource:
    """A data set in the catalogue, and how to load it.

    ``load(options, folder, progress)`` raises UserError, naming the cause, if the data are not
    available. ``folder`` is the user's ``--data-dir``, or None for the platform's cache folder.
    """

    name: str
    title: str
    kind: Literal["image", "points"]
    size: str
    load: Callable[[DataSection, Path | None, ProgressCallback], Dataset]
