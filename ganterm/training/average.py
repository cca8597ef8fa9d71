"""The averaged generator: a moving average of G's weights, often the better painter."""

from __future__ import annotations

import copy

import torch
from torch import nn

from ganterm.training.weights import Weights

EVERY = 8
"""Steps between two renewals; with the decay to the power of it, as good as every step."""


class Average:
    """A copy of G in evaluation mode whose weights follow G's (Yazici et al. 2019).

    Buffers that a forward pass writes are averaged as well.
    """

    def __init__(self, generator: nn.Module) -> None:
        self.module = copy.deepcopy(generator).eval().requires_grad_(False)
        self._flat = Weights(self.module).flat.detach()
        self._buffers = [b for b in self.module.buffers() if b.is_floating_point()]

    def follow(self, generator: nn.Module, weights: Weights, step: int, decay: float) -> None:
        """Renew after ``step`` where it is due; ``decay`` 0..1 is the share kept in each step.

        Early on less is kept, (1 + step) / (10 + step), so that the first weights are soon gone.
        """
        if step % EVERY and step > EVERY:
            return
        keep = min(decay, (1 + step) / (10 + step)) ** (EVERY if step > EVERY else 1)
        self._flat.lerp_(weights.flat.detach(), 1 - keep)
        if self._buffers:
            now = [b for b in generator.buffers() if b.is_floating_point()]
            torch._foreach_lerp_(self._buffers, now, 1 - keep)
