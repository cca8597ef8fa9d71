"""Finds the nearest training pictures of some other pictures, exactly."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

MEMORY = 2 * 2**20
"""Most bytes of a block of training pictures as floats; their squares take as much again.

Larger blocks are no faster, and the allocator would keep one or two of them.
"""
_FAR = 2**62
"""Above any squared distance."""
_EXACT = 1024
"""Products of numbers in -128..127 that float32 adds without rounding: 1,024 x 2^14 = 2^24, up to
which it has every whole number. This holds for TF32 too, whose inputs keep 11 bits.
"""


class Near(NamedTuple):
    """The nearest picture of each of q queries. All tensors have shape (q,) and lie on the CPU.

    ``places``, int64: its index, the first of equally near ones. ``distances``, float64: the
    Euclidean distance to it, with pixels in 0..1. ``next_distances``, float64: the distance to the
    second nearest; infinite if there is only one picture.
    """

    places: Tensor
    distances: Tensor
    next_distances: Tensor


def as_bytes(samples: Tensor) -> Tensor:
    """Values in -1..1 as uint8, NaN as black."""
    pixels = samples.float().add(1).mul(127.5).round().clamp(0, 255).nan_to_num(0)
    return pixels.to(torch.uint8)


def nearest(queries: Tensor, pictures: Tensor, device: torch.device) -> Near:
    """The nearest of ``pictures`` (n, ...) for each of ``queries`` (q, ...), both uint8.

    Pictures are copied to ``device`` block by block. Squared distances are whole numbers and are
    computed as such, so nothing is rounded before the square root.
    """
    ours = _blocks(queries.flatten(1), device)
    own = _squares(ours)
    features = max(1, pictures[0].numel())
    rows = max(1, MEMORY // (4 * features))
    best = torch.full((len(queries),), _FAR, device=device)
    second = best.clone()
    place = torch.zeros(len(queries), dtype=torch.int64, device=device)
    for start in range(0, len(pictures), rows):
        theirs = _blocks(pictures[start : start + rows].flatten(1), device)
        squared = _squares(theirs) + own[:, None]
        for mine, other in zip(ours, theirs, strict=True):
            squared = squared - 2 * (mine @ other.T).to(torch.int64)
        low, at = squared.min(dim=1)
        next_low = squared.scatter_(1, at[:, None], _FAR).amin(dim=1)
        closer = low < best
        second = torch.minimum(torch.where(closer, best, low), torch.minimum(second, next_low))
        best = torch.where(closer, low, best)
        place = torch.where(closer, start + at, place)
    return Near(place.cpu(), _distances(best), _distances(second))


def _distances(squares: Tensor) -> Tensor:
    on_host = squares.cpu()
    return on_host.double().sqrt().div_(255).masked_fill_(on_host == _FAR, math.inf)


def _blocks(flat: Tensor, device: torch.device) -> list[Tensor]:
    """uint8 (n, features) as float32 around 0, in blocks of features that multiply exactly."""
    return list(flat.to(device).float().sub_(128).split(_EXACT, dim=1))


def _squares(blocks: list[Tensor]) -> Tensor:
    """Each row's squared length, int64 (n,)."""
    return torch.stack([block.square().sum(dim=1).to(torch.int64) for block in blocks]).sum(dim=0)
