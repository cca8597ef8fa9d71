"""Optimizers whose step can be refused on the device, without asking the host."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganterm.sections import OptimizerSection

Rate = float | Tensor
"""A number, or a scalar on the device, which a step that is replayed reads anew."""


class GuardedOptimizer:
    """An optimizer over one tensor of weights whose step leaves no trace where ``refused`` is 1.

    Adam (Kingma and Ba 2015), SGD with momentum and RMSprop (Hinton 2012), with torch's own numbers
    and, but for RMSprop, its fused kernels, which look at the flag themselves; there is no such
    kernel for RMSprop, whose weights and state are put back by a selection. The kernels are called
    as torch's optimizers do: around them these take longer for a small network than the kernel,
    and to be made has torch load its compiler, which takes as long as torch itself.
    ``state``, by name, is whole from the start: fused SGD would store the momentum of a refused
    first step.
    """

    def __init__(self, options: OptimizerSection, weights: nn.Parameter) -> None:
        self.weights = weights
        self._options = options
        self.state = {name: torch.zeros_like(weights.data) for name in _remembered(options)}
        if options.name != "sgd":
            self.state["step"] = torch.zeros((), device=weights.device)
        self._apply = {"adam": self._adam, "sgd": self._sgd, "rmsprop": self._rmsprop}[options.name]
        if options.name == "rmsprop":
            self._guarded = [weights.data, *self.state.values()]
            self._kept = [tensor.clone() for tensor in self._guarded]

    @torch.no_grad()
    def step(self, gradient: Tensor, rate: Rate, refused: Tensor) -> None:
        """Apply ``gradient`` at learning rate ``rate`` unless ``refused`` (float scalar) is 1."""
        clip = self._options.clip_value
        self._apply(gradient.clamp(-clip, clip) if clip else gradient, rate, refused)

    def _adam(self, gradient: Tensor, rate: Rate, refused: Tensor) -> None:
        options, state, steps = self._options, self.state, self.state["step"]
        steps.add_(1)
        torch._fused_adam_(
            [self.weights],
            [gradient],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            [steps],
            lr=rate,  # type: ignore[arg-type]
            beta1=options.betas[0],
            beta2=options.betas[1],
            weight_decay=options.weight_decay,
            eps=options.eps,
            amsgrad=False,
            maximize=False,
            grad_scale=None,
            found_inf=refused,
        )
        steps.sub_(refused)

    def _sgd(self, gradient: Tensor, rate: Rate, refused: Tensor) -> None:
        options = self._options
        torch._fused_sgd_(
            [self.weights],
            [gradient],
            [self.state["momentum_buffer"]] if options.momentum else [],
            weight_decay=options.weight_decay,
            momentum=options.momentum,
            lr=rate,  # type: ignore[arg-type]
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
            grad_scale=None,
            found_inf=refused,
        )

    def _rmsprop(self, gradient: Tensor, rate: Rate, refused: Tensor) -> None:
        options, state, weights = self._options, self.state, self.weights
        torch._foreach_copy_(self._kept, self._guarded)
        state["step"].add_(1)
        if options.weight_decay:
            gradient = gradient.add(weights, alpha=options.weight_decay)
        state["square_avg"].mul_(options.alpha)
        state["square_avg"].addcmul_(gradient, gradient, value=1 - options.alpha)
        size = state["square_avg"].sqrt().add_(options.eps)
        if options.momentum:
            moved = state["momentum_buffer"].mul_(options.momentum).addcdiv_(gradient, size)
            if isinstance(rate, Tensor):
                weights.sub_(moved * rate)
            else:
                weights.add_(moved, alpha=-rate)
        elif isinstance(rate, Tensor):
            weights.addcdiv_(gradient, size.div_(-rate))
        else:
            weights.addcdiv_(gradient, size, value=-rate)
        for tensor, kept in zip(self._guarded, self._kept, strict=True):
            torch.where(refused > 0, kept, tensor, out=tensor)


def _remembered(options: OptimizerSection) -> tuple[str, ...]:
    """What torch's optimizer of that name keeps of each weight."""
    momentum = ("momentum_buffer",) if options.momentum else ()
    match options.name:
        case "adam":
            return "exp_avg", "exp_avg_sq"
        case "sgd":
            return momentum
    return "square_avg", *momentum
