"""What every network family's options have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from torch import nn


class NetworkOptions(BaseModel):
    """The options of one family, and how to build the module from them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    network: str

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """The module for samples of ``shape`` (without the batch), freshly initialised."""
        raise NotImplementedError


class GeneratorOptions(NetworkOptions):
    """What every generator has."""

    latent_dim: int = 64
