"""The nearest training pictures of some others, exactly."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

MEMORY = 2 * 2**20
"""Bytes that a block of training pictures may take as floats; its squares may take as many.

Larger blocks are no faster, and the allocator keeps one or two of them."""
_FAR = 2**62
_EXACT = 1024
"""Numbers in -128..127 whose products add up without rounding: 1,024 x 2^14 = 2^24, float32's
last whole number before gaps. True of TF32 as well, whose inputs keep 11 bits."""


class Near(NamedTuple):
    """The nearest picture of each of q queries. All tensors have shape (q,) and lie on the CPU.

    ``places``, int64: its index; the first one of equals. ``distances``, float64: the Euclidean
    distance to it, of pixels from 0 to 1. ``seconds``, float64: the distance to the second nearest;
    infinite if there is only one picture.
    """

    places: Tensor
    distances: Tensor
    seconds: Tensor


def as_bytes(samples: Tensor) -> Tensor:
    """Values in -1..1 as uint8, NaN as black."""
    pixels = samples.float().add(1).mul(127.5).round().clamp(0, 255).nan_to_num(0)
    return pixels.to(torch.uint8)


def nearest(queries: Tensor, pictures: Tensor, device: torch.device) -> Near:
    """For each query (q, ...) the nearest of ``pictures`` (n, ...), and how far it is.

    Both uint8 of one shape; the pictures stay where they are and are looked at block by block on
    ``device``. No rounding before the square root: squared distances are whole numbers, summed up
    as such.
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
    far = squares.cpu()
    return far.double().sqrt().div_(255).masked_fill_(far == _FAR, math.inf)


def _blocks(flat: Tensor, device: torch.device) -> list[Tensor]:
    """uint8 (n, features) as float32 around 0, in blocks of features that multiply exactly."""
    return list(flat.to(device).float().sub_(128).split(_EXACT, dim=1))


def _squares(blocks: list[Tensor]) -> Tensor:
    """Each row's squared length, int64 (n,)."""
    return torch.stack([block.square().sum(dim=1).to(torch.int64) for block in blocks]).sum(dim=0)
