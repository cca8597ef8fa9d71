"""The adversarial losses, one small object each.

Every discriminator returns raw scores and larger means more real; a loss turns scores into its own
quantity, so the loss can be swapped while training runs. All losses are to be minimised, and D's is
the sum of a real and a fake term. The catalogue (names, help, guide lines) must load without torch,
hence the imports inside the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from ganterm.controls import Controls


class Equilibrium(NamedTuple):
    """The loss values of D and G where fakes cannot be told from reals; None where undefined."""

    d: float | None
    g: float | None


class Penalty(NamedTuple):
    """A gradient penalty before its weight, and the mean gradient norm it looks at (scalars)."""

    value: Tensor
    grad_norm: Tensor


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), computed without overflow."""
    from torch.nn import functional

    return functional.softplus(x)


class Loss:
    """An adversarial loss. Scores are float tensors of shape (batch,)."""

    name: str
    title: str
    help: str
    d_kind = "score"
    uses: frozenset[str] = frozenset()
    clips_weights = False
    g_needs_real = False
    threshold: float | None = 0.0
    accuracy_help = "share on the right side of score 0"

    def d_loss(self, real: Tensor, fake: Tensor, controls: Controls) -> Tensor:
        """D's loss without the penalty: real term + fake term, a scalar."""
        raise NotImplementedError

    def g_loss(self, real: Tensor | None, fake: Tensor, controls: Controls) -> Tensor:
        """G's loss, a scalar; ``real`` is given only where ``g_needs_real``."""
        raise NotImplementedError

    def penalty(
        self,
        critic: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        generator: Generator,
    ) -> Penalty | None:
        """The loss's own gradient penalty for one D batch, None where it has none."""
        return None

    def accuracy(self, real: Tensor, fake: Tensor, auc: Tensor) -> tuple[Tensor, Tensor]:
        """D's accuracy on real and on fake, 0..1.

        Without a threshold both are the ranking rate P(r > f) + P(r = f)/2, which is the AUC.
        """
        if self.threshold is None:
            return auc, auc
        return (real > self.threshold).float().mean(), (fake < self.threshold).float().mean()

    def equilibrium(self, label_smoothing: float = 0.0) -> Equilibrium:
        """Where the guide lines are drawn: the loss of the best D against a perfect G."""
        return Equilibrium(None, None)


class _Logistic(Loss):
    """Binary cross-entropy on logits (Goodfellow et al. 2014)."""

    uses = frozenset({"label_smoothing"})

    def d_loss(self, real: Tensor, fake: Tensor, controls: Controls) -> Tensor:
        d_loss = softplus(-real).mean() + softplus(fake).mean()
        if controls.label_smoothing:
            # Target t = 1 - s on reals: t sp(-r) + (1-t) sp(r) = sp(-r) + s r.
            d_loss = d_loss + controls.label_smoothing * real.mean()
        return d_loss

    def _best_d(self, label_smoothing: float) -> float:
        """The probability that the best D gives both reals and fakes: half the real target."""
        return (1 - label_smoothing) / 2


class NonSaturating(_Logistic):
    """G maximises log D(G(z)) (Goodfellow et al. 2014)."""

    name = "non_saturating"
    title = "non-saturating"
    help = "G maximises log D(G(z)): its gradient lives on while D is winning."

    def g_loss(self, real: Tensor | None, fake: Tensor, controls: Controls) -> Tensor:
        return softplus(-fake).mean()

    def equilibrium(self, label_smoothing: float = 0.0) -> Equilibrium:
        p = self._best_d(label_smoothing)
        return Equilibrium(-2 * p * math.log(p) - 2 * (1 - p) * math.log1p(-p), -math.log(p))


