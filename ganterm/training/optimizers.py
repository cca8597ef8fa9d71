"""Optimizers whose step can be refused on the device, without asking the host."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganterm.presets import OptimizerSection


class GuardedOptimizer:
    """An optimizer over ``parameters`` whose step leaves no trace where ``refused`` is 1.

    Fused Adam and SGD look at the flag themselves; RMSprop has no such kernel, so its parameters
    and state are put back by a selection. State is made at once rather than in the first step,
    because fused SGD would store the momentum of a refused first step.
    """

    def __init__(self, options: OptimizerSection, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.optimizer = _make(options, self.parameters)
        self._selects = options.name == "rmsprop"
        self._guarded: list[Tensor] = []
        if self._selects:
            states = [t for p in self.parameters for t in self.optimizer.state[p].values()]
            self._guarded = [*(p.data for p in self.parameters), *states]
            self._kept = [tensor.clone() for tensor in self._guarded]

    def step(self, gradients: Sequence[Tensor], rate: float, refused: Tensor) -> None:
        """Apply ``gradients`` at learning rate ``rate`` unless ``refused`` (float scalar) is 1."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.param_groups[0]["lr"] = rate
        if not self._selects:
            self.optimizer.found_inf = refused  # type: ignore[attr-defined]
            self.optimizer.step()
            return
        torch._foreach_copy_(self._kept, self._guarded)
        self.optimizer.step()
        for tensor, kept in zip(self._guarded, self._kept, strict=True):
            tensor.copy_(torch.where(refused > 0, kept, tensor))


def _make(options: OptimizerSection, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    decay = options.weight_decay
    optimizer: torch.optim.Optimizer
    if options.name == "adam":
        first, second = options.betas
        optimizer = torch.optim.Adam(
            parameters, betas=(first, second), eps=options.eps, weight_decay=decay, fused=True
        )
        state = ("exp_avg", "exp_avg_sq")
    elif options.name == "sgd":
        optimizer = torch.optim.SGD(
            parameters, lr=1.0, momentum=options.momentum, weight_decay=decay, fused=True
        )
        state = ("momentum_buffer",) if options.momentum else ()
    else:
        optimizer = torch.optim.RMSprop(
            parameters,
            alpha=options.alpha,
            eps=options.eps,
            momentum=options.momentum,
            weight_decay=decay,
            foreach=True,
        )
        state = ("square_avg", "momentum_buffer") if options.momentum else ("square_avg",)
    for parameter in parameters:
        made = {name: torch.zeros_like(parameter.data) for name in state}
        if options.name != "sgd":
            made["step"] = torch.zeros((), device=parameter.device)
        optimizer.state[parameter].update(made)
    return optimizer
