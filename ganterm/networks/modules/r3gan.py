"""The layers of R3GAN (Huang et al. 2024, arXiv 2501.05441, section 3 and appendix).

There are no norms. Initial weights are N(0, gain^2 / fan_in) and each block starts as the identity
(Fixup, Zhang et al. 2019), so that depth does not increase the variance. A convolution has a bias
only if an activation follows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2
"""Slope of the leaky ReLUs below 0."""
GAIN = math.sqrt(2 / (1 + SLOPE**2))
"""The gain that keeps the variance through a leaky ReLU of that slope (He et al. 2015)."""

L = TypeVar("L", nn.Conv2d, nn.Linear)


class Stage(NamedTuple):
    """Residual blocks at one picture size.

    ``width``: channels. ``groups``: of each block's 3 x 3 convolution. ``expansion``: inner over
    outer width of a block. ``blocks``: number of blocks.
    """

    width: int
    groups: int
    expansion: int
    blocks: int


class Block(nn.Module):
    """x plus an inverted bottleneck: a wider 1 x 1, a grouped 3 x 3 and a narrower 1 x 1."""

    def __init__(self, width: int, groups: int, expansion: int) -> None:
        super().__init__()
        inner = width * expansion
        self.wider = _initialised(nn.Conv2d(width, inner, 1), GAIN)
        self.grouped = _initialised(nn.Conv2d(inner, inner, 3, padding=1, groups=groups), GAIN)
        self.back = _initialised(nn.Conv2d(inner, width, 1, bias=False), 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, width, n, n), as ``x``."""
        inner = functional.leaky_relu(self.wider(x), SLOPE)
        inner = functional.leaky_relu(self.grouped(inner), SLOPE)
        total: Tensor = x + self.back(inner)
        return total


class Halved(nn.Module):
    """Halves every side after the low-pass filter (1, 3, 3, 1) / 8.

    The filter is (1, 2, 1) followed by a mean of two. This is the transpose of bilinear doubling,
    up to a factor.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", torch.outer(line, line)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, n, n) to (batch, channels, n/2, n/2); the border counts as 0."""
        channels = x.shape[1]
        kernel = self.kernel.expand(channels, -1, -1, -1)
        return functional.conv2d(x, kernel, stride=2, padding=1, groups=channels)


class Basis(nn.Module):
    """A learnt picture of ``start`` x ``start``; noise (batch, latent) weights its channels."""

    def __init__(self, latent: int, width: int, start: int) -> None:
        super().__init__()
        self.picture = nn.Parameter(torch.randn(width, start, start))
        self.weights = _initialised(nn.Linear(latent, width, bias=False))

    def forward(self, noise: Tensor) -> Tensor:
        """Shape (batch, width, start, start)."""
        weighted: Tensor = self.picture * self.weights(noise)[:, :, None, None]
        return weighted


def generator_body(stages: Sequence[Stage], latent: int, start: int, channels: int) -> nn.Module:
    """Layers from noise (batch, ``latent``) to pictures without bounds on their values.

    The picture starts with ``start`` pixels a side; each stage but the first doubles it.
    """
    before = stages[0].width
    layers: list[nn.Module] = [Basis(latent, before, start)]
    for place, stage in enumerate(stages):
        if place:
            layers += _resized_channels(before, stage.width)
            layers.append(nn.Upsample(scale_factor=2, mode="bilinear"))
        layers += _blocks(stage)
        before = stage.width
    return nn.Sequential(*layers, _initialised(nn.Conv2d(before, channels, 1, bias=False)))


def discriminator_body(stages: Sequence[Stage], channels: int, start: int) -> nn.Module:
    """Layers from pictures (batch, ``channels``, n, n) to features (batch, last width).

    Each stage but the first halves the picture, down to ``start`` pixels a side.
    """
    before = stages[0].width
    layers: list[nn.Module] = [_initialised(nn.Conv2d(channels, before, 1, bias=False))]
    for place, stage in enumerate(stages):
        if place:
            layers.append(Halved())
            layers += _resized_channels(before, stage.width)
        layers += _blocks(stage)
        before = stage.width
    layers.append(_initialised(nn.Conv2d(before, before, start, groups=before, bias=False)))
    return nn.Sequential(*layers, nn.Flatten())


def score_layer(width: int) -> nn.Linear:
    """A layer from features (batch, ``width``) to scores (batch, 1)."""
    return _initialised(nn.Linear(width, 1, bias=False))


def _blocks(stage: Stage) -> list[nn.Module]:
    return [Block(stage.width, stage.groups, stage.expansion) for _ in range(stage.blocks)]


def _resized_channels(before: int, after: int) -> list[nn.Module]:
    """A 1 x 1 convolution if the number of channels changes, else nothing."""
    return [] if before == after else [_initialised(nn.Conv2d(before, after, 1, bias=False))]


def _initialised(layer: L, gain: float = 1.0) -> L:
    """Draw weights from N(0, gain^2 / fan_in) and set biases to 0; returns ``layer``."""
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=gain / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
