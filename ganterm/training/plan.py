"""The plan of one iteration: everything about it that is decided before it starts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace

from torch import Tensor

from ganterm.core.controls import Controls
from ganterm.losses import LOSSES
from ganterm.losses.loss import Loss
from ganterm.training.optim import Rate

Batch = tuple[Tensor, Tensor | None]
"""Real samples (n, ...) and their labels (n,), where the networks take any."""


def real_batches(controls: Controls) -> int:
    """How many real batches an iteration under these controls draws."""
    return controls.k + controls.l * LOSSES[controls.loss].g_needs_real


@dataclass(frozen=True)
class IterationPlan:
    """An iteration's controls, and what follows from them and from the step.

    ``regularised`` says for each of the k updates of D whether R1 and R2 are taken. ``noise`` is
    the level of the instance noise, None without. ``lr_d``, ``lr_g`` and ``noise`` are numbers, or
    scalars on the device. ``next_batch`` draws as ``RealBatches.next`` does.
    """

    controls: Controls
    regularised: tuple[bool, ...]
    lr_d: Rate
    lr_g: Rate
    noise: Rate | None
    next_batch: Callable[[], Batch]

    @property
    def loss(self) -> Loss:
        """The loss in force."""
        return LOSSES[self.controls.loss]

    @property
    def real_batches(self) -> int:
        """How many real batches the iteration draws."""
        return real_batches(self.controls)

    @property
    def settings(self) -> Controls:
        """The controls without those that may change while a CUDA graph stays valid.

        Those are the learning rates and the noise level, which lie in tensors, and ``ema``, since
        the averaged G is updated outside the graph. Plans of the same settings and ``kind`` run the
        same kernels on other numbers.
        """
        return replace(
            self.controls, lr_d=1.0, lr_g=1.0, instance_noise=0.0, noise_steps=0, ema=0.0
        )

    @property
    def kind(self) -> Hashable:
        """What decides which kernels run, beside the settings."""
        return self.regularised, self.noise is None

    def with_batches(self, batches: Iterable[Batch]) -> IterationPlan:
        """The same plan on given batches, which its iteration only sees through views."""
        return replace(self, next_batch=((x.detach(), labels) for x, labels in batches).__next__)
