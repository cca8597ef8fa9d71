"""Features of samples without labels, from a fixed network with random weights.

Random features tell less apart than learnt ones but favour no data set. Naeem et al. 2020 compare
samples of MNIST by the 64 outputs of such a network; Saxe et al. 2011 show that such networks do
tell pictures apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganterm.diagnosis.classifier import network

_SEED = 64


class FixedFeatures:
    """Features of samples of ``shape``: the weights are the same in every run, and never trained.

    ``shape``: (channels, side, side) for pictures; (d,) for points, which are their own features.
    """

    def __init__(self, shape: tuple[int, ...], device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self._weights: network.Weights | None = None
        if len(shape) == 3:
            weights = network.init(shape, 0, torch.Generator().manual_seed(_SEED))
            self._weights = {name: weight.to(self._device) for name, weight in weights.items()}

    def features(self, samples: Tensor) -> Tensor:
        """float32 (n, 64) of pictures, in -1..1 or uint8; (n, d) of points."""
        return network.apply_in_parts(samples, self._device, self._features)

    def _features(self, batch: Tensor) -> Tensor:
        return batch if self._weights is None else network.features(self._weights, batch)
