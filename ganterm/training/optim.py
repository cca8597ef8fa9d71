"""Updates of a network: its weights in one tensor, guarded buffers, optimizers, the averaged G."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor, nn

from ganterm.diagnosis.norms import first_nonfinite
from ganterm.sections import OptimizerOptions
from ganterm.training.torch_internals import (
    flatten,
    foreach_copy_,
    foreach_lerp_,
    foreach_mul,
    foreach_norm,
    fused_adam_,
    fused_sgd_,
)

Rate = float | Tensor
"""A learning rate: a number, or a scalar on the device that a replayed graph reads anew."""


class Weights:
    """The parameters of ``module`` as views of one tensor, ``flat``.

    A norm or a clip is then one operation, however many layers there are.
    """

    def __init__(self, module: nn.Module) -> None:
        named = list(module.named_parameters())
        self.names = [name for name, _ in named]
        self.parameters: list[Tensor] = [parameter for _, parameter in named]
        self.flat = nn.Parameter(torch.cat([p.detach().flatten() for p in self.parameters]))
        for parameter, part in zip(self.parameters, self.parts(self.flat.detach()), strict=True):
            parameter.data = part

    def parts(self, whole: Tensor) -> list[Tensor]:
        """Views of ``whole`` (as many numbers as ``flat``), in each parameter's place and shape."""
        parts = whole.split([p.numel() for p in self.parameters])
        pairs = zip(parts, self.parameters, strict=True)
        return [part.view(parameter.shape) for part, parameter in pairs]

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """The gradient of ``loss`` for each parameter, zeros for those that it does not depend on.

        Gradients are contiguous like the parameters, because fused kernels ignore strides.
        """
        gradients = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
        return [gradient.contiguous() for gradient in gradients]


class BufferGuard:
    """Restores the floating-point buffers of modules (batch-norm statistics and the like).

    A forward pass writes them before the update is known to be finite. All of them become views of
    one tensor, so that saving and restoring is one operation each.
    """

    def __init__(self, *modules: nn.Module) -> None:
        places = [
            (owner, name, buffer)
            for module in modules
            for owner in module.modules()
            for name, buffer in owner.named_buffers(recurse=False)
            if buffer.is_floating_point()
        ]
        self._all: Tensor | None = None
        if not places:
            return
        self._all = torch.cat([buffer.flatten() for _, _, buffer in places])
        self._saved = self._all.clone()
        parts = self._all.split([buffer.numel() for _, _, buffer in places])
        for (owner, name, buffer), part in zip(places, parts, strict=True):
            # ``data`` has a version counter of its own. With a shared one, D's spectral norm, which
            # writes its vectors, would look to autograd like a change of G's batch-norm buffers.
            setattr(owner, name, part.view(buffer.shape).data)

    def keep(self) -> None:
        """Save the buffers as they are."""
        if self._all is not None:
            self._saved.copy_(self._all)

    def restore_where(self, flag: Tensor) -> None:
        """Restore the saved buffers where ``flag`` (float scalar) is 1."""
        if self._all is not None:
            torch.where(flag.bool(), self._saved, self._all, out=self._all)


AVERAGE_EVERY = 8
"""Steps between two updates of the averaged G. Each uses the decay to the power of 8, which gives
nearly the same average as an update in every step."""


class Average:
    """The averaged generator: a copy of G, in evaluation mode, whose weights follow G's.

    It often draws better samples than G (Yazici et al. 2019). Buffers that a forward pass writes
    are averaged too.
    """

    def __init__(self, generator: nn.Module) -> None:
        self.module = copy.deepcopy(generator).eval().requires_grad_(False)
        self._flat = Weights(self.module).flat.detach()
        self._buffers = [b for b in self.module.buffers() if b.is_floating_point()]

    def follow(self, generator: nn.Module, weights: Weights, step: int, decay: float) -> None:
        """Update the average after ``step`` if it is due; a step keeps a share ``decay`` (0..1).

        Early steps keep less, (1 + step) / (10 + step), so that the first weights soon fade.
        """
        if step % AVERAGE_EVERY and step > AVERAGE_EVERY:
            return
        steps = AVERAGE_EVERY if step > AVERAGE_EVERY else 1
        keep = min(decay, (1 + step) / (10 + step)) ** steps
        self._flat.lerp_(weights.flat.detach(), 1 - keep)
        if self._buffers:
            now = [b for b in generator.buffers() if b.is_floating_point()]
            foreach_lerp_(self._buffers, now, 1 - keep)


FLAG_IGNORED = frozenset({"mps"})
"""Types of devices whose fused kernels accept ``found_inf`` but ignore it."""


