"""The residual blocks of SNGAN (Miyato et al. 2018, appendix B.4), as mimicry's sngan_32 has them.

Initial weights are Glorot-uniform, with gain sqrt(2) inside a block and 1 elsewhere. Activations
return new tensors, so that D's shortcuts get x as in the paper; mimicry's work in place, and its
shortcuts get relu(x).
"""

from __future__ import annotations

import math
from typing import TypeVar

from torch import Tensor, nn
from torch.nn import functional

L = TypeVar("L", nn.Conv2d, nn.Linear)


class UpBlock(nn.Module):
    """Maps (batch, width, n, n) to (batch, width, 2n, 2n), with batch norm before each ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.conv1, self.conv2 = _inner(width, width), _inner(width, width)
        self.shortcut = _initialised(nn.Conv2d(width, width, 1))
        self.doubled = nn.Upsample(scale_factor=2, mode="bilinear")

    def forward(self, x: Tensor) -> Tensor:
        """The doubled picture's features."""
        inner = self.conv1(self.doubled(functional.relu(self.norm1(x))))
        inner = self.conv2(functional.relu(self.norm2(inner)))
        total: Tensor = inner + self.shortcut(self.doubled(x))
        return total


class DownBlock(nn.Module):
    """Maps (batch, before, n, n) to (batch, width, n/2, n/2) by means over 2 x 2 pixels.

    ``first``: the input is the picture itself, so no ReLU precedes the first convolution, and the
    shortcut halves before it convolves.
    """

    def __init__(self, before: int, width: int, first: bool = False) -> None:
        super().__init__()
        self.conv1, self.conv2 = _inner(before, width), _inner(width, width)
        self.shortcut = _initialised(nn.Conv2d(before, width, 1))
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        """The halved picture's features."""
        inner = self.conv1(x if self.first else functional.relu(x))
        inner = functional.avg_pool2d(self.conv2(functional.relu(inner)), 2)
        if self.first:
            total: Tensor = inner + self.shortcut(functional.avg_pool2d(x, 2))
            return total
        return inner + functional.avg_pool2d(self.shortcut(x), 2)


class PlainBlock(nn.Module):
    """Keeps the size (batch, width, n, n); the shortcut is x itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _inner(width, width), _inner(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, width, n, n), as ``x``."""
        total: Tensor = x + self.conv2(functional.relu(self.conv1(functional.relu(x))))
        return total


class SumPool(nn.Module):
    """Maps (batch, width, n, n) to (batch, width): the sum of active features over the picture."""

    def forward(self, x: Tensor) -> Tensor:
        """ReLU, then the sum over the picture."""
        return functional.relu(x).sum(dim=(2, 3))


def generator_body(latent: int, width: int, start: int, times: int, channels: int) -> nn.Module:
    """Layers from noise (batch, ``latent``) to pictures of side start * 2 ** times in -1..1."""
    return nn.Sequential(
        _initialised(nn.Linear(latent, width * start**2)),
        nn.Unflatten(1, (width, start, start)),
        *[UpBlock(width) for _ in range(times)],
        nn.BatchNorm2d(width),
        nn.ReLU(),
        _initialised(nn.Conv2d(width, channels, 3, padding=1)),
        nn.Tanh(),
    )


def discriminator_body(channels: int, width: int) -> nn.Module:
    """Layers from pictures (batch, ``channels``, n, n) to features (batch, ``width``).

    n must be a multiple of 4.
    """
    return nn.Sequential(
        DownBlock(channels, width, first=True),
        DownBlock(width, width),
        PlainBlock(width),
        PlainBlock(width),
        SumPool(),
    )


def score_layer(width: int) -> nn.Linear:
    """A layer from features (batch, ``width``) to scores (batch, 1)."""
    return _initialised(nn.Linear(width, 1))


def _inner(before: int, after: int) -> nn.Conv2d:
    return _initialised(nn.Conv2d(before, after, 3, padding=1), math.sqrt(2))


def _initialised(layer: L, gain: float = 1.0) -> L:
    nn.init.xavier_uniform_(layer.weight, gain)
    return layer
