"""How different the samples of one batch are from each other: the first sign of collapse."""

from __future__ import annotations

from torch import Tensor

MOST = 256
"""Samples compared at most, so that the cost stays small at any batch size."""


def mean_distance(samples: Tensor) -> Tensor:
    """Mean Euclidean distance over all pairs of the first 256 samples of (n, ...), n >= 2."""
    flat = samples[:MOST].flatten(1).float()
    count = len(flat)
    # Centred, so that the inner products of the fast path cancel less.
    flat = flat - flat.mean(dim=0)
    inner = flat @ flat.T
    squares = inner.diagonal()
    distances = (squares[:, None] + squares[None, :] - 2 * inner).clamp(min=0).sqrt()
    return (distances.sum() - distances.diagonal().sum()) / (count * (count - 1))


def relative_diversity(fake: Tensor, real: Tensor) -> Tensor:
    """Mean pairwise distance of the fakes in % of the reals'; 100 is as diverse as the data."""
    return 100 * mean_distance(fake) / mean_distance(real)
