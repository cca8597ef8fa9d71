"""Gradient penalties: what a critic's gradient should be, and where it is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganterm.losses.loss import Critic, Penalty

if TYPE_CHECKING:
    from torch import Tensor


def squared_norms(scores: Tensor, samples: Tensor) -> Tensor:
    """|grad score|^2 of each sample, (batch,); the graph is kept, so that it can be a penalty.

    ``scores`` (batch,) must have been made from ``samples`` (batch, ...), each from its own.
    """
    import torch

    (grad,) = torch.autograd.grad(scores.sum(), samples, create_graph=True)
    return grad.flatten(1).square().sum(1)


def norm_one(critic: Critic, samples: Tensor) -> Penalty:
    """E(|grad D(x)| - 1)^2, the norm taken of each of ``samples`` (Gulrajani et al. 2017)."""
    samples = samples.detach().requires_grad_()
    # The root has no derivative at 0, where a dead critic is.
    norm = squared_norms(critic(samples), samples).add(1e-16).sqrt()
    return Penalty((norm - 1).square().mean(), norm.mean().detach())
