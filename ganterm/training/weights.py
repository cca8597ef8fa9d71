"""All weights of a network in one tensor, so that what is done to all of them is one operation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


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
