"""What every network family's options have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from torch import nn

Activation = Literal["leaky_relu", "relu", "prelu", "tanh"]
DKind = Literal["score", "autoencoder"]
Labels = Literal["none", "onehot", "embedding"]
Width = Annotated[int, Field(ge=1, le=65_536)]
Widths = Annotated[list[Width], Field(min_length=1, max_length=32)]


class NetworkOptions(BaseModel):
    """The options of one family, and how to build the module from them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    network: str

    def build(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        """The module for samples of ``shape`` (without the batch), freshly initialised.

        ``classes`` is the number of labels where the network is told or tells any, else 0.
        ValueError, in words for the user, where the family cannot make samples of that shape or
        has labels to tell and there are none.
        """
        raise NotImplementedError


class GeneratorOptions(NetworkOptions):
    """What every generator has.

    ``latent``: z ~ N(0, 1) or U(-1, 1) in each of ``latent_dim`` dimensions. ``conditional``: how
    G is told a label. ``codes``: that many labels are drawn evenly as a code of G's own (InfoGAN)
    instead of taken from the data; 0 for the data's.
    """

    latent_dim: int = Field(64, ge=1, le=65_536)
    latent: Literal["normal", "uniform"] = "normal"
    conditional: Labels = "none"
    codes: int = Field(0, ge=0, le=1000)

    @field_validator("codes")
    @classmethod
    def _codes_are_told(cls, codes: int, info: ValidationInfo) -> int:
        if codes and info.data.get("conditional") == "none":
            raise refusal("codes reach G as labels: set conditional = 'onehot' or 'embedding'")
        return codes


class DiscriminatorOptions(NetworkOptions):
    """What every discriminator has.

    ``conditional``: how D is told a label; "projection" adds <embedding(label), features> to the
    score (Miyato and Koyama 2018). ``auxiliary``: D has a second head that tells the label (ACGAN:
    Odena et al. 2017, or G's code, InfoGAN: Chen et al. 2016). ``pack``: D judges so many samples
    of one kind at once (PacGAN, Lin et al. 2018); ``build`` gets the packed shape.
    """

    d_kind: ClassVar[DKind] = "score"

    conditional: Labels | Literal["projection"] = "none"
    auxiliary: bool = False
    pack: int = Field(1, ge=1, le=4)

    @field_validator("auxiliary")
    @classmethod
    def _label_is_not_whispered(cls, auxiliary: bool, info: ValidationInfo) -> bool:
        if auxiliary and info.data.get("conditional") in ("onehot", "embedding"):
            raise refusal(
                "D cannot be asked for the label that it is told: conditional or auxiliary"
            )
        return auxiliary

    @field_validator("pack")
    @classmethod
    def _one_label_a_verdict(cls, pack: int, info: ValidationInfo) -> int:
        labels = info.data.get("auxiliary") or info.data.get("conditional", "none") != "none"
        if pack > 1 and labels:
            raise refusal("packed samples have a label each: no conditional or auxiliary with pack")
        return pack


def refusal(message: str) -> PydanticCustomError:
    """What a validator raises: ``message`` reaches the user after the key's name."""
    return PydanticCustomError("refused", "{message}", {"message": message})
