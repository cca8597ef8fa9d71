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
        """Build the module for samples of ``shape`` (without the batch), freshly initialised.

        ``classes``: number of labels, if the network takes or predicts labels; else 0. Raises
        ValueError, worded for the user, if the family cannot handle that shape, or if it needs
        labels and there are none.
        """
        raise NotImplementedError


class GeneratorOptions(NetworkOptions):
    """What every generator has.

    ``latent``: z ~ N(0, 1) or U(-1, 1) in each of ``latent_dim`` dimensions. ``conditional``: how
    a label enters G. ``codes``: number of labels of G's own, drawn uniformly (InfoGAN: Chen et al.
    2016); 0 means that labels come from the data.
    """

    latent_dim: int = Field(64, ge=1, le=65_536)
    latent: Literal["normal", "uniform"] = "normal"
    conditional: Labels = "none"
    codes: int = Field(0, ge=0, le=1000)

    @field_validator("codes")
    @classmethod
    def _codes_need_an_entrance(cls, codes: int, info: ValidationInfo) -> int:
        if codes and info.data.get("conditional") == "none":
            raise refusal("codes reach G as labels: set conditional = 'onehot' or 'embedding'")
        return codes


class DiscriminatorOptions(NetworkOptions):
    """What every discriminator has.

    ``conditional``: how a label enters D; "projection" adds <embedding(label), features> to the
    score (Miyato and Koyama 2018). ``auxiliary``: D has a second head that predicts the label
    (ACGAN: Odena et al. 2017) or G's code (InfoGAN: Chen et al. 2016). ``pack``: number of samples,
    all real or all fake, that D scores together (PacGAN: Lin et al. 2018); ``build`` then gets the
    shape of such a pack.
    """

    d_kind: ClassVar[DKind] = "score"

    conditional: Labels | Literal["projection"] = "none"
    auxiliary: bool = False
    pack: int = Field(1, ge=1, le=4)

    @field_validator("auxiliary")
    @classmethod
    def _no_label_goes_both_ways(cls, auxiliary: bool, info: ValidationInfo) -> bool:
        if auxiliary and info.data.get("conditional") in ("onehot", "embedding"):
            raise refusal(
                "D cannot predict a label that it is given: set conditional or auxiliary, not both"
            )
        return auxiliary

    @field_validator("pack")
    @classmethod
    def _a_pack_has_no_label(cls, pack: int, info: ValidationInfo) -> int:
        labels = info.data.get("auxiliary") or info.data.get("conditional", "none") != "none"
        if pack > 1 and labels:
            raise refusal(
                "a pack of samples has no single label: no conditional or auxiliary with pack"
            )
        return pack


def refusal(message: str) -> PydanticCustomError:
    """The error that a validator raises; the user reads ``message`` after the key's name."""
    return PydanticCustomError("refused", "{message}", {"message": message})
