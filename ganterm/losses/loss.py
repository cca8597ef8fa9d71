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
    """The losses of D and G when D cannot tell fakes from reals; None where undefined."""

    d: float | None
    g: float | None


class Penalty(NamedTuple):
    """A gradient penalty before weighting, and the mean gradient norm behind it; both scalars."""

    value: Tensor
    grad_norm: Tensor


@dataclass(frozen=True)
class LossContext:
    """What a loss may use besides the scores.

    ``random``: generator of the loss's own random numbers. ``balance``: BEGAN's k, a scalar on the
    device that the loss updates and that lasts as long as the run. ``code`` (batch, n): codes of
    the fakes from a D that is an autoencoder.
    """

    controls: Controls
    random: Generator | None = None
    balance: Tensor | None = None
    code: Tensor | None = None


class Loss:
    """An adversarial loss. Scores are float tensors of shape (batch,).

    ``d_kind``: the kind of D that it needs. ``uses``: the controls that this loss reads and not
    every loss does. ``threshold``: the score that separates real from fake, None without one.
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
        """G's loss, a scalar; ``real`` is None unless ``g_needs_real``."""
        raise NotImplementedError

    def penalty(
        self, critic: Critic, real: Tensor, fake: Tensor, context: LossContext
    ) -> Penalty | None:
        """The loss's own gradient penalty for one D batch; None if it has none."""
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
        """The losses when the best D meets a perfect G; charts mark them with guide lines."""
        return Equilibrium(None, None)


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), computed without overflow."""
    from torch.nn import functional

    return functional.softplus(x)


LABELS = frozenset({"label_smoothing", "label_noise"})
"""The controls that act only on losses with target values for D's scores."""


def targets(
    real: Tensor, fake: Tensor, context: LossContext
) -> tuple[float | Tensor, float | Tensor]:
    """Target values for the scores of reals and fakes, 1 = real, 0 = fake.

    Each is one number, or (batch,) with label noise. One-sided smoothing lowers the target of the
    reals (Salimans et al. 2016). Label noise moves the target of each sample towards the other
    side by U(0, label_noise).
    """
    import torch

    controls = context.controls
    target_real: float | Tensor = 1 - controls.label_smoothing
    target_fake: float | Tensor = 0.0
    if controls.label_noise:
        shape = (2, *real.shape)
        noise = torch.rand(shape, generator=context.random, device=real.device, dtype=real.dtype)
        target_real = target_real - controls.label_noise * noise[0]
        target_fake = controls.label_noise * noise[1]
    return target_real, target_fake
