"""Softmax GAN: one softmax over all samples of a batch, real and fake."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ganterm.losses.loss import Equilibrium, Loss, LossContext

if TYPE_CHECKING:
    from torch import Tensor

    from ganterm.core.controls import Controls


class Softmax(Loss):
    """Cross-entropy between a target and the softmax p over the 2m samples of a batch (Lin 2017).

    D's target is 1/m on each of the m reals, G's is 1/2m on every sample. Larger scores are more
    real, so p is a softmax of scores where the paper has one of negated energies. Both losses are
    ln 2m where p is uniform; this constant is subtracted, so that the values do not depend on the
    batch size.
    """

    name = "softmax"
    title = "softmax"
    help = "D wants all probability on the reals of a batch; G wants it equal on all samples."
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
