"""Residual G and D without norms (R3GAN, Huang et al. 2024, arXiv 2501.05441)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from ganterm.networks.options import (
    DiscriminatorOptions,
    GeneratorOptions,
    NetworkOptions,
    Width,
    Widths,
    refusal,
)
from ganterm.networks.sides import STARTS, picture_side

if TYPE_CHECKING:
    from torch import nn

    from ganterm.networks.modules.r3gan import Stage


def _groups_fit(cardinality: list[int], info: ValidationInfo) -> list[int]:
    if "widths" not in info.data or "expansion" not in info.data:
        return cardinality
    widths, expansion = info.data["widths"], info.data["expansion"]
    if len(cardinality) != len(widths):
        raise refusal(f"one number for each of the {len(widths)} widths is needed")
    for width, groups in zip(widths, cardinality, strict=True):
        if width * expansion % groups:
            raise refusal(f"{width} x {expansion} channels do not split into {groups} groups")
    return cardinality


Groups = Annotated[list[Width], AfterValidator(_groups_fit)]
Times = Annotated[int, Field(ge=1, le=16)]


class _Stages(NetworkOptions):
    """What G and its mirror D have in common."""

    widths: Widths = Field([768] * 4)
    blocks: Times = 2
    expansion: Times = 2
    cardinality: Groups = Field([96] * 4, validate_default=True)

    def _stages(self) -> list[Stage]:
        from ganterm.networks.modules.r3gan import Stage

        pairs = zip(self.widths, self.cardinality, strict=True)
        return [Stage(width, groups, self.expansion, self.blocks) for width, groups in pairs]


class R3GANGenerator(_Stages, GeneratorOptions):
    """A learnt 4 x 4 picture (7 x 7 for 28 pixels), weighted by z, that each later stage doubles.

    ``widths``: channels of each stage, smallest picture first. ``blocks``: residual blocks in
    a stage. ``expansion``: inner over outer width of a block. ``cardinality``: groups of its 3 x 3
    convolution, one number for each stage. The defaults are the paper's for CIFAR-10. The output
    has no bounds.
    """

    network: Literal["r3gan"] = "r3gan"

    def build(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        from ganterm.networks.modules.r3gan import generator_body
        from ganterm.networks.modules.shells import Generator, latent_width

        start = _start(shape, len(self.widths))
        body = generator_body(self._stages(), latent_width(self, classes), start, shape[0])
        return Generator(body, self, classes)


class R3GANDiscriminator(_Stages, DiscriminatorOptions):
    """The mirror of G: each later stage halves the picture, then a depthwise convolution ends it.

    ``widths``: channels of each stage, largest picture first. The other options are as in G. The
    defaults are the paper's for CIFAR-10.
    """

    network: Literal["r3gan"] = "r3gan"

    def build(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        from ganterm.networks.modules.r3gan import discriminator_body, score_layer
        from ganterm.networks.modules.shells import Discriminator, shape_with_label

        start = _start(shape, len(self.widths))
        body = discriminator_body(self._stages(), shape_with_label(self, shape, classes)[0], start)
        width = self.widths[-1]
        return Discriminator(body, score_layer(width), width, self, shape, classes)


GENERATORS = (R3GANGenerator,)
DISCRIMINATORS = (R3GANDiscriminator,)


def _start(shape: tuple[int, ...], stages: int) -> int:
    """The side of the smallest stage's pictures; ValueError if the stages do not fit ``shape``."""
    side = picture_side("r3gan", shape)
    sides = {start << (stages - 1): start for start in STARTS}
    if side not in sides:
        right = " or ".join(map(str, sorted(sides)))
        raise ValueError(
            f"r3gan with {stages} widths makes pictures of {right} pixels a side, not {side}; "
            "each further width doubles that"
        )
    return sides[side]
