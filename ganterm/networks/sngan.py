"""Residual G and D for pictures of 32 or 28 pixels (SNGAN, Miyato et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ganterm.networks.options import DiscriminatorOptions, GeneratorOptions
from ganterm.networks.sides import doublings, picture_side

if TYPE_CHECKING:
    from torch import nn

SIDES = (28, 32)


class SNGANGenerator(GeneratorOptions):
    """A linear layer to side 4 (7 for 28 pixels), doubling blocks of ``width`` channels, a tanh."""

    network: Literal["sngan"] = "sngan"
    latent_dim: int = Field(128, ge=1, le=65_536)
    width: int = Field(256, ge=1, le=4096)

    def build(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        from ganterm.networks.modules.shells import Generator, latent_width
        from ganterm.networks.modules.sngan import generator_body

        picture_side("sngan", shape, SIDES)
        start, times = doublings("sngan", shape)
        body = generator_body(latent_width(self, classes), self.width, start, times, shape[0])
        return Generator(body, self, classes)


class SNGANDiscriminator(DiscriminatorOptions):
    """Two halving and two plain blocks of ``width`` channels; features are summed over pixels.

    Every layer is spectrally normalised, those of the score and the label included.
    """

    network: Literal["sngan"] = "sngan"
    width: int = Field(128, ge=1, le=4096)

    def build(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        from ganterm.networks.modules.shells import Discriminator, shape_with_label
        from ganterm.networks.modules.sngan import discriminator_body, score_layer
        from ganterm.networks.modules.spectral import spectrally_normalised

        picture_side("sngan", shape, SIDES)
        body = discriminator_body(shape_with_label(self, shape, classes)[0], self.width)
        head = score_layer(self.width)
        return spectrally_normalised(Discriminator(body, head, self.width, self, shape, classes))


GENERATORS = (SNGANGenerator,)
DISCRIMINATORS = (SNGANDiscriminator,)
