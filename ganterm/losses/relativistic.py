"""Relativistic losses: only differences count, a real should score above a fake."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ganterm.losses.loss import Critic, Equilibrium, Loss, LossContext, Penalty, softplus
from ganterm.losses.penalties import squared_norms

if TYPE_CHECKING:
    from torch import Tensor

    from ganterm.core.controls import Controls


class RelativisticAverage(Loss):
    """RaGAN: compares each score with the other side's mean (Jolicoeur-Martineau 2019)."""

    name = "ragan"
    title = "RaGAN"
    help = "Each score is compared with the mean score of the other side."
    g_needs_real = True
    accuracy_help = "share on the right side of the other side's mean score"

    def d_loss(self, real: Tensor, fake: Tensor, context: LossContext) -> Tensor:
        return softplus(fake.mean() - real).mean() + softplus(fake - real.mean()).mean()

    def g_loss(self, real: Tensor | None, fake: Tensor, context: LossContext) -> Tensor:
        assert real is not None
        return self.d_loss(fake, real, context)

    def accuracy(self, real: Tensor, fake: Tensor, auc: Tensor) -> tuple[Tensor, Tensor]:
        above, below = real > fake.mean(), fake < real.mean()
        return above.float().mean(), below.float().mean()

    def boundary(self, real: Tensor, fake: Tensor) -> float | None:
        """Half way between both mean scores, where a sample's two logits cancel."""
        return float((real.mean() + fake.mean()) / 2)

    def equilibrium(self, controls: Controls) -> Equilibrium:
        return Equilibrium(2 * math.log(2), 2 * math.log(2))


class RelativisticPairing(Loss):
    """RpGAN: compares the fake and the real at each place (Jolicoeur-Martineau 2019)."""

    name = "rpgan"
    title = "RpGAN"
    help = "Each fake is compared with one real: no mode can be dropped without a cost."
    g_needs_real = True
    threshold = None
    accuracy_help = "ranking rate P(real score > fake score): only differences count"

    def d_loss(self, real: Tensor, fake: Tensor, context: LossContext) -> Tensor:
        return softplus(fake - real).mean()

    def g_loss(self, real: Tensor | None, fake: Tensor, context: LossContext) -> Tensor:
        assert real is not None
        return softplus(real - fake).mean()

    def equilibrium(self, controls: Controls) -> Equilibrium:
        return Equilibrium(math.log(2), math.log(2))


class RegularisedPairing(RelativisticPairing):
    """RpGAN with R1 and R2 at the same weight, the loss of R3GAN (Huang et al. 2024)."""

    name = "rpgan_r1_r2"
    title = "RpGAN + R1 + R2"
    help = "RpGAN with D's gradient kept small on reals and fakes; weight: gamma."
    uses = frozenset({"penalty_weight"})

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor, context: LossContext) -> Penalty:
        """(E|grad D(real)|^2 + E|grad D(fake)|^2) / 2, and the mean norm over both."""
        import torch

        samples = torch.cat([real, fake]).detach().requires_grad_()
        squares = squared_norms(critic(samples), samples)
        return Penalty(squares.mean(), squares.detach().sqrt().mean())


LOSSES = (RelativisticAverage(), RelativisticPairing(), RegularisedPairing())
