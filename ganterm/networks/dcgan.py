"""Convolutional G and D that double and halve the picture (DCGAN, Radford et al. 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationInfo, field_validator

from ganterm.networks.options import DiscriminatorOptions, GeneratorOptions, refusal
from ganterm.networks.sides import doublings

if TYPE_CHECKING:
    from torch import nn

Init = Literal["dcgan", "torch"]
Up = Literal["transposed", "bilinear", "nearest"]


class DCGANGenerator(GeneratorOptions):
    """A linear layer from noise to side 4 or 7, then doublings up to the picture's side.

    ``width``: channels before the last doubling, twice as many before each earlier one: 64 gives
    512, 256, 128, 64 on the way to 64 pixels. ``up``: a transposed convolution of stride 2, or
    resizing by "bilinear" or "nearest" and a convolution of 3 x 3 (Odena et al. 2016). With batch
    norm no layer has a bias.

    The defaults, at 64 pixels, are dcgan of pytorch/examples, whose first layer, a transposed
    convolution of 1 x 1 noise, is the same as this linear one. WGAN-GP on SVHN, 32 pixels
    (Gulrajani et al. 2017, in Iqbal's code) is latent_dim = 128, norm = "none", init = "torch".
    """

    network: Literal["dcgan"] = "dcgan"
    latent_dim: int = Field(100, ge=1, le=65_536)
    width: int = Field(64, ge=1, le=4096)
    up: Up = "transposed"
    kernel: int = 4
    norm: Literal["batch", "none"] = "batch"
    activation: Literal["relu", "leaky_relu"] = "relu"
    init: Init = "dcgan"

    @field_validator("kernel")
    @classmethod
    def _kernel_prints_no_checkerboard(cls, kernel: int, info: ValidationInfo) -> int:
        if kernel % 2:
            raise refusal(
                "an odd kernel at stride 2 covers pixels unevenly and prints a checkerboard; "
                "4 or 6 is right"
            )
        if kernel not in (4, 6):
            raise refusal("4 or 6 is right for a transposed convolution of stride 2")
        if kernel != 4 and info.data.get("up") != "transposed":
            raise refusal("only up = 'transposed' has a kernel to choose; leave it out")
        return kernel

    def build(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        from torch import nn

        from ganterm.networks.modules.blocks import dcgan_normal
        from ganterm.networks.modules.shells import Generator, latent_width

        start, times = doublings("dcgan", shape)
        channels = self.width << (times - 1)
        inputs = latent_width(self, classes)
        layers: list[nn.Module] = [
            nn.Linear(inputs, channels * start**2, bias=self.norm == "none"),
            nn.Unflatten(1, (channels, start, start)),
            *self._activation(channels),
        ]
        for _ in range(times - 1):
            layers += [*self._doubling(channels, channels // 2), *self._activation(channels // 2)]
            channels //= 2
        layers += [*self._doubling(channels, shape[0]), nn.Tanh()]
        body = nn.Sequential(*layers)
        if self.init == "dcgan":
            dcgan_normal(body)
        return Generator(body, self, classes)

    def _activation(self, channels: int) -> list[nn.Module]:
        """The norm, if any, and the activation after it."""
        from torch import nn

        from ganterm.networks.modules.blocks import activation

        norm = [nn.BatchNorm2d(channels)] if self.norm == "batch" else []
        return [*norm, activation(self.activation)]

    def _doubling(self, before: int, after: int) -> list[nn.Module]:
        """Layers that double the picture's side and change its channels."""
        from torch import nn

        bias = self.norm == "none"
        if self.up == "transposed":
            padding = (self.kernel - 2) // 2
            return [nn.ConvTranspose2d(before, after, self.kernel, 2, padding, bias=bias)]
        resize = nn.Upsample(scale_factor=2, mode=self.up)
        return [resize, nn.Conv2d(before, after, 3, padding=1, bias=bias)]


class DCGANDiscriminator(DiscriminatorOptions):
    """Convolutions of stride 2 that halve the picture down to side 4 or 7, then a linear score.

    ``width``: channels after the first convolution, twice as many after each later one. ``norm``
    leaves out the first convolution; "layer" normalises over channels and pixels of a sample;
    "spectral" is for every layer (Miyato et al. 2018). With batch or instance norm no layer has a
    bias. ``dropout`` follows every activation.

    The defaults, at 64 pixels, are dcgan of pytorch/examples, whose last 4 x 4 convolution is the
    same as this linear layer. WGAN-GP on SVHN, 32 pixels (Gulrajani et al. 2017, in Iqbal's code)
    is kernel = 5, norm = "none", init = "torch".
    """

    network: Literal["dcgan"] = "dcgan"
    width: int = Field(64, ge=1, le=4096)
    kernel: Literal[4, 5] = 4
    norm: Literal["batch", "none", "layer", "spectral", "instance"] = "batch"
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    init: Init = "dcgan"

    def build(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        from torch import nn

        from ganterm.networks.modules.blocks import dcgan_normal
        from ganterm.networks.modules.shells import Discriminator, shape_with_label
        from ganterm.networks.modules.spectral import spectrally_normalised

        start, times = doublings("dcgan", shape)
        bias = self.norm not in ("batch", "instance")
        channels = shape_with_label(self, shape, classes)[0]
        padding = (self.kernel - 1) // 2
        layers: list[nn.Module] = []
        for place in range(times):
            after = self.width << place
            layers.append(nn.Conv2d(channels, after, self.kernel, 2, padding, bias=bias))
            layers += [*(self._norm(after) if place else []), nn.LeakyReLU(0.2)]
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            channels = after
        features = channels * start**2
        body = nn.Sequential(*layers, nn.Flatten())
        head = nn.Linear(features, 1, bias=bias)
        network = Discriminator(body, head, features, self, shape, classes)
        if self.init == "dcgan":
            dcgan_normal(body)
            dcgan_normal(head)
        return spectrally_normalised(network) if self.norm == "spectral" else network

    def _norm(self, channels: int) -> list[nn.Module]:
        from torch import nn

        if self.norm == "batch":
            return [nn.BatchNorm2d(channels)]
        if self.norm == "layer":
            return [nn.GroupNorm(1, channels)]
        return [nn.InstanceNorm2d(channels, affine=True)] if self.norm == "instance" else []


GENERATORS = (DCGANGenerator,)
DISCRIMINATORS = (DCGANDiscriminator,)
