"""Softmax GAN: one softmax over all samples of a batch, real and fake."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ganterm.losses.loss import Equilibrium, Loss, LossContext

if TYPE_CHECKING:
    from torch import Tensor

    from ganterm.core.controls import Controls


class Softmax(Loss):
    """Cross-entropy with a share of the whole batch (Lin 2017), less its constant.

    With p = softmax over the m reals and m fakes of a batch (here larger scores are more real, so
    the energy's sign is turned), D wants 1/m on each real and G 1/2m on all. ln 2m, what both are
    where p is even, is taken off, so that values do not depend on the batch size.
    """

    name = "softmax"
    title = "softmax"
    help = "D shares 100 % among the reals of a batch; G wants an equal share for all."
    g_needs_real = True
    threshold = None
    accuracy_help = "ranking rate P(real score > fake score): only differences count"

    def d_loss(self, real: Tensor, fake: Tensor, context: LossContext) -> Tensor:
        return _log_mean_exp(real, fake) - real.mean()

    def g_loss(self, real: Tensor | None, fake: Tensor, context: LossContext) -> Tensor:
        assert real is not None
        return _log_mean_exp(real, fake) - (real.mean() + fake.mean()) / 2

    def equilibrium(self, controls: Controls) -> Equilibrium:
        return Equilibrium(0.0, 0.0)


def _log_mean_exp(real: Tensor, fake: Tensor) -> Tensor:
    import torch

    both = torch.cat([real, fake])
    return torch.logsumexp(both, 0) - math.log(len(both))


LOSSES = (Softmax(),)
