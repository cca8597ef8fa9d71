"""ring8: eight Gaussians on a circle, the classic toy on which mode collapse can be counted."""

from __future__ import annotations

import math
from pathlib import Path

from ganterm.data.options import DataSection
from ganterm.data.source import Dataset, DataSource, Progress

RADIUS = 1.0
SIGMA = 0.01
COUNT = 100_000


def _load(options: DataSection, folder: Path | None, progress: Progress) -> Dataset:
    """100,000 fixed points (as PacGAN, Lin et al. 2018), the same on every machine and run."""
    import torch

    generator = torch.Generator().manual_seed(8)
    # Seven steps of an eighth: both ends included would put two modes on one place.
    angles = torch.arange(8) * (2 * math.pi / 8)
    modes = RADIUS * torch.stack([angles.cos(), angles.sin()], dim=1)
    labels = torch.randint(8, (COUNT,), generator=generator)
    samples = modes[labels] + SIGMA * torch.randn(COUNT, 2, generator=generator)
    return Dataset(name="ring8", samples=samples, labels=labels, modes=modes, sigma=SIGMA)


SOURCES = (
    DataSource(
        name="ring8",
        title="8 Gaussians on a circle of radius 1, sigma 0.01",
        kind="points",
        size="100,000 x 2",
        load=_load,
    ),
)
