"""The rows of scalars that stay on the device until a whole batch of them is copied out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganterm.session.metrics import ON_DEVICE


class Recorder:
    """A buffer of ``capacity`` rows on the device; a row is one operation, a drain one transfer."""

    def __init__(self, device: torch.device, capacity: int = 4096) -> None:
        self._rows = torch.zeros(capacity, len(ON_DEVICE), device=device)
        self._elapsed: list[float] = []

    @property
    def full(self) -> bool:
        """Whether the next row has no place before a drain."""
        return len(self._elapsed) == len(self._rows)

    def write(self, scalars: list[Tensor], elapsed: float) -> None:
        """Add a row: the scalars of ``metrics.ON_DEVICE`` in order, and the training seconds."""
        torch.stack(scalars, out=self._rows[len(self._elapsed)])
        self._elapsed.append(elapsed)

    def drain(self) -> tuple[NDArray[np.float32], list[float]]:
        """All rows since the last drain, (n, scalars) on the host, and their training seconds."""
        elapsed, self._elapsed = self._elapsed, []
        return self._rows[: len(elapsed)].to("cpu", copy=True).numpy(), elapsed
