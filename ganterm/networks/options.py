"""What every network family's options have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from torch import nn

Labels = Literal["none", "onehot", "embedding"]
DKind = Literal["score", "autoencoder"]


class NetworkOptions(BaseModel):
    """The options of one family, and how to build the module from them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    network: str

    def build(self, shape: tuple[int, ...], classes: int = 0) -> nn.Module:
        """The module for samples of ``shape`` (without the batch), freshly initialised.

        ``classes`` is the number of labels where the network is told or tells any, else 0.
        ValueError, in words for the user, where the family cannot make samples of that shape.
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
