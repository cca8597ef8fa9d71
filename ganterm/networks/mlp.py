"""Fully connected G and D, for small pictures and 2-D points alike."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from ganterm.networks.options import DiscriminatorOptions, GeneratorOptions

if TYPE_CHECKING:
    from torch import nn

Widths = Annotated[list[Annotated[int, Field(ge=1, le=65_536)]], Field(min_length=1, max_length=32)]
Activation = Literal["leaky_relu", "relu", "prelu", "tanh"]
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

        from ganterm.networks.modules.shells import Generator, latent_width

        layers: list[nn.Module] = []
        width = latent_width(self, classes)
        for size in self.hidden:
            layers.append(nn.Linear(width, size))
            if self.norm == "batch":
                layers.append(nn.BatchNorm1d(size))
            layers.append(_activation(self.activation))
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            width = size
        layers.append(nn.Linear(width, math.prod(shape)))
        if self.output == "tanh":
            layers.append(nn.Tanh())
        layers.append(nn.Unflatten(1, shape))
        return Generator(_initialised(nn.Sequential(*layers), self.init), self, classes)


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

        from ganterm.networks.modules.shells import Discriminator, shape_with_label
        from ganterm.networks.modules.spectral import spectrally_normalised

        layers: list[nn.Module] = []
        (width,) = shape_with_label(self, shape, classes, flat=True)
        for size in self.hidden:
            layers.append(nn.Linear(width, size))
            if self.norm == "layer":
                layers.append(nn.LayerNorm(size))
            layers.append(_activation(self.activation))
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            width = size
        body = _initialised(nn.Sequential(*layers), self.init)
        head = _initialised(nn.Linear(width, 1), self.init)
        made = Discriminator(body, head, width, self, shape, classes, flat=True)
        return spectrally_normalised(made) if self.norm == "spectral" else made


GENERATORS = (MLPGenerator,)
DISCRIMINATORS = (MLPDiscriminator,)


def _activation(name: Activation) -> nn.Module:
    from torch import nn

    if name == "leaky_relu":
        return nn.LeakyReLU(0.2)
    return {"relu": nn.ReLU, "prelu": nn.PReLU, "tanh": nn.Tanh}[name]()


def _initialised(module: nn.Module, init: Init) -> nn.Module:
    """``he_normal``: weights N(0, 2 / fan_in), zero biases (He et al. 2015)."""
    from torch import nn

    if init == "he_normal":
        for layer in module.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_features))
                nn.init.zeros_(layer.bias)
    return module
