"""How different the samples of one batch are from each other: the first sign of collapse."""

from __future__ import annotations

from torch import Tensor

MOST = 32
"""Samples compared at most (496 pairs), so that the cost stays small at any batch size."""


def mean_distance(samples: Tensor) -> Tensor:
    """Mean Euclidean distance over all pairs of the first 32 samples of (n, ...), n >= 2."""
    flat = samples[:MOST].flatten(1)
    # Through inner products, ten times faster than differences on a CPU; centred, so that they
    # cancel less where samples are nearly the same.
    flat = flat - flat.mean(dim=0)
    inner = flat @ flat.T
    squares = inner.diagonal()
    distances = (squares[:, None] + squares - 2 * inner).clamp_(min=0).sqrt_().fill_diagonal_(0)
    return distances.sum() / (len(flat) * (len(flat) - 1))


def relative_diversity(fake: Tensor, real: Tensor) -> Tensor:
    """Mean pairwise distance of the fakes in % of the reals'; 100 is as diverse as the data."""
    return 100 * mean_distance(fake) / mean_distance(real)
