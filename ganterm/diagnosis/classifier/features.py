"""Features of samples without labels, by a fixed network of random weights.

Random features see less than learnt ones but favour no data set: Naeem et al. 2020 compare samples
of MNIST in the 64 outputs of a network with random weights; that such networks tell pictures apart
is known since Saxe et al. 2011.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganterm.diagnosis.classifier import network

_SEED = 64


class FixedFeatures:
    """Features of samples of ``shape``, by the same weights in every run, with no training.

    ``shape`` is (channels, side, side) of pictures, or (d,) of points, which are their own.
    """

    def __init__(self, shape: tuple[int, ...], device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self._weights: network.Weights | None = None
        if len(shape) == 3:
            first = network.init(shape, 0, torch.Generator().manual_seed(_SEED))
            self._weights = {name: weight.to(self._device) for name, weight in first.items()}

    def features(self, samples: Tensor) -> Tensor:
        """float32 (n, 64) of pictures, in -1..1 or uint8; (n, d) of points."""
        return network.apply_in_parts(samples, self._device, self._look)

    def _look(self, batch: Tensor) -> Tensor:
        return batch if self._weights is None else network.features(self._weights, batch)
