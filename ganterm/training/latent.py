"""The noise that G starts from, and the labels that go with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Latent:
    """z in ``dim`` dimensions: N(0, 1), or U(-1, 1) in each.

    ``labels``: how many G is told, 0 for none; ``codes``: whether they are G's own, drawn evenly,
    rather than the data's.
    """

    dim: int
    kind: Literal["normal", "uniform"] = "normal"
    labels: int = 0
    codes: bool = False

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """``count`` latents, (count, dim), on the generator's device."""
        z = torch.empty(count, self.dim, device=random.device)
        if self.kind == "uniform":
            return z.uniform_(-1, 1, generator=random)
        return z.normal_(generator=random)

    def draw_codes(self, count: int, random: torch.Generator) -> Tensor:
        """``count`` labels drawn evenly, int64 (count,)."""
        return torch.randint(self.labels, (count,), generator=random, device=random.device)
