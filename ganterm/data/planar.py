"""Points along curves in the plane: moons, a spiral and a swiss roll."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ganterm.data.options import DataSection
from ganterm.data.source import Dataset, DataSource, ProgressCallback

if TYPE_CHECKING:
    from torch import Generator, Tensor

COUNT = 100_000
"""Points in each set."""
NOISE = 0.01
"""Standard deviation of the points around their curve, in units of the samples."""

Curve = Callable[["Generator"], "tuple[Tensor, Tensor | None]"]


def _arms(random: Generator) -> tuple[Tensor, Tensor]:
    """Two arms of an Archimedean spiral, a turn and a half each, out to radius 1."""
    import torch

    arm = torch.randint(2, (COUNT,), generator=random)
    # The square root spreads points evenly along the arm, whose outer turns are longer.
    reach = torch.rand(COUNT, generator=random).sqrt()
    angle = 3 * math.pi * reach + math.pi * arm
    return reach[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1), arm


def _moons(random: Generator) -> tuple[Tensor, Tensor]:
    """Two interlocking half circles of radius 0.6."""
    import torch

    moon = torch.randint(2, (COUNT,), generator=random)
    angle = math.pi * torch.rand(COUNT, generator=random)
    side = 1.0 - 2.0 * moon
    x, y = side * (angle.cos() - 0.5), side * (angle.sin() - 0.25)
    return 0.6 * torch.stack([x, y], dim=1), moon


def _roll(random: Generator) -> tuple[Tensor, None]:
    """A swiss roll seen from its end: angle = radius from 3/2 to 9/2 pi (Tenenbaum et al. 2000)."""
    import torch

    angle = 1.5 * math.pi * (1 + 2 * torch.rand(COUNT, generator=random))
    points = angle[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    return points / (4.5 * math.pi), None


def _load(
    name: str, curve: Curve, options: DataSection, folder: Path | None, progress: ProgressCallback
) -> Dataset:
    """100,000 fixed points, the same on every machine and run."""
    import torch

    random = torch.Generator().manual_seed(2)
    points, labels = curve(random)
    points = points + NOISE * torch.randn(COUNT, 2, generator=random)
    classes = () if labels is None else ("0", "1")
    return Dataset(name=name, samples=points, labels=labels, classes=classes)


SOURCES = tuple(
    DataSource(
        name=name,
        title=title,
        kind="points",
        size=f"{COUNT:,} x 2",
        load=partial(_load, name, curve),
    )
    for name, title, curve in (
        ("spiral", "two arms of a spiral", _arms),
        ("moons", "two half moons", _moons),
        ("swiss_roll", "a swiss roll seen from its end", _roll),
    )
)
