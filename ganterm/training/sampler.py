"""What G makes of a fixed noise, looked at between two iterations without touching the training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganterm.data.source import Dataset
from ganterm.session.protocol import Sample
from ganterm.training.latent import Latent

PICTURES = 64
POINTS = 1000


class Sampler:
    """Holds the fixed noise; its generator is its own, so looking draws nothing from training."""

    def __init__(self, dataset: Dataset, latent: Latent, device: torch.device, seed: int) -> None:
        self._random = torch.Generator(device).manual_seed(seed)
        self._latent = latent
        self._real = None
        if dataset.samples.dim() == 2:
            self._real = dataset.samples[:POINTS].numpy()
        self._noise = self._drawn()
        self._labels: list[Tensor] = []
        if latent.labels:
            columns = torch.arange(len(self._noise), device=device)
            self._labels = [columns % latent.labels]

    def renew(self) -> None:
        """Draw another fixed noise."""
        self._noise = self._drawn()

    def look(self, generator: nn.Module, step: int) -> Sample:
        """G's samples of the fixed noise, in evaluation mode; G is left as it was."""
        generator.eval()
        with torch.no_grad():
            made = generator(self._noise, *self._labels)
        generator.train()
        if self._real is not None:
            return Sample(step, points=made.float().cpu().numpy(), real_points=self._real)
        pixels = made.float().add(1).mul(127.5).round().clamp(0, 255).nan_to_num(0)
        images = pixels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return Sample(step, images=images)

    def _drawn(self) -> Tensor:
        count = PICTURES if self._real is None else POINTS
        return self._latent.draw(count, self._random)
