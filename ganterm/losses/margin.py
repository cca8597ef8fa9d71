"""Losses that pull scores towards fixed values: least squares and hinge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganterm.losses.loss import LABELS, Equilibrium, Loss, LossContext, targets

if TYPE_CHECKING:
    from torch import Tensor

    from ganterm.core.controls import Controls


class LeastSquares(Loss):
    """Least squares with targets 0, 1 and 1 (Mao et al. 2017)."""

    name = "lsgan"
    title = "LSGAN"
    help = "Squared distance of D's raw scores to 1 for real and 0 for fake."
    uses = LABELS
    threshold = 0.5
    accuracy_help = "share on the right side of score 0.5"

    def d_loss(self, real: Tensor, fake: Tensor, context: LossContext) -> Tensor:
        target_real, target_fake = targets(real, fake, context)
        real_term = 0.5 * (real - target_real).square().mean()
        return real_term + 0.5 * (fake - target_fake).square().mean()

    def g_loss(self, real: Tensor | None, fake: Tensor, context: LossContext) -> Tensor:
        return 0.5 * (fake - 1).square().mean()

    def equilibrium(self, controls: Controls) -> Equilibrium:
        """The best D gives every sample one score, half way between the two mean targets.

        Label noise U(0, n) adds its variance n^2/12 to both squared errors.
        """
        smoothing, noise = controls.label_smoothing, controls.label_noise
        target_real, target_fake = 1 - smoothing - noise / 2, noise / 2
        score = (target_real + target_fake) / 2
        errors = (target_real - score) ** 2 + (target_fake - score) ** 2 + noise**2 / 6
        return Equilibrium(0.5 * errors, 0.5 * (score - 1) ** 2)


class Hinge(Loss):
    """Hinge with margin 1 (Lim and Ye 2017; Miyato et al. 2018)."""

    name = "hinge"
    title = "hinge"
    help = "D ignores samples beyond a margin of 1; G raises the mean score of fakes."

    def d_loss(self, real: Tensor, fake: Tensor, context: LossContext) -> Tensor:
        return (1 - real).relu().mean() + (1 + fake).relu().mean()

    def g_loss(self, real: Tensor | None, fake: Tensor, context: LossContext) -> Tensor:
        return -fake.mean()

    def equilibrium(self, controls: Controls) -> Equilibrium:
        return Equilibrium(2.0, 0.0)


LOSSES = (LeastSquares(), Hinge())
