"""Losses for a D that is an autoencoder: its score is minus its reconstruction error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganterm.losses.loss import Equilibrium, Loss, LossContext

if TYPE_CHECKING:
    from torch import Tensor

    from ganterm.core.controls import Controls
    from ganterm.networks.options import DKind


class _Energy(Loss):
    d_kind: DKind = "autoencoder"
    threshold = None
    accuracy_help = "ranking rate P(error on real < error on fake): errors have no threshold"


class EnergyBased(_Energy):
    """EBGAN: D keeps the error of fakes above a margin (Zhao et al. 2017)."""

    name = "ebgan"
    title = "EBGAN"
    help = "D reconstructs reals well and fakes badly, up to a margin; G lowers the error on fakes."
    uses = frozenset({"margin", "pull_away"})

    def d_loss(self, real: Tensor, fake: Tensor, context: LossContext) -> Tensor:
        return -real.mean() + (context.controls.margin + fake).relu().mean()

    def g_loss(self, real: Tensor | None, fake: Tensor, context: LossContext) -> Tensor:
        g_loss = -fake.mean()
        if context.controls.pull_away and context.code is not None:
            g_loss = g_loss + context.controls.pull_away * pull_away(context.code)
        return g_loss

    def after_update(self, real: Tensor, fake: Tensor, context: LossContext) -> Tensor:
        """BEGAN's convergence measure with gamma = 1, since EBGAN has no gamma of its own."""
        return -real.mean() + (fake.mean() - real.mean()).abs()

    def equilibrium(self, controls: Controls) -> Equilibrium:
        return Equilibrium(controls.margin, None)


class BoundaryEquilibrium(_Energy):
    """BEGAN: a balance k keeps the ratio of both errors at gamma (Berthelot et al. 2017)."""

    name = "began"
    title = "BEGAN"
    help = "A balance holds D's error on fakes at gamma times its error on reals."
    uses = frozenset({"gamma", "balance_rate"})

    def d_loss(self, real: Tensor, fake: Tensor, context: LossContext) -> Tensor:
        assert context.balance is not None
        return -real.mean() + context.balance * fake.mean()

    def g_loss(self, real: Tensor | None, fake: Tensor, context: LossContext) -> Tensor:
        return -fake.mean()

    def after_update(self, real: Tensor, fake: Tensor, context: LossContext) -> Tensor:
        """Update the balance k, and return BEGAN's convergence measure M.

        With L the reconstruction error: k <- clip(k + rate (gamma L(real) - L(fake)), 0, 1) and
        M = L(real) + |gamma L(real) - L(fake)|.
        """
        assert context.balance is not None
        controls = context.controls
        gap = fake.mean() - controls.gamma * real.mean()
        # The balance lasts as long as the run: a non-finite batch must not spoil it.
        context.balance.add_((controls.balance_rate * gap).nan_to_num(0, 0, 0)).clamp_(0, 1)
        return -real.mean() + gap.abs()


def pull_away(code: Tensor) -> Tensor:
    """Mean squared cosine between the codes (batch, n) of different samples, 0..1 (Zhao et al.)."""
    from torch.nn import functional

    unit = functional.normalize(code, dim=1)
    count = len(code)
    squares = (unit @ unit.mT).square()
    return (squares.sum() - squares.diagonal().sum()) / (count * (count - 1))


LOSSES = (EnergyBased(), BoundaryEquilibrium())