class GuardedOptimizer:
    """An optimizer of a network's weights whose step has no effect where ``refused`` is 1.

    Adam (Kingma and Ba 2015), SGD with momentum and RMSprop (Hinton 2012), with torch's own numbers
    and, except for RMSprop, torch's fused kernels. Most kernels obey the flag themselves; where
    they do not, and for RMSprop, weights and state are saved before the step and selected after it.
    ``state`` holds vectors by name, laid out as ``Weights.flat`` is. They exist from the start,
    because fused SGD would otherwise store the momentum of a refused first step.
    """

    def __init__(self, options: OptimizerOptions, weights: Weights) -> None:
        self._weights = weights
        self._options = options
        flat = weights.flat.detach()
        self.state = {name: torch.zeros_like(flat) for name in _state_names(options)}
        # The kernels take each parameter with its own gradient: concatenating the gradients first
        # would take 2 % of an iteration of small networks.
        self._parts = {name: weights.parts(whole) for name, whole in self.state.items()}
        if options.name != "sgd":
            self.state["step"] = torch.zeros((), device=flat.device)
        self._apply = {"adam": self._adam, "sgd": self._sgd, "rmsprop": self._rmsprop}[options.name]
        ignored = options.name == "rmsprop" or flat.device.type in FLAG_IGNORED
        self._guarded = [flat, *self.state.values()] if ignored else []
        self._saved = [tensor.clone() for tensor in self._guarded]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], rate: Rate, refused: Tensor) -> None:
        """Apply a gradient for each parameter unless ``refused`` (float scalar) is 1."""
        clip = self._options.clip_value
        clipped = [g.clamp(-clip, clip) for g in gradients] if clip else list(gradients)
        if self._guarded:
            foreach_copy_(self._saved, self._guarded)
        self._apply(clipped, rate, refused)
        for tensor, saved in zip(self._guarded, self._saved, strict=True):
            torch.where(refused > 0, saved, tensor, out=tensor)

    def _adam(self, gradients: list[Tensor], rate: Rate, refused: Tensor) -> None:
        options, parts, steps = self._options, self._parts, self.state["step"]
        steps.add_(1)
        fused_adam_(
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
        fused_sgd_(
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
        options, state, gradient = self._options, self.state, flatten(gradients)
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


def _state_names(options: OptimizerOptions) -> tuple[str, ...]:
    """The names of the vectors that torch's optimizer of that name keeps for the weights."""
    momentum = ("momentum_buffer",) if options.momentum else ()
    match options.name:
        case "adam":
            return "exp_avg", "exp_avg_sq"
        case "sgd":
            return momentum
    return "square_avg", *momentum


@dataclass
class Update:
    """The results of one update of one network, all scalars on the device.

    ``refused`` is 0, or 1 where the update was refused: see ``first_nonfinite`` for its value.
    """

    loss: Tensor
    grad_norm: Tensor
    refused: Tensor
    measured: dict[str, Tensor] = field(default_factory=dict)


@cache
def zero(device: torch.device) -> Tensor:
    """The scalar 0 on a device, for terms and metrics that are absent; never written to."""
    return torch.zeros((), device=device)


def checked_names(network: str, weights: Weights) -> list[str]:
    """The tensors that ``apply_update`` checks, in its order; ``network`` is G or D."""
    gradients = [f"the gradient of {network}'s {name}" for name in weights.names]
    return [f"{network} loss", f"{network}'s added terms", *gradients]


def apply_update(
    weights: Weights,
    optimizer: GuardedOptimizer,
    rate: Rate,
    buffers: BufferGuard,
    loss: Tensor,
    terms: Sequence[Tensor],
    grad_clip: float,
) -> Update:
    """Update weights by the gradient of ``loss`` and the added ``terms`` together.

    ``grad_clip`` limits the gradient's norm, 0 does not. Where the loss, the terms or any gradient
    is not finite, the weights stay as they were and ``buffers`` are restored.
    """
    added = sum(terms[1:], start=terms[0]) if terms else None
    gradients = weights.gradients(loss if added is None else loss + added)
    value = loss.detach()
    added_value = zero(value.device) if added is None else added.detach()
    checked = torch.stack([value, added_value, *foreach_norm(gradients)])
    refused = first_nonfinite(checked)
    flag = refused.clamp(max=1)
    norm = torch.linalg.vector_norm(checked[2:])
    if grad_clip:
        gradients = list(foreach_mul(gradients, (grad_clip / (norm + 1e-12)).clamp(max=1)))
    optimizer.step(gradients, rate, flag)
    buffers.restore_where(flag)
    return Update(value, norm, refused)
