"""D at work: what it is shown, and what it says to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganterm.core.controls import Controls
from ganterm.losses.loss import Critic
from ganterm.networks.modules.shells import DiscriminatorOutput
from ganterm.sections import Precision
from ganterm.training.batches import Latent


class Judging:
    """D's verdicts on samples, told their labels where it is told any; G's codes it never is.

    ``pack`` samples of one kind are shown as one. ``noise`` draws what is done to D's inputs and
    sides at random. ``forward``: D's forward pass, by default the module's.
    """

    def __init__(
        self,
        discriminator: nn.Module,
        latent: Latent,
        noise: torch.Generator,
        pack: int = 1,
        forward: Forward | None = None,
    ) -> None:
        self._forward = discriminator if forward is None else forward
        self._latent = latent
        self._noise = noise
        self.pack = pack
        # Batch statistics would mix real and fake; without them one pass over both is the same.
        self.joint = not any(
            isinstance(m, nn.modules.batchnorm._BatchNorm) for m in discriminator.modules()
        )

    def shown(self, samples: Tensor, level: float | Tensor | None, dropout: float) -> Tensor:
        """What D gets to see: packed, with instance noise of a ``level``, and input ``dropout``."""
        samples = self.packed(samples)
        if level is not None:
            noise = torch.empty_like(samples).normal_(generator=self._noise)
            samples = samples + level * noise
        if dropout:
            samples = functional.dropout(samples, dropout)
        return samples

    def packed(self, samples: Tensor) -> Tensor:
        """Samples (n, channels, ...) as (n / pack, pack * channels, ...)."""
        if self.pack == 1:
            return samples
        return samples.reshape(-1, self.pack * samples.shape[1], *samples.shape[2:])

    def judged(self, samples: Tensor, labels: Tensor | None) -> DiscriminatorOutput:
        """D's verdict on what it is shown, with the labels of the samples, where they have any."""
        told = () if labels is None or self._latent.codes else (labels,)
        judged = self._forward(samples, *told)
        return judged if isinstance(judged, DiscriminatorOutput) else DiscriminatorOutput(judged)

    def both(
        self, real: Tensor, fake: Tensor, labels: Tensor | None
    ) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
        """D's verdicts on reals and fakes of the same labels."""
        if not self.joint:
            return self.judged(real, labels), self.judged(fake, labels)
        twice = None if labels is None else torch.cat([labels, labels])
        both = self.judged(torch.cat([real, fake]), twice)
        halves = [(None, None) if part is None else part.chunk(2) for part in both[1:]]
        of_real, of_fake = zip(*halves, strict=True)
        scores_real, scores_fake = both.scores.chunk(2)
        return DiscriminatorOutput(scores_real, *of_real), DiscriminatorOutput(
            scores_fake, *of_fake
        )

    def critic(self, labels: Tensor | None) -> Critic:
        """D's scores as a function of samples alone; one or two batches with these labels."""

        def critic(samples: Tensor) -> Tensor:
            if labels is None:
                return self.judged(samples, None).scores
            return self.judged(samples, labels.repeat(len(samples) // len(labels))).scores

        return critic

    def flipped(self, real: Tensor, fake: Tensor, controls: Controls) -> tuple[Tensor, Tensor]:
        """The scores of both sides, some of them swapped where labels are to be flipped."""
        if not controls.label_flips:
            return real, fake
        draws = torch.rand(real.shape, generator=self._noise, device=real.device)
        swap = draws < controls.label_flips
        return torch.where(swap, fake, real), torch.where(swap, real, fake)

    def labels_told(
        self,
        real: DiscriminatorOutput,
        fake: DiscriminatorOutput,
        labels: Tensor | None,
        codes: Tensor | None,
    ) -> dict[str, Tensor]:
        """What D's label head makes of a batch: its loss and how often it is right.

        ``labels`` are those of the reals, ``codes`` those that the fakes were made for.
        """
        if fake.logits is None or codes is None:
            return {}
        told = {
            "label_loss_d": functional.cross_entropy(fake.logits, codes),
            "label_acc_fake": (fake.logits.argmax(1) == codes).float().mean(),
        }
        if not self._latent.codes and real.logits is not None and labels is not None:
            of_real = functional.cross_entropy(real.logits, labels)
            told["label_loss_d"] = told["label_loss_d"] + of_real
            told["label_acc_real"] = (real.logits.argmax(1) == labels).float().mean()
        return told


def noise_level(controls: Controls, step: int) -> float | None:
    """The instance noise of the iteration that follows ``step`` (Sonderby et al. 2017: it fades).

    None where there is none.
    """
    level = controls.instance_noise
    if controls.noise_steps:
        level *= max(0.0, 1 - step / controls.noise_steps)
    return level or None


# A network's forward pass as the training takes it: in the run's precision, perhaps compiled.

Forward = Callable[..., Any]
"""As the module itself: of samples or noise, and labels where there are any."""


@dataclass(frozen=True)
class Forwards:
    """How forward passes are taken; what they return is float32 either way.

    Penalties differentiate a pass twice, which compiled graphs cannot and bfloat16 should not:
    they take the module itself.
    """

    precision: Precision = "float32"
    compiled: bool = False

    @property
    def plain(self) -> bool:
        """Whether a pass is that of the module itself."""
        return self.precision == "float32" and not self.compiled

    def of(self, module: nn.Module, device: torch.device) -> Forward:
        """The pass of a module that lies on ``device``; its weights, and their names, stay its."""
        # Whole or an error: a part that silently stays as it was would be no compilation.
        forward = _compiled(module) if self.compiled else module
        if self.precision == "float32":
            return forward

        def lowered(*inputs: Tensor) -> Any:
            with torch.autocast(device.type, torch.bfloat16):
                return _float32(forward(*inputs))

        return lowered


PLAIN = Forwards()


def _compiled(module: nn.Module) -> Forward:
    return torch.compile(module, fullgraph=True, dynamic=False)


def _float32(made: Tensor | DiscriminatorOutput) -> Tensor | DiscriminatorOutput:
    if not isinstance(made, DiscriminatorOutput):
        return made.float()
    scores, *others = made
    return DiscriminatorOutput(
        scores.float(), *(None if part is None else part.float() for part in others)
    )