class Minimax(_Logistic):
    """G minimises log(1 - D(G(z))), the game as first written (Goodfellow et al. 2014)."""

    name = "minimax"
    title = "minimax (saturating)"
    help = "G minimises log(1 - D(G(z))): its gradient fades once D is winning."

    def g_loss(self, real: Tensor | None, fake: Tensor, controls: Controls) -> Tensor:
        return -softplus(fake).mean()

    def equilibrium(self, label_smoothing: float = 0.0) -> Equilibrium:
        p = self._best_d(label_smoothing)
        return Equilibrium(-2 * p * math.log(p) - 2 * (1 - p) * math.log1p(-p), math.log1p(-p))


class LeastSquares(Loss):
    """Least squares with targets 0, 1 and 1 (Mao et al. 2017)."""

    name = "lsgan"
    title = "LSGAN"
    help = "Squared distance of D's raw scores to 1 for real and 0 for fake."
    uses = frozenset({"label_smoothing"})
    threshold = 0.5
    accuracy_help = "share on the right side of score 0.5"

    def d_loss(self, real: Tensor, fake: Tensor, controls: Controls) -> Tensor:
        target = 1 - controls.label_smoothing
        return 0.5 * (real - target).square().mean() + 0.5 * fake.square().mean()

    def g_loss(self, real: Tensor | None, fake: Tensor, controls: Controls) -> Tensor:
        return 0.5 * (fake - 1).square().mean()

    def equilibrium(self, label_smoothing: float = 0.0) -> Equilibrium:
        score = (1 - label_smoothing) / 2
        return Equilibrium(score**2, 0.5 * (score - 1) ** 2)


class Hinge(Loss):
    """Hinge with margin 1 (Lim and Ye 2017; Miyato et al. 2018)."""

    name = "hinge"
    title = "hinge"
    help = "D stops caring about samples beyond a margin of 1; G raises its mean score."

    def d_loss(self, real: Tensor, fake: Tensor, controls: Controls) -> Tensor:
        return (1 - real).relu().mean() + (1 + fake).relu().mean()

    def g_loss(self, real: Tensor | None, fake: Tensor, controls: Controls) -> Tensor:
        return -fake.mean()

    def equilibrium(self, label_smoothing: float = 0.0) -> Equilibrium:
        return Equilibrium(2.0, 0.0)


class Wasserstein(Loss):
    """Wasserstein distance by weight clipping (Arjovsky et al. 2017)."""

    name = "wgan"
    title = "WGAN (clipped)"
    help = "D is a critic with weights held in -clip..clip; -D loss estimates the distance."
    uses = frozenset({"clip"})
    clips_weights = True
    threshold = None
    accuracy_help = "ranking rate P(real score > fake score): a critic has no threshold"

    def d_loss(self, real: Tensor, fake: Tensor, controls: Controls) -> Tensor:
        return fake.mean() - real.mean()

    def g_loss(self, real: Tensor | None, fake: Tensor, controls: Controls) -> Tensor:
        return -fake.mean()

    def equilibrium(self, label_smoothing: float = 0.0) -> Equilibrium:
        return Equilibrium(0.0, None)


class WassersteinGP(Wasserstein):
    """Wasserstein distance with a gradient penalty (Gulrajani et al. 2017)."""

    name = "wgan_gp"
    title = "WGAN-GP"
    help = "A critic whose gradient is held at norm 1 between real and fake samples."
    uses = frozenset({"penalty_weight"})
    clips_weights = False

    def penalty(
        self,
        critic: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        generator: Generator,
    ) -> Penalty:
        """E(|grad D(x)| - 1)^2 at x = e real + (1 - e) fake, e ~ U(0,1) for each sample."""
        import torch

        shape = (len(real), *(1,) * (real.dim() - 1))
        mix = torch.rand(shape, generator=generator, device=real.device)
        x = (mix * real + (1 - mix) * fake).requires_grad_()
        (grad,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        norm = grad.flatten(1).norm(dim=1)
        return Penalty((norm - 1).square().mean(), norm.mean().detach())


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        NonSaturating(),
        Minimax(),
        LeastSquares(),
        Hinge(),
        Wasserstein(),
        WassersteinGP(),
    )
}
