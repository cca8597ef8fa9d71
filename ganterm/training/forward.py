"""A network's forward pass as the training takes it: in the run's precision, perhaps compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganterm.networks.modules.shells import Judged
from ganterm.sections import Precision

Forward = Callable[..., Any]
"""As the module itself: of samples or noise, and labels where there are any."""


@dataclass(frozen=True)
class Forwards:
    """How forward passes are taken; what they return is float32 either way.

    Penalties differentiate a pass twice, which compiled graphs cannot and bfloat16 should not:
    they take the module itself.
    """

    precision: Precision = "float32"
    compiled: bool = False

    @property
    def plain(self) -> bool:
        """Whether a pass is that of the module itself."""
        return self.precision == "float32" and not self.compiled

    def of(self, module: nn.Module, device: torch.device) -> Forward:
        """The pass of a module that lies on ``device``; its weights, and their names, stay its."""
        # Whole or an error: a part that silently stays as it was would be no compilation.
        forward = _compiled(module) if self.compiled else module
        if self.precision == "float32":
            return forward

        def lowered(*inputs: Tensor) -> Any:
            with torch.autocast(device.type, torch.bfloat16):
                return _float32(forward(*inputs))

        return lowered


PLAIN = Forwards()


def _compiled(module: nn.Module) -> Forward:
    return torch.compile(module, fullgraph=True, dynamic=False)


def _float32(made: Tensor | Judged) -> Tensor | Judged:
    if not isinstance(made, Judged):
        return made.float()
    scores, *others = made
    return Judged(scores.float(), *(None if part is None else part.float() for part in others))
