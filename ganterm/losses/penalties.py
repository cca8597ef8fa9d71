"""Gradient penalties: terms that depend on the gradient of D's score at given samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganterm.losses.loss import Critic, Penalty

if TYPE_CHECKING:
    from torch import Tensor


def squared_norms(scores: Tensor, samples: Tensor) -> Tensor:
    """|grad score|^2 at each sample, (batch,), itself differentiable: it can be a penalty.

    ``scores`` (batch,) are computed from ``samples`` (batch, ...), each from its own sample.
    """
    import torch

    (grad,) = torch.autograd.grad(scores.sum(), samples, create_graph=True)
    return grad.flatten(1).square().sum(1)


def norm_one(critic: Critic, samples: Tensor) -> Penalty:
    """E(|grad D(x)| - 1)^2 over ``samples`` (batch, ...) (Gulrajani et al. 2017)."""
    samples = samples.detach().requires_grad_()
    # A dead critic has gradient 0, where the square root has no derivative: hence the 1e-16.
    norm = squared_norms(critic(samples), samples).add(1e-16).sqrt()
    return Penalty((norm - 1).square().mean(), norm.mean().detach())
