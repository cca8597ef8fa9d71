"""Optimizers whose step can be refused on the device, without asking the host."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganterm.sections import OptimizerOptions
from ganterm.training.weights import Weights, flattened

Rate = float | Tensor
"""A number, or a scalar on the device, which a step that is replayed reads anew."""

BLIND = frozenset({"mps"})
"""Types of devices whose fused kernels take the flag for a refusal and do not look at it."""


class GuardedOptimizer:
    """An optimizer of a network's weights whose step leaves no trace where ``refused`` is 1.

    Adam (Kingma and Ba 2015), SGD with momentum and RMSprop (Hinton 2012), with torch's own numbers
    and, but for RMSprop, its fused kernels. Most look at the flag themselves; after those that do
    not, and after RMSprop, weights and state are put back by a selection. The kernels are called
    as torch's optimizers do: around them these take longer for a small network than the kernel,
    and to be made has torch load its compiler, which takes as long as torch itself.
    ``state``, by name, is laid out as ``Weights.flat`` is, and whole from the start: fused SGD
    would store the momentum of a refused first step.
    """

    def __init__(self, options: OptimizerOptions, weights: Weights) -> None:
        self._weights = weights
        self._options = options
        flat = weights.flat.detach()
        self.state = {name: torch.zeros_like(flat) for name in _remembered(options)}
        # The kernels take each parameter with its own gradient: to lay the gradients into one
        # tensor first would take 2 % of an iteration of small networks.
        self._parts = {name: weights.parts(whole) for name, whole in self.state.items()}
        if options.name != "sgd":
            self.state["step"] = torch.zeros((), device=flat.device)
        self._apply = {"adam": self._adam, "sgd": self._sgd, "rmsprop": self._rmsprop}[options.name]
        blind = options.name == "rmsprop" or flat.device.type in BLIND
        self._guarded = [flat, *self.state.values()] if blind else []
        self._kept = [tensor.clone() for tensor in self._guarded]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], rate: Rate, refused: Tensor) -> None:
        """Apply a gradient for each parameter unless ``refused`` (float scalar) is 1.

        ``rate``: the learning rate.
        """
        clip = self._options.clip_value
        taken = [g.clamp(-clip, clip) for g in gradients] if clip else list(gradients)
        if self._guarded:
            torch._foreach_copy_(self._kept, self._guarded)
        self._apply(taken, rate, refused)
        for tensor, kept in zip(self._guarded, self._kept, strict=True):
            torch.where(refused > 0, kept, tensor, out=tensor)

    def _adam(self, gradients: list[Tensor], rate: Rate, refused: Tensor) -> None:
        options, parts, steps = self._options, self._parts, self.state["step"]
        steps.add_(1)
        torch._fused_adam_(
            self._weights.parameters,
            gradients,
            parts["exp_avg"],
            parts["exp_avg_sq"],
            [],
            [steps] * len(gradients),
            lr=rate,
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

    def _sgd(self, gradients: list[Tensor], rate: Rate, refused: Tensor) -> None:
        options = self._options
        torch._fused_sgd_(
            self._weights.parameters,
            gradients,
            self._parts.get("momentum_buffer", []),
            weight_decay=options.weight_decay,
            momentum=options.momentum,
            lr=rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
            grad_scale=None,
            found_inf=refused,
        )

    def _rmsprop(self, gradients: list[Tensor], rate: Rate, refused: Tensor) -> None:
        options, state, gradient = self._options, self.state, flattened(gradients)
        weights = self._weights.flat
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


def _remembered(options: OptimizerOptions) -> tuple[str, ...]:
    """What torch's optimizer of that name keeps of each weight."""
    momentum = ("momentum_buffer",) if options.momentum else ()
    match options.name:
        case "adam":
            return "exp_avg", "exp_avg_sq"
        case "sgd":
            return momentum
    return "square_avg", *momentum
