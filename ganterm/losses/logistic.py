"""Losses on probabilities: D's score is the logit of "real"."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ganterm.losses.loss import (
    LABELS,
    Critic,
    Equilibrium,
    Loss,
    LossContext,
    Penalty,
    softplus,
    targets,
)
from ganterm.losses.penalties import norm_one

if TYPE_CHECKING:
    from torch import Tensor

    from ganterm.core.controls import Controls


class _Logistic(Loss):
    """Binary cross-entropy on logits (Goodfellow et al. 2014)."""

    uses = LABELS

    def d_loss(self, real: Tensor, fake: Tensor, context: LossContext) -> Tensor:
        d_loss = softplus(-real).mean() + softplus(fake).mean()
        if context.controls.label_smoothing or context.controls.label_noise:
            # Cross-entropy with target t: t sp(-s) + (1-t) sp(s) = sp(-s) + (1-t) s = sp(s) - t s.
            target_real, target_fake = targets(real, fake, context)
            d_loss = d_loss + ((1 - target_real) * real).mean() - (target_fake * fake).mean()
        return d_loss

    def _best_d(self, controls: Controls) -> tuple[float, float]:
        """The probability p that the best D gives to reals and fakes alike, and D's loss there.

        p is half the sum of the mean targets. Label noise does not change that sum, 1 - smoothing.
        """
        p = (1 - controls.label_smoothing) / 2
        return p, -2 * p * math.log(p) - 2 * (1 - p) * math.log1p(-p)


class NonSaturating(_Logistic):
    """G maximises log D(G(z)) (Goodfellow et al. 2014)."""

    name = "non_saturating"
    title = "non-saturating"
    help = "G maximises log D(G(z)): its gradient survives while D is winning."

    def g_loss(self, real: Tensor | None, fake: Tensor, context: LossContext) -> Tensor:
        return softplus(-fake).mean()

    def equilibrium(self, controls: Controls) -> Equilibrium:
        p, d = self._best_d(controls)
        return Equilibrium(d, -math.log(p))


class Minimax(_Logistic):
    """G minimises log(1 - D(G(z))), the original game (Goodfellow et al. 2014)."""

    name = "minimax"
    title = "minimax (saturating)"
    help = "G minimises log(1 - D(G(z))): its gradient fades once D is winning."

    def g_loss(self, real: Tensor | None, fake: Tensor, context: LossContext) -> Tensor:
        return -softplus(fake).mean()

    def equilibrium(self, controls: Controls) -> Equilibrium:
        p, d = self._best_d(controls)
        return Equilibrium(d, math.log1p(-p))


class Dragan(NonSaturating):
    """Non-saturating, with D's gradient held at norm 1 around the data (Kodali et al. 2017)."""

    name = "dragan"
    title = "DRAGAN"
    help = "Non-saturating; D's gradient is held at norm 1 in a cloud around the real samples."
    uses = LABELS | {"penalty_weight"}

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor, context: LossContext) -> Penalty:
        """E(|grad D| - 1)^2 at x + std(x)/2 * u, u ~ U(0, 1) in each dimension.

        std(x) is one number, over all values of the batch.
        """
        import torch

        cloud = torch.rand(
            real.shape, generator=context.random, device=real.device, dtype=real.dtype
        )
        return norm_one(critic, real + 0.5 * real.std() * cloud)


LOSSES = (NonSaturating(), Minimax(), Dragan())
