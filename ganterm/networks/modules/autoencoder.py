"""The fully connected autoencoder of EBGAN (Zhao et al. 2017) and BEGAN (Berthelot et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from ganterm.networks.autoencoder import AutoencoderDiscriminator
from ganterm.networks.modules.blocks import activation
from ganterm.networks.modules.shells import DiscriminatorOutput
from ganterm.networks.options import Activation


class Autoencoder(nn.Module):
    """Samples (batch, *shape) to minus their reconstruction error, and their code."""

    def __init__(self, options: AutoencoderDiscriminator, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.error = options.error
        widths = [math.prod(shape), *options.hidden, options.code]
        self.encoder = nn.Sequential(*_layers(widths, options.activation))
        *inner, last = pairwise(reversed(widths))
        inner_widths = [options.code, *(after for _, after in inner)]
        out: list[nn.Module] = [nn.Linear(*last)]
        if options.output == "tanh":
            out.append(nn.Tanh())
        self.decoder = nn.Sequential(*_layers(inner_widths, options.activation), *out)

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> DiscriminatorOutput:
        """Scores (batch,), at most 0, and code (batch, n); ``labels`` are of no use to it."""
        flat = samples.flatten(1)
        code = self.encoder(flat)
        difference = self.decoder(code) - flat
        error = difference.square() if self.error == "mse" else difference.abs()
        return DiscriminatorOutput(-error.mean(1), code=code)


def _layers(widths: Sequence[int], name: Activation) -> list[nn.Module]:
    """A linear layer and an activation from each width to the next."""
    return [
        layer
        for before, after in pairwise(widths)
        for layer in (nn.Linear(before, after), activation(name))
    ]
