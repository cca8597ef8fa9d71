"""Losses of a critic: the difference of its mean scores estimates a distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganterm.losses.loss import Critic, Equilibrium, Loss, LossContext, Penalty
from ganterm.losses.penalties import norm_one

if TYPE_CHECKING:
    from torch import Tensor

    from ganterm.core.controls import Controls


class Wasserstein(Loss):
    """Wasserstein distance by weight clipping (Arjovsky et al. 2017)."""

    name = "wgan"
    title = "WGAN (clipped)"
    help = "D is a critic with weights held in -clip..clip; -D loss estimates the distance."
    uses = frozenset({"clip"})
    clips_weights = True
    threshold = None
    accuracy_help = "ranking rate P(real score > fake score): a critic has no threshold"

    def d_loss(self, real: Tensor, fake: Tensor, context: LossContext) -> Tensor:
        return fake.mean() - real.mean()

    def g_loss(self, real: Tensor | None, fake: Tensor, context: LossContext) -> Tensor:
        return -fake.mean()

    def equilibrium(self, controls: Controls) -> Equilibrium:
        return Equilibrium(0.0, None)


class WassersteinGP(Wasserstein):
    """Wasserstein distance with a gradient penalty (Gulrajani et al. 2017)."""

    name = "wgan_gp"
    title = "WGAN-GP"
    help = "A critic whose gradient is held at norm 1 between real and fake samples."
    uses = frozenset({"penalty_weight"})
    clips_weights = False

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor, context: LossContext) -> Penalty:
        """E(|grad D(x)| - 1)^2 at x = e real + (1 - e) fake, e ~ U(0,1) for each sample."""
        import torch

        shape = (len(real), *(1,) * (real.dim() - 1))
        mix = torch.rand(shape, generator=context.random, device=real.device)
        return norm_one(critic, mix * real + (1 - mix) * fake)


LOSSES = (Wasserstein(), WassersteinGP())
