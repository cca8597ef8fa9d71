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

    def path(self, start: Tensor, end: Tensor, steps: int) -> Tensor:
        """From ``start`` to ``end``, both (pairs, dim), ends included: (pairs, steps, dim).

        Straight for uniform latents. For normal ones along the great circle (White 2016), with the
        length moving evenly: points of a straight line are shorter than any that G was trained on.
        """
        share = torch.linspace(0, 1, steps, device=start.device)[None, :, None]
        start, end = start[:, None], end[:, None]
        straight = torch.lerp(start, end, share)
        if self.kind == "uniform":
            return straight
        lengths = start.norm(dim=2, keepdim=True), end.norm(dim=2, keepdim=True)
        one, other = start / lengths[0], end / lengths[1]
        angle = (one * other).sum(dim=2, keepdim=True).clamp(-1, 1).acos()
        turned = (((1 - share) * angle).sin() * one + (share * angle).sin() * other) / angle.sin()
        bent = turned * torch.lerp(*lengths, share)
        # In opposite or equal directions there is no circle, or any.
        return torch.where(angle.sin() > 1e-3, bent, straight)
