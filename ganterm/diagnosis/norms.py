"""Norms of many tensors in one fused call."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of each tensor, shape (len(tensors),)."""
    return torch.stack(torch._foreach_norm(list(tensors)))


def first_nonfinite(values: Tensor) -> Tensor:
    """0 where all of ``values`` (n,) are finite, else n minus the index of the first bad one.

    The count runs backwards so that one maximum finds the first. The result stays on the device.
    """
    # x - x is 0 if x is finite, else NaN.
    return (_backwards(len(values), values.device) * (values - values).isnan()).amax()


@cache
def _backwards(count: int, device: torch.device) -> Tensor:
    return torch.arange(count, 0, -1, dtype=torch.float32, device=device)
