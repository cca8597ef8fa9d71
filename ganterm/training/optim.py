"""All weights of a network in one tensor, so that what is done to all of them is one operation."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor, nn

from ganterm.diagnosis.norms import first_nonfinite
from ganterm.sections import OptimizerOptions


class Weights:
    """The parameters of ``module``, laid into one tensor ``flat`` of which they become views.

    A norm or a clip then costs the same however many layers there are.
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
        """The gradient of ``loss`` for each parameter, zeros for those it does not reach.

        Contiguous, as the parameters are: the kernels of fused optimizers look at no strides.
        """
        gradients = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
        return [gradient.contiguous() for gradient in gradients]


def flattened(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors as one vector, in the order of ``Weights.flat``."""
    return torch._utils._flatten_dense_tensors(tensors)


# The buffers that a forward pass writes, kept safe from a pass that went wrong.


class BufferGuard:
    """Keeps the floating-point buffers of some modules (batch-norm statistics and the like).

    They are laid into one tensor, of which the modules' buffers become views, so that keeping and
    putting back is one operation each however many there are.
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
        self._kept = self._all.clone()
        parts = self._all.split([buffer.numel() for _, _, buffer in places])
        for (owner, name, buffer), part in zip(places, parts, strict=True):
            # ``data`` counts its own changes: else D's spectral norm, which writes its vectors,
            # would seem to autograd to have changed what G's batch norm saved for going back.
            owner._buffers[name] = part.view(buffer.shape).data

    def keep(self) -> None:
        """Remember the buffers as they are."""
        if self._all is not None:
            self._kept.copy_(self._all)

    def put_back_where(self, flag: Tensor) -> None:
        """Put the remembered buffers back where ``flag`` (float scalar) is 1."""
        if self._all is not None:
            torch.where(flag.bool(), self._kept, self._all, out=self._all)


# The averaged generator: a moving average of G's weights, often the better painter.

EVERY = 8
"""Steps between two renewals; with the decay to the power of it, as good as every step."""


class Average:
    """A copy of G in evaluation mode whose weights follow G's (Yazici et al. 2019).

    Buffers that a forward pass writes are averaged as well.
    """

    def __init__(self, generator: nn.Module) -> None:
        self.module = copy.deepcopy(generator).eval().requires_grad_(False)
        self._flat = Weights(self.module).flat.detach()
        self._buffers = [b for b in self.module.buffers() if b.is_floating_point()]

    def follow(self, generator: nn.Module, weights: Weights, step: int, decay: float) -> None:
        """Renew after ``step`` where it is due; ``decay`` 0..1 is the share kept in each step.

        Early on less is kept, (1 + step) / (10 + step), so that the first weights are soon gone.
        """
        if step % EVERY and step > EVERY:
            return
        keep = min(decay, (1 + step) / (10 + step)) ** (EVERY if step > EVERY else 1)
        self._flat.lerp_(weights.flat.detach(), 1 - keep)
        if self._buffers:
            now = [b for b in generator.buffers() if b.is_floating_point()]
            torch._foreach_lerp_(self._buffers, now, 1 - keep)


# Optimizers whose step can be refused on the device, without asking the host.

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


# One update of one network: applied, or refused on the device without asking the host.


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
