"""A discriminator that scores samples by how well it reconstructs them (EBGAN, BEGAN)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from ganterm.networks.options import Activation, DiscriminatorOptions, DKind, Width, refusal

if TYPE_CHECKING:
    from torch import nn


class AutoencoderDiscriminator(DiscriminatorOptions):
    """An encoder through ``hidden`` layers to a code of ``code`` numbers, and its mirror image.

    The score is minus the reconstruction error: larger means more real. ``error``: "mse" is the
    mean of squares (EBGAN, Zhao et al. 2017), "l1" the mean of absolute values (BEGAN, Berthelot et
    al. 2017). The module returns the code too. The defaults are wiseodd's EBGAN, 784-128-784.
    """

    d_kind: ClassVar[DKind] = "autoencoder"

    network: Literal["autoencoder"] = "autoencoder"
    hidden: Annotated[list[Width], Field(max_length=32)] = Field([])
    code: Width = 128
    activation: Activation = "relu"
    error: Literal["mse", "l1"] = "mse"
    output: Literal["tanh", "linear"] = "tanh"
    init: Literal["torch", "he_normal"] = "torch"

    @field_validator("conditional", "auxiliary", "pack")
    @classmethod
    def _one_sample_and_no_label(cls, value: Any, info: ValidationInfo) -> Any:
        if value != cls.model_fields[str(info.field_name)].default:
            raise refusal("an autoencoder takes one sample at a time and no labels; leave it out")
        return value

    def build(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        from ganterm.networks.modules.autoencoder import Autoencoder
        from ganterm.networks.modules.blocks import he_normal

        widths = [math.prod(shape), *self.hidden, self.code]
        network = Autoencoder(widths, self.activation, self.error, bounded=self.output == "tanh")
        return he_normal(network) if self.init == "he_normal" else network


DISCRIMINATORS = (AutoencoderDiscriminator,)
