"""What one iteration is played with, all of it decided before it starts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace

from torch import Tensor

from ganterm.core.controls import Controls
from ganterm.losses import LOSSES
from ganterm.losses.loss import Loss
from ganterm.training.optim import Rate

Batch = tuple[Tensor, Tensor | None]
"""Real samples (n, ...) and their labels (n,), where the networks are told any."""


def reals(controls: Controls) -> int:
    """How many real batches an iteration under these controls takes."""
    return controls.k + controls.l * LOSSES[controls.loss].g_needs_real


@dataclass(frozen=True)
class Turn:
    """One iteration's controls, and what follows from them and from where the training stands.

    ``regularised``: for each of the k updates of D, whether R1 and R2 are taken; ``noise``: the
    level of the instance noise, None without. ``lr_d``, ``lr_g`` and ``noise`` are numbers, or
    scalars on the device. ``next_batch`` draws as ``RealBatches`` does.
    """

    controls: Controls
    regularised: tuple[bool, ...]
    lr_d: Rate
    lr_g: Rate
    noise: Rate | None
    next_batch: Callable[[], Batch]

    @property
    def loss(self) -> Loss:
        """The loss that is in force."""
        return LOSSES[self.controls.loss]

    @property
    def reals(self) -> int:
        """How many real batches it takes."""
        return reals(self.controls)

    @property
    def settings(self) -> Controls:
        """The controls without those that ``lr_d``, ``lr_g`` and ``noise`` are taken from, and
        without the averaged G's.

        Turns of the same settings and ``kind`` are the same work for the device, on other numbers.
        """
        return replace(
            self.controls, lr_d=1.0, lr_g=1.0, instance_noise=0.0, noise_steps=0, ema=0.0
        )

    @property
    def kind(self) -> Hashable:
        """What of the device's work does not follow from the settings."""
        return self.regularised, self.noise is None

    def fed(self, batches: Iterable[Batch]) -> Turn:
        """The same on given batches; what is done to them in an iteration, it does to views."""
        return replace(self, next_batch=((x.detach(), labels) for x, labels in batches).__next__)
