"""Real batches, drawn, gathered and normalised on the device."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Position(NamedTuple):
    """How far a shuffled epoch is: the generator's state at its start, and the samples drawn.

    ``random``: uint8 (n,) on the host, which the order of the epoch follows from.
    """

    random: Tensor
    at: int


class SourceFault(Exception):  # noqa: N818 - the disk is at fault, not the program
    """Real samples cannot be had now; the message says why. Nothing that was drawn is lost.

    ``process``: a process that reads them has ended, and another one may do.
    """

    def __init__(self, message: str, process: bool = False) -> None:
        super().__init__(message)
        self.process = process


class RealBatches(Protocol):
    """Where the training gets its real samples from.

    ``broken``: samples that could not be read when they were due, a line each, and how often.
    """

    batch_size: int
    broken: Counter[str]

    @property
    def generator(self) -> torch.Generator:
        """What shuffles."""

    @property
    def position(self) -> Position:
        """Behind the newest batch that was drawn."""

    def check(self, at: int) -> None:
        """ValueError where so many samples of an epoch are never drawn."""

    def go_to(self, position: Position) -> None:
        """Go on from there."""

    def prepare(self, count: int) -> None:
        """Have the next so many batches at hand; SourceFault where they cannot be had."""

    def next(self) -> tuple[Tensor, Tensor | None]:
        """The next batch, float32 (batch_size, *sample shape), and its labels, int64, if any.

        SourceFault, and nothing is drawn, where it was not prepared and cannot be had.
        """

    def labels(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` labels drawn as often as they occur in the data, int64."""

    def close(self) -> None:
        """End what runs beside the training for it; nothing is drawn after that."""


class Batches:
    """Shuffled epochs over samples that lie on the device, with a generator of their own.

    uint8 samples come out as float32 in -1..1, points as they are. The last, smaller batch of an
    epoch is left out, as is usual; a set smaller than a batch is drawn from with replacement.
    ``labels`` (n,) int64 only where the networks are told any: what is not needed costs nothing.
    """

    def __init__(
        self,
        samples: Tensor,
        labels: Tensor | None,
        batch_size: int,
        device: torch.device,
        seed: int,
    ) -> None:
        self.samples = samples.to(device)
        self._labels = None if labels is None else labels.to(device)
        self.batch_size = batch_size
        self.broken: Counter[str] = Counter()
        self.generator = torch.Generator(device).manual_seed(seed)
        self._before_order = self.generator.get_state()
        self._order: Tensor | None = None
        self._at = 0

    def prepare(self, count: int) -> None:
        """Everything is at hand."""

    def next(self) -> tuple[Tensor, Tensor | None]:
        """The next batch, float32 (batch_size, *sample shape), and its labels, int64, if any."""
        indices = self.indices()
        batch = self.samples.index_select(0, indices)
        if batch.dtype == torch.uint8:
            batch = batch.float().mul_(2 / 255).sub_(1)
        labels = None if self._labels is None else self._labels.index_select(0, indices)
        return batch, labels

    def labels(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` labels drawn as often as they occur in the data, int64."""
        assert self._labels is not None
        device = self._labels.device
        chosen = torch.randint(len(self._labels), (count,), generator=generator, device=device)
        return self._labels.index_select(0, chosen)

    def close(self) -> None:
        """Nothing runs beside the training."""

    @property
    def position(self) -> Position:
        """Behind the newest batch that was drawn."""
        if self._order is None:
            return Position(self.generator.get_state(), 0)
        return Position(self._before_order, self._at)

    def check(self, at: int) -> None:
        """ValueError where so many samples of an epoch are never drawn."""
        batches, rest = divmod(at, self.batch_size)
        most = len(self.samples) // self.batch_size
        if rest or not 0 <= batches <= most:
            raise ValueError(f"{at:,} is not 0 to {most} batches of {self.batch_size:,}")

    def go_to(self, position: Position) -> None:
        """Go on from there."""
        self.generator.set_state(position.random)
        self._order = None
        if position.at:
            self._shuffle()
            self._at = position.at

    def indices(self) -> Tensor:
        """The places of the next batch's samples, int64 (batch_size,), on the device."""
        count, size = len(self.samples), self.batch_size
        if count < size:
            device = self.samples.device
            return torch.randint(count, (size,), generator=self.generator, device=device)
        if self._order is None or self._at + size > count:
            self._shuffle()
        assert self._order is not None
        self._at += size
        return self._order[self._at - size : self._at]

    def _shuffle(self) -> None:
        self._before_order = self.generator.get_state()
        self._order = torch.randperm(
            len(self.samples), generator=self.generator, device=self.samples.device
        )
        self._at = 0
