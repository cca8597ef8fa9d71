"""What every adversarial loss has in common.

Every discriminator returns raw scores and larger means more real; a loss turns scores into its own
quantity, so the loss can be swapped while training runs. All losses are to be minimised, and D's is
the sum of a real and a fake term.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from ganterm.core.controls import Controls
    from ganterm.networks.options import DKind

Critic = Callable[["Tensor"], "Tensor"]
"""From samples (batch, ...) to raw scores (batch,)."""


class Equilibrium(NamedTuple):
    """The loss values of D and G where fakes cannot be told from reals; None where undefined."""

    d: float | None
    g: float | None


class Penalty(NamedTuple):
    """A gradient penalty before its weight, and the mean gradient norm it looks at (scalars)."""

    value: Tensor
    grad_norm: Tensor


@dataclass(frozen=True)
class LossContext:
    """What a loss may look at beside the scores.

    ``random`` draws what a loss draws; ``balance`` is a scalar on the device that belongs to the
    loss and lives as long as the run (BEGAN's k); ``code`` (batch, n) is what an autoencoding D
    made of the fakes.
    """

    controls: Controls
    random: Generator | None = None
    balance: Tensor | None = None
    code: Tensor | None = None


class Loss:
    """An adversarial loss. Scores are float tensors of shape (batch,).

    ``d_kind`` is the kind of D that it needs; ``uses`` names the controls that are read under this
    loss but not under every loss; ``threshold`` is the score between real and fake.
    """

    name: str
    title: str
    help: str
    d_kind: DKind = "score"
    uses: frozenset[str] = frozenset()
    clips_weights = False
    g_needs_real = False
    threshold: float | None = 0.0
    accuracy_help = "share on the right side of score 0"

    def d_loss(self, real: Tensor, fake: Tensor, context: LossContext) -> Tensor:
        """D's loss without the penalty: real term + fake term, a scalar."""
        raise NotImplementedError

    def g_loss(self, real: Tensor | None, fake: Tensor, context: LossContext) -> Tensor:
        """G's loss, a scalar; ``real`` is given only where ``g_needs_real``."""
        raise NotImplementedError

    def penalty(
        self, critic: Critic, real: Tensor, fake: Tensor, context: LossContext
    ) -> Penalty | None:
        """The loss's own gradient penalty for one D batch, None where it has none."""
        return None

    def after_update(self, real: Tensor, fake: Tensor, context: LossContext) -> Tensor | None:
        """Update ``context.balance`` after a D update; return the convergence measure, if any."""
        return None

    def accuracy(self, real: Tensor, fake: Tensor, auc: Tensor) -> tuple[Tensor, Tensor]:
        """D's accuracy on real and on fake, 0..1.

        Without a threshold both are the ranking rate P(r > f) + P(r = f)/2, which is the AUC.
        """
        if self.threshold is None:
            return auc, auc
        return (real > self.threshold).float().mean(), (fake < self.threshold).float().mean()

    def boundary(self, real: Tensor, fake: Tensor) -> float | None:
        """The score above which D takes a sample for real; None where only differences count."""
        return self.threshold

    def equilibrium(self, controls: Controls) -> Equilibrium:
        """Where the guide lines are drawn: the loss of the best D against a perfect G."""
        return Equilibrium(None, None)


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), computed without overflow."""
    from torch.nn import functional

    return functional.softplus(x)


LABELS = frozenset({"label_smoothing", "label_noise"})
"""The controls of a loss whose scores have targets."""


def targets(
    real: Tensor, fake: Tensor, context: LossContext
) -> tuple[float | Tensor, float | Tensor]:
    """The targets of real and fake scores between 0 (fake) and 1 (real), each (batch,) or a number.

    One-sided smoothing lowers the reals' (Salimans et al. 2016); noise moves each sample's towards
    the other side by U(0, label_noise).
    """
    import torch

    controls = context.controls
    for_real: float | Tensor = 1 - controls.label_smoothing
    for_fake: float | Tensor = 0.0
    if controls.label_noise:
        shape = (2, *real.shape)
        noise = torch.rand(shape, generator=context.random, device=real.device, dtype=real.dtype)
        for_real = for_real - controls.label_noise * noise[0]
        for_fake = controls.label_noise * noise[1]
    return for_real, for_fake
