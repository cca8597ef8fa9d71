"""Real batches, drawn, gathered and normalised on the device."""

from __future__ import annotations

import torch
from torch import Tensor


class Batches:
    """Shuffled epochs over samples that lie on the device, with a generator of their own.

    uint8 samples come out as float32 in -1..1, points as they are. The last, smaller batch of an
    epoch is left out, as is usual; a set smaller than a batch is drawn from with replacement.
    """

    def __init__(self, samples: Tensor, batch_size: int, device: torch.device, seed: int) -> None:
        self.samples = samples.to(device)
        self.batch_size = batch_size
        self.generator = torch.Generator(device).manual_seed(seed)
        self._order: Tensor | None = None
        self._at = 0

    def next(self) -> Tensor:
        """The next batch, float32 of shape (batch_size, *sample shape)."""
        batch = self.samples.index_select(0, self._indices())
        if batch.dtype == torch.uint8:
            return batch.float().mul_(2 / 255).sub_(1)
        return batch

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
