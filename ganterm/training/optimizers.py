"""Optimizers whose step can be refused on the device, without asking the host."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganterm.sections import OptimizerSection


class GuardedOptimizer:
    """An optimizer over one tensor of weights whose step leaves no trace where ``refused`` is 1.

    Fused Adam and SGD look at the flag themselves; RMSprop has no such kernel, so its weights and
    state are put back by a selection. State is made at once rather than in the first step,
    because fused SGD would store the momentum of a refused first step.
    """

    def __init__(self, options: OptimizerSection, weights: nn.Parameter) -> None:
        self.weights = weights
        self._clip_value = options.clip_value
        self.optimizer = _make(options, weights)
        self._guarded: list[Tensor] = []
        if options.name == "rmsprop":
            self._guarded = [weights.data, *self.optimizer.state[weights].values()]
            self._kept = [tensor.clone() for tensor in self._guarded]

    def step(self, gradient: Tensor, rate: float, refused: Tensor) -> None:
        """Apply ``gradient`` at learning rate ``rate`` unless ``refused`` (float scalar) is 1."""
        if self._clip_value:
            gradient = gradient.clamp(-self._clip_value, self._clip_value)
        self.weights.grad = gradient
        self.optimizer.param_groups[0]["lr"] = rate
        if not self._guarded:
            self.optimizer.found_inf = refused  # type: ignore[attr-defined]
            self.optimizer.step()
            return
        torch._foreach_copy_(self._kept, self._guarded)
        self.optimizer.step()
        for tensor, kept in zip(self._guarded, self._kept, strict=True):
            torch.where(refused > 0, kept, tensor, out=tensor)


def _make(options: OptimizerSection, weights: nn.Parameter) -> torch.optim.Optimizer:
    decay = options.weight_decay
    optimizer: torch.optim.Optimizer
    state: tuple[str, ...]
    if options.name == "adam":
        first, second = options.betas
        optimizer = torch.optim.Adam(
            [weights], betas=(first, second), eps=options.eps, weight_decay=decay, fused=True
        )
        state = ("exp_avg", "exp_avg_sq")
    elif options.name == "sgd":
        optimizer = torch.optim.SGD(
            [weights], lr=1.0, momentum=options.momentum, weight_decay=decay, fused=True
        )
        state = ("momentum_buffer",) if options.momentum else ()
    else:
        optimizer = torch.optim.RMSprop(
            [weights],
            alpha=options.alpha,
            eps=options.eps,
            momentum=options.momentum,
            weight_decay=decay,
            foreach=True,
        )
        state = ("square_avg", "momentum_buffer") if options.momentum else ("square_avg",)
    made = {name: torch.zeros_like(weights.data) for name in state}
    if options.name != "sgd":
        made["step"] = torch.zeros((), device=weights.device)
    optimizer.state[weights].update(made)
    return optimizer
