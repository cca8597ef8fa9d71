"""Norms of gradients and weights, fused: no loop of reads over the parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of each tensor, shape (len(tensors),)."""
    return torch.stack(torch._foreach_norm(list(tensors)))


def whole_norm(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of all tensors taken as one vector, a scalar."""
    return norms(tensors).norm()


def first_nonfinite(values: Tensor) -> Tensor:
    """0 where all of ``values`` (n,) are finite, else n minus the index of the first bad one.

    The count runs backwards so that one maximum finds the first; it never leaves the device.
    """
    places = torch.arange(len(values), 0, -1, dtype=torch.float32, device=values.device)
    return (places * ~values.isfinite()).amax()
