"""Optimizers whose step can be refused on the device, without asking the host."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganterm.sections import OptimizerSection


class GuardedOptimizer:
    """An optimizer over one tensor of weights whose step leaves no trace where ``refused`` is 1.

    Fused Adam and SGD look at the flag themselves; RMSprop has no such kernel, so its weights and
    state are put back by a selection. ``state``, by name, is made at once rather than in the first
    step, because fused SGD would store the momentum of a refused first step. Adam's kernel is
    called as its optimizer does, which around it takes longer for a small network than the kernel,
    and to be made has torch load its compiler, which takes as long as torch itself.
    """

    def __init__(self, options: OptimizerSection, weights: nn.Parameter) -> None:
        self.weights = weights
        self._clip_value = options.clip_value
        self._decay = options.weight_decay
        self._betas, self._eps = options.betas, options.eps
        self.state = {name: torch.zeros_like(weights.data) for name in _remembered(options)}
        if options.name != "sgd":
            self.state["step"] = torch.zeros((), device=weights.device)
        self._optimizer: torch.optim.Optimizer | None = None
        self._guarded: list[Tensor] = []
        if options.name != "adam":
            self._optimizer = _make(options, weights)
            self._optimizer.state[weights].update(self.state)
        if options.name == "rmsprop":
            self._guarded = [weights.data, *self.state.values()]
            self._kept = [tensor.clone() for tensor in self._guarded]

    def step(self, gradient: Tensor, rate: float, refused: Tensor) -> None:
        """Apply ``gradient`` at learning rate ``rate`` unless ``refused`` (float scalar) is 1."""
        if self._clip_value:
            gradient = gradient.clamp(-self._clip_value, self._clip_value)
        if self._optimizer is None:
            self._adam_step(gradient, rate, refused)
            return
        self.weights.grad = gradient
        self._optimizer.param_groups[0]["lr"] = rate
        if not self._guarded:
            self._optimizer.found_inf = refused  # type: ignore[attr-defined]
            self._optimizer.step()
            return
        torch._foreach_copy_(self._kept, self._guarded)
        self._optimizer.step()
        for tensor, kept in zip(self._guarded, self._kept, strict=True):
            torch.where(refused > 0, kept, tensor, out=tensor)

    @torch.no_grad()
    def _adam_step(self, gradient: Tensor, rate: float, refused: Tensor) -> None:
        state, steps = self.state, self.state["step"]
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


def _remembered(options: OptimizerSection) -> tuple[str, ...]:
    """What torch's optimizer of that name keeps of each weight."""
    momentum = ("momentum_buffer",) if options.momentum else ()
    match options.name:
        case "adam":
            return "exp_avg", "exp_avg_sq"
        case "sgd":
            return momentum
    return "square_avg", *momentum


def _make(options: OptimizerSection, weights: nn.Parameter) -> torch.optim.Optimizer:
    decay = options.weight_decay
    if options.name == "sgd":
        return torch.optim.SGD(
            [weights], lr=1.0, momentum=options.momentum, weight_decay=decay, fused=True
        )
    return torch.optim.RMSprop(
        [weights],
        alpha=options.alpha,
        eps=options.eps,
        momentum=options.momentum,
        weight_decay=decay,
        foreach=True,
    )
