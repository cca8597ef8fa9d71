"""How well points cover the modes of a known mixture."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Coverage(NamedTuple):
    """Modes with at least one high-quality sample; the share of high-quality samples, 0..1; and
    the reverse KL in nats from their histogram over the modes to an even one (inf without any)."""

    modes: int
    high_quality: float
    reverse_kl: float


def coverage(points: Tensor, modes: Tensor, sigma: float) -> Coverage:
    """The coverage of ``modes`` (m, 2) by ``points`` (n, 2), as VEEGAN and PacGAN count it.

    A sample is of high quality within 3 ``sigma`` of its nearest mode (Srivastava et al. 2017);
    the KL is that of Lin et al. 2018. Real data of 2-D Gaussians reach 1 - e^-4.5 = 98.9 %.
    """
    distance, nearest = torch.cdist(points.double(), modes.double()).min(dim=1)
    good = distance <= 3 * sigma
    counts = torch.bincount(nearest[good], minlength=len(modes))
    total = int(counts.sum())
    share = counts[counts > 0].double() / max(total, 1)
    kl = float((share * (share * len(modes)).log()).sum()) if total else math.inf
    return Coverage(int((counts > 0).sum()), total / len(points), kl)
