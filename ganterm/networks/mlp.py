"""Fully connected G and D, for small pictures and 2-D points alike."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ganterm.networks.options import Activation, DiscriminatorOptions, GeneratorOptions, Widths

if TYPE_CHECKING:
    from torch import nn

Init = Literal["torch", "he_normal"]


class MLPGenerator(GeneratorOptions):
    """Noise through hidden layers to one value per pixel or coordinate."""

    network: Literal["mlp"] = "mlp"
    hidden: Widths = Field([256, 256])
    activation: Activation = "leaky_relu"
    norm: Literal["none", "batch"] = "none"
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    output: Literal["tanh", "linear"] = "tanh"
    init: Init = "torch"

    def build(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        from torch import nn

        from ganterm.networks.modules.blocks import activation, he_normal
        from ganterm.networks.modules.shells import Generator, latent_width

        layers: list[nn.Module] = []
        width = latent_width(self, classes)
        for size in self.hidden:
            layers.append(nn.Linear(width, size))
            if self.norm == "batch":
                layers.append(nn.BatchNorm1d(size))
            layers.append(activation(self.activation))
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            width = size
        layers.append(nn.Linear(width, math.prod(shape)))
        if self.output == "tanh":
            layers.append(nn.Tanh())
        layers.append(nn.Unflatten(1, shape))
        body = nn.Sequential(*layers)
        if self.init == "he_normal":
            he_normal(body)
        return Generator(body, self, classes)


class MLPDiscriminator(DiscriminatorOptions):
    """Samples through hidden layers to one raw score."""

    network: Literal["mlp"] = "mlp"
    hidden: Widths = Field([256, 256])
    activation: Activation = "leaky_relu"
    norm: Literal["none", "layer", "spectral"] = "none"
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    init: Init = "torch"

    def build(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        from torch import nn

        from ganterm.networks.modules.blocks import activation, he_normal
        from ganterm.networks.modules.shells import Discriminator, shape_with_label
        from ganterm.networks.modules.spectral import spectrally_normalised

        layers: list[nn.Module] = []
        (width,) = shape_with_label(self, shape, classes, flat=True)
        for size in self.hidden:
            layers.append(nn.Linear(width, size))
            if self.norm == "layer":
                layers.append(nn.LayerNorm(size))
            layers.append(activation(self.activation))
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            width = size
        layers.append(nn.Linear(width, 1))
        stack = nn.Sequential(*layers)
        if self.init == "he_normal":
            he_normal(stack)
        body, head = stack[:-1], stack[-1]
        network = Discriminator(body, head, width, self, shape, classes, flat=True)
        return spectrally_normalised(network) if self.norm == "spectral" else network


GENERATORS = (MLPGenerator,)
DISCRIMINATORS = (MLPDiscriminator,)
