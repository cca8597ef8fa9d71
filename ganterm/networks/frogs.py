"""Two published pairs of networks for CIFAR's frogs, 32 x 32 pixels, layer by layer.

The originals end D in a sigmoid; here D returns the raw score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ganterm.networks.options import DiscriminatorOptions, GeneratorOptions
from ganterm.networks.sides import picture_side

if TYPE_CHECKING:
    from torch import nn

SIDES = (32,)


class CholletGenerator(GeneratorOptions):
    """Chollet, Deep Learning with Python (2017), 8.5: 6,264,579 parameters from 32 latents.

    ``width``: channels of the first layers; later ones have twice as many.
    """

    network: Literal["chollet"] = "chollet"
    latent_dim: int = Field(32, ge=1, le=65_536)
    width: int = Field(128, ge=1, le=1024)

    def build(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        from torch import nn

        from ganterm.networks.modules.blocks import glorot_uniform
        from ganterm.networks.modules.shells import Generator, latent_width

        picture_side("chollet", shape, SIDES)
        width, double = self.width, 2 * self.width
        body = nn.Sequential(
            nn.Linear(latent_width(self, classes), width * 16 * 16),
            nn.LeakyReLU(0.3),
            nn.Unflatten(1, (width, 16, 16)),
            nn.Conv2d(width, double, 5, padding=2),
            nn.LeakyReLU(0.3),
            nn.ConvTranspose2d(double, double, 4, stride=2, padding=1),
            nn.LeakyReLU(0.3),
            nn.Conv2d(double, double, 5, padding=2),
            nn.LeakyReLU(0.3),
            nn.Conv2d(double, double, 5, padding=2),
            nn.LeakyReLU(0.3),
            nn.Conv2d(double, shape[0], 7, padding=3),
            nn.Tanh(),
        )
        return Generator(glorot_uniform(body), self, classes)


class CholletDiscriminator(DiscriminatorOptions):
    """Chollet, Deep Learning with Python (2017), 8.5: 790,913 parameters for RGB pictures.

    ``width``: channels of every convolution.
    """

    network: Literal["chollet"] = "chollet"
    width: int = Field(128, ge=1, le=1024)
    dropout: float = Field(0.4, ge=0.0, lt=1.0)

    def build(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        from torch import nn

        from ganterm.networks.modules.blocks import glorot_uniform
        from ganterm.networks.modules.shells import Discriminator, shape_with_label

        picture_side("chollet", shape, SIDES)
        width = self.width
        body = nn.Sequential(
            nn.Conv2d(shape_with_label(self, shape, classes)[0], width, 3),
            nn.LeakyReLU(0.3),
            nn.Conv2d(width, width, 4, stride=2),
            nn.LeakyReLU(0.3),
            nn.Conv2d(width, width, 4, stride=2),
            nn.LeakyReLU(0.3),
            nn.Conv2d(width, width, 4, stride=2),
            nn.LeakyReLU(0.3),
            nn.Flatten(),
            nn.Dropout(self.dropout),
        )
        features = 4 * width
        body, head = glorot_uniform(body), glorot_uniform(nn.Linear(features, 1))
        return Discriminator(body, head, features, self, shape, classes)


class LarsonGenerator(GeneratorOptions):
    """Larson, SMU lecture notes 07c: bilinear doublings and convolutions, batch norm."""

    network: Literal["larson"] = "larson"
    latent_dim: int = Field(32, ge=1, le=65_536)

    def build(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        from torch import nn

        from ganterm.networks.modules.shells import Generator, latent_width

        picture_side("larson", shape, SIDES)
        body = nn.Sequential(
            nn.Linear(latent_width(self, classes), 128 * 8 * 8),
            nn.Unflatten(1, (128, 8, 8)),
            nn.BatchNorm2d(128),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(128, 128, 3, padding=1),
            nn.Conv2d(128, 128, 3, padding=1),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(128, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.Conv2d(64, shape[0], 3, padding=1),
            nn.Tanh(),
        )
        return Generator(_initialised(body), self, classes)


class LarsonDiscriminator(DiscriminatorOptions):
    """Larson, SMU lecture notes 07c: four convolutions of stride 2, norms after activations.

    ``norm``: the notes have "batch" for DCGAN and LSGAN, "layer" (one group) for WGAN-GP.
    """

    network: Literal["larson"] = "larson"
    norm: Literal["batch", "layer"] = "batch"

    def build(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        from torch import nn

        from ganterm.networks.modules.shells import Discriminator, shape_with_label

        picture_side("larson", shape, SIDES)
        channels = shape_with_label(self, shape, classes)[0]
        body = nn.Sequential(
            nn.Conv2d(channels, 16, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.LeakyReLU(0.3),
            self._norm(32),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            self._norm(64),
            nn.Conv2d(64, 128, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            self._norm(128),
            nn.Flatten(),
        )
        _initialised(body)
        # The head is built after the body has its weights: with another order a seed gives others.
        head = _initialised(nn.Linear(512, 1))
        return Discriminator(body, head, 512, self, shape, classes)

    def _norm(self, channels: int) -> nn.Module:
        from torch import nn

        return nn.BatchNorm2d(channels) if self.norm == "batch" else nn.GroupNorm(1, channels)


GENERATORS = (CholletGenerator, LarsonGenerator)
DISCRIMINATORS = (CholletDiscriminator, LarsonDiscriminator)


def _initialised(module: nn.Module) -> nn.Module:
    """Draw DCGAN's first weights, but linear ones Glorot-uniform with biases of 0.01 (Larson)."""
    from torch import nn

    from ganterm.networks.modules.blocks import dcgan_normal

    for layer in dcgan_normal(module).modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.constant_(layer.bias, 0.01)
    return module
