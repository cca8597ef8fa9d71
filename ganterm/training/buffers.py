"""The buffers that a forward pass writes, kept safe from a pass that went wrong."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
