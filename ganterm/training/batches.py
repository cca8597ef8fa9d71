"""Real batches, drawn, gathered and normalised on the device."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

import torch
from torch import Tensor


class RealBatches(Protocol):
    """Where the training gets its real samples from.

    ``broken``: samples that could not be read when they were due, a line each, and how often.
    """

    batch_size: int
    broken: Counter[str]

    def next(self) -> tuple[Tensor, Tensor | None]:
        """The next batch, float32 (batch_size, *sample shape), and its labels, int64, if any."""

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
        self._order: Tensor | None = None
        self._at = 0

    def next(self) -> tuple[Tensor, Tensor | None]:
        """The next batch, float32 (batch_size, *sample shape), and its labels, int64, if any."""
        indices = self._indices()
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

    def _indices(self) -> Tensor:
        count, size = len(self.samples), self.batch_size
        device = self.samples.device
        if count < size:
            return torch.randint(count, (size,), generator=self.generator, device=device)
        if self._order is None or self._at + size > count:
            self._order = torch.randperm(count, generator=self.generator, device=device)
            self._at = 0
        self._at += size
        return self._order[self._at - size : self._at]
