"""Mixtures of Gaussians in the plane, whose modes can be counted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ganterm.data.options import DataSection
from ganterm.data.source import Dataset, DataSource, ProgressCallback

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """A mixture of equal Gaussians and the ``count`` fixed points drawn from it.

    ``radius``: of the circle of eight modes. ``grid``: modes along each side of a square grid;
    0 for the circle. ``sigma``: the standard deviation of each mode. Lengths are in units of the
    samples, which lie in about -1..1.
    """

    name: str
    title: str
    sigma: float
    count: int
    radius: float = 0.0
    grid: int = 0

    def modes(self) -> Tensor:
        """The centres, float32 (m, 2): eight on a circle, or a square grid over -1..1."""
        import torch

        if self.grid:
            places = torch.linspace(-1, 1, self.grid)
            return torch.cartesian_prod(places, places)
        # From 0 to 7/8 of a turn: a whole turn would put two modes at one place.
        angles = torch.arange(8) * (2 * math.pi / 8)
        return self.radius * torch.stack([angles.cos(), angles.sin()], dim=1)


MIXTURES = (
    Mixture(
        "ring8",
        "8 Gaussians on a circle of radius 1, sigma 0.01",
        sigma=0.01,
        count=100_000,
        radius=1,
    ),
    # The usual grid spans -4..4 with sigma 0.05; here it is a quarter of that, to fit -1..1.
    Mixture("grid25", "25 Gaussians on a grid over -1..1, sigma 0.0125", 0.0125, 100_000, grid=5),
    # Known to collapse: radius 10, sigma 0.5, 3,200 points. Here lengths are divided by 15.
    Mixture("ring8_wide", "8 wide Gaussians on a circle, 3,200 points", 0.5 / 15, 3_200, 10 / 15),
)


def _load(
    mixture: Mixture, options: DataSection, folder: Path | None, progress: ProgressCallback
) -> Dataset:
    """The fixed points (as in PacGAN, Lin et al. 2018), the same on every machine and run."""
    import torch

    modes = mixture.modes()
    generator = torch.Generator().manual_seed(len(modes))
    labels = torch.randint(len(modes), (mixture.count,), generator=generator)
    noise = torch.randn(mixture.count, 2, generator=generator)
    return Dataset(
        name=mixture.name,
        samples=modes[labels] + mixture.sigma * noise,
        labels=labels,
        classes=tuple(f"mode {place}" for place in range(len(modes))),
        modes=modes,
        sigma=mixture.sigma,
    )


SOURCES = tuple(
    DataSource(
        name=mixture.name,
        title=mixture.title,
        kind="points",
        size=f"{mixture.count:,} x 2",
        load=partial(_load, mixture),
    )
    for mixture in MIXTURES
)
