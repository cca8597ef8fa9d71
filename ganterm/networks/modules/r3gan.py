"""The layers of R3GAN (Huang et al. 2024, arXiv 2501.05441, section 3 and appendix).

No norm anywhere: first weights are N(0, gain^2 / fan_in) and each block begins as the identity
(Fixup, Zhang et al. 2019), so that depth does not blow up the variance. The convolutions have a
bias only where an activation follows.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganterm.networks.r3gan import R3GANDiscriminator, R3GANGenerator

SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))
"""What keeps the variance through a leaky ReLU of that slope (He et al. 2015)."""

L = TypeVar("L", nn.Conv2d, nn.Linear)

Stages = R3GANGenerator | R3GANDiscriminator


class Block(nn.Module):
    """x + a bottleneck turned outwards: wider by 1 x 1, grouped 3 x 3, back by 1 x 1."""

    def __init__(self, width: int, groups: int, expansion: int) -> None:
        super().__init__()
        inner = width * expansion
        self.wider = _drawn(nn.Conv2d(width, inner, 1), GAIN)
        self.grouped = _drawn(nn.Conv2d(inner, inner, 3, padding=1, groups=groups), GAIN)
        self.back = _drawn(nn.Conv2d(inner, width, 1, bias=False), 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, width, n, n), as ``x``."""
        inner = functional.leaky_relu(self.wider(x), SLOPE)
        inner = functional.leaky_relu(self.grouped(inner), SLOPE)
        made: Tensor = x + self.back(inner)
        return made


class Halved(nn.Module):
    """Every side halved behind the low-pass (1, 3, 3, 1) / 8, which is (1, 2, 1) and a mean of two.

    That is the transpose of bilinear doubling, up to a factor.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", torch.outer(line, line)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, n, n) to (batch, channels, n/2, n/2), zeros beyond the border."""
        channels = x.shape[1]
        kernel = self.kernel.expand(channels, -1, -1, -1)
        return functional.conv2d(x, kernel, stride=2, padding=1, groups=channels)


class Basis(nn.Module):
    """Noise (batch, latent) to a learnt picture of ``start`` x ``start``, each channel weighted."""

    def __init__(self, latent: int, width: int, start: int) -> None:
        super().__init__()
        self.picture = nn.Parameter(torch.randn(width, start, start))
        self.weights = _drawn(nn.Linear(latent, width, bias=False))

    def forward(self, noise: Tensor) -> Tensor:
        """Shape (batch, width, start, start)."""
        made: Tensor = self.picture * self.weights(noise)[:, :, None, None]
        return made


def generator_body(options: Stages, latent: int, start: int, channels: int) -> nn.Module:
    """Noise (batch, ``latent``) to pictures without bounds; each stage but the first doubles."""
    widths = options.widths
    layers: list[nn.Module] = [Basis(latent, widths[0], start)]
    for stage, width in enumerate(widths):
        if stage:
            layers += _changed(widths[stage - 1], width)
            layers.append(nn.Upsample(scale_factor=2, mode="bilinear"))
        layers += _blocks(options, stage)
    return nn.Sequential(*layers, _drawn(nn.Conv2d(widths[-1], channels, 1, bias=False)))


def discriminator_body(options: Stages, channels: int, start: int) -> nn.Module:
    """Pictures (batch, ``channels``, n, n) to features (batch, last width)."""
    widths = options.widths
    layers: list[nn.Module] = [_drawn(nn.Conv2d(channels, widths[0], 1, bias=False))]
    for stage, width in enumerate(widths):
        if stage:
            layers.append(Halved())
            layers += _changed(widths[stage - 1], width)
        layers += _blocks(options, stage)
    last = widths[-1]
    layers.append(_drawn(nn.Conv2d(last, last, start, groups=last, bias=False)))
    return nn.Sequential(*layers, nn.Flatten())


def score_layer(width: int) -> nn.Linear:
    """Features (batch, ``width``) to scores (batch, 1)."""
    return _drawn(nn.Linear(width, 1, bias=False))


def _blocks(options: Stages, stage: int) -> list[nn.Module]:
    width, groups = options.widths[stage], options.cardinality[stage]
    return [Block(width, groups, options.expansion) for _ in range(options.blocks)]


def _changed(before: int, after: int) -> list[nn.Module]:
    """A 1 x 1 convolution where the number of channels changes."""
    return [] if before == after else [_drawn(nn.Conv2d(before, after, 1, bias=False))]


def _drawn(layer: L, gain: float = 1.0) -> L:
    """First weights N(0, gain^2 / fan_in), zero biases."""
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, std=gain / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
