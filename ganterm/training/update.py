"""One update of one network: applied, or refused on the device without asking the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from ganterm.diagnosis.norms import first_nonfinite
from ganterm.training.buffers import BufferGuard
from ganterm.training.optimizers import GuardedOptimizer, Rate
from ganterm.training.weights import Weights


@dataclass
class Update:
    """What one update of one network left behind, all scalars on the device."""

    loss: Tensor
    grad_norm: Tensor
    refused: Tensor
    measured: dict[str, Tensor] = field(default_factory=dict)


@cache
def nothing(device: torch.device) -> Tensor:
    """The scalar 0, for what there is not; never written to."""
    return torch.zeros((), device=device)


def looked_at(network: str, weights: Weights) -> list[str]:
    """What a non-finite value is looked for in, in that order; ``network`` is G or D."""
    gradients = [f"the gradient of {network}'s {name}" for name in weights.names]
    return [f"{network} loss", f"{network}'s added terms", *gradients]


def applied(
    weights: Weights,
    optimizer: GuardedOptimizer,
    rate: Rate,
    buffers: BufferGuard,
    loss: Tensor,
    added: Sequence[Tensor],
    grad_clip: float,
) -> Update:
    """One update from the gradient of ``loss`` and the ``added`` terms together.

    ``grad_clip``: the longest that the gradient may be, 0 for no limit. Nothing is applied, and
    ``buffers`` are put back, where the loss, the terms or any gradient is not finite.
    """
    terms = sum(added[1:], start=added[0]) if added else None
    gradients = weights.gradients(loss if terms is None else loss + terms)
    value = loss.detach()
    besides = nothing(value.device) if terms is None else terms.detach()
    looked_through = torch.stack([value, besides, *torch._foreach_norm(gradients)])
    refused = first_nonfinite(looked_through)
    flag = refused.clamp(max=1)
    norm = torch.linalg.vector_norm(looked_through[2:])
    if grad_clip:
        gradients = list(torch._foreach_mul(gradients, (grad_clip / (norm + 1e-12)).clamp(max=1)))
    optimizer.step(gradients, rate, flag)
    buffers.put_back_where(flag)
    return Update(value, norm, refused)
