"""The fully connected autoencoder of EBGAN (Zhao et al. 2017) and BEGAN (Berthelot et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from ganterm.networks.modules.blocks import activation
from ganterm.networks.modules.shells import DiscriminatorOutput
from ganterm.networks.options import Activation


class Autoencoder(nn.Module):
    """Maps samples (batch, *shape) to minus their reconstruction error, and to their code.

    ``widths``: of all layers from the flat sample to the code; the decoder has them in reverse.
    ``error``: "mse", the mean of squares, or "l1", the mean of absolute values. ``bounded``: the
    decoder ends in a tanh.
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation_name: Activation,
        error: Literal["mse", "l1"],
        bounded: bool,
    ) -> None:
        super().__init__()
        self.error = error
        self.encoder = nn.Sequential(*_layers(widths, activation_name))
        # The last layer draws its weights before the rest of the decoder. This order has to stay:
        # with another one a seed gives other weights.
        last: list[nn.Module] = [nn.Linear(widths[1], widths[0])]
        if bounded:
            last.append(nn.Tanh())
        self.decoder = nn.Sequential(*_layers(widths[:0:-1], activation_name), *last)

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """Scores (batch,), at most 0, and code (batch, n); ``labels`` are ignored."""
        flat = samples.flatten(1)
        code = self.encoder(flat)
        difference = self.decoder(code) - flat
        error = difference.square() if self.error == "mse" else difference.abs()
        return DiscriminatorOutput(-error.mean(1), code=code)


def _layers(widths: Sequence[int], name: Activation) -> list[nn.Module]:
    """Linear layers from each width to the next, each followed by an activation."""
    return [
        layer
        for before, after in pairwise(widths)
        for layer in (nn.Linear(before, after), activation(name))
    ]
