"""What every data set has in common."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from ganterm.data.options import DataSection

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[str, float | None], None]
"""Told what is being done, and the share done (0..1) where that is known."""


class BrokenSample(Exception):  # noqa: N818 - it is the sample that is wrong, not the program
    """A file from outside that cannot be used; the message is the cause."""


class Stream(Protocol):
    """A data set that is too large for memory, read sample by sample, also in other processes.

    ``labels``: one a sample, or empty; ``sha256``: identifies the files that it reads.
    """

    @property
    def labels(self) -> Sequence[int]: ...

    @property
    def sha256(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """A sample, uint8 (channels, height, width), and its label or -1.

        BrokenSample, naming the sample and the cause, where it can no longer be read.
        """


@dataclass(frozen=True)
class Dataset:
    """A loaded data set, in host memory, or the first of one that is streamed.

    ``samples``: uint8 (n, channels, height, width) for pictures, float32 (n, 2) for points.
    ``labels``: int64 (n,) in 0..len(classes)-1, or None; ``classes``: their names. ``modes``:
    float32 (m, 2), the centres of a mixture, with ``sigma`` its standard deviation; None for
    pictures. ``skipped``: files that could not be used, a line each. ``narrowed``: the wanted
    classes and number of samples were chosen on loading. ``stream``: all samples of a set that is
    too large for memory, of which ``samples`` and ``labels`` are then the first (of a folder 2,048
    or as many as fit); else None. ``stacked``: pictures in one sample, a channel each; where there
    are several, a class's name is the digits that they show.
    """

    name: str
    samples: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    modes: Tensor | None = None
    sigma: float | None = None
    skipped: tuple[str, ...] = ()
    narrowed: bool = False
    stream: Stream | None = None
    stacked: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """One sample's shape."""
        return tuple(self.samples.shape[1:])

    @property
    def sha256(self) -> str:
        """Of the samples' bytes and then the labels'; of a stream, what it says of its files."""
        if self.stream is not None:
            return self.stream.sha256
        # The tensors themselves are buffers: no copy of what may be hundreds of megabytes.
        digest = hashlib.sha256(self.samples.contiguous().numpy().data)
        if self.labels is not None:
            digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class DataSource:
    """A data set that can be asked for: what a catalogue says of it, and how to load it.

    ``load(options, folder, progress)`` raises UserError, naming the cause, where the data cannot
    be had; ``folder`` is the user's ``--data-dir`` or None for the platform's cache folder.
    """

    name: str
    title: str
    kind: Literal["image", "points"]
    size: str
    load: Callable[[DataSection, Path | None, Progress], Dataset]
