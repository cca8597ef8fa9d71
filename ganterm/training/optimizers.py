"""Optimizers whose step can be refused on the device, without asking the host."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganterm.sections import OptimizerSection


class GuardedOptimizer:
    """An optimizer over one tensor of weights whose step leaves no trace where ``refused`` is 1.

    Fused Adam and SGD look at the flag themselves; RMSprop has no such kernel, so its weights and
    state are put back by a selection. State is made at once rather than in the first step,
    because fused SGD would store the momentum of a refused first step. Adam's kernel is called as
    its optimizer does, which around it takes longer for a small network than the kernel.
    """

    def __init__(self, options: OptimizerSection, weights: nn.Parameter) -> None:
        self.weights = weights
        self._clip_value = options.clip_value
        self.optimizer = _make(options, weights)
        self._decay = options.weight_decay
        self._betas, self._eps = options.betas, options.eps
        self._adam = options.name == "adam"
        self._guarded: list[Tensor] = []
        if options.name == "rmsprop":
            self._guarded = [weights.data, *self.optimizer.state[weights].values()]
            self._kept = [tensor.clone() for tensor in self._guarded]

    def step(self, gradient: Tensor, rate: float, refused: Tensor) -> None:
        """Apply ``gradient`` at learning rate ``rate`` unless ``refused`` (float scalar) is 1."""
        if self._clip_value:
            gradient = gradient.clamp(-self._clip_value, self._clip_value)
        if self._adam:
            self._adam_step(gradient, rate, refused)
            return
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

    @torch.no_grad()
    def _adam_step(self, gradient: Tensor, rate: float, refused: Tensor) -> None:
        state = self.optimizer.state[self.weights]
        steps = state["step"]
        steps.add_(1)
        torch._fused_adam_(
            [self.weights],
            [gradient],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [steps],
            lr=rate,
            beta1=self._betas[0],
            beta2=self._betas[1],
            weight_decay=self._decay,
            eps=self._eps,
            amsgrad=False,
            maximize=False,
            grad_scale=None,
            found_inf=refused,
        )
        steps.sub_(refused)


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
