"""How well D ranks reals above fakes, comparable across losses."""

from __future__ import annotations

import torch
from torch import Tensor


def auc(real: Tensor, fake: Tensor) -> Tensor:
    """P(r > f) + P(r = f)/2 over all pairs, 0..1; the area under the ROC curve.

    Both of shape (n,); computed from ranks in n log n time (Mann and Whitney 1947).
    """
    order = fake.sort().values
    below = torch.searchsorted(order, real)
    not_above = torch.searchsorted(order, real, right=True)
    return (below + not_above).sum() / (2 * len(real) * len(fake))
