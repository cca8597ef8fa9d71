"""Forward passes: D on reals and fakes, and how a pass runs (precision, compilation)."""

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
from ganterm.training.torch_internals import BatchNorm

Forward = Callable[..., Any]
"""A network's forward pass: of samples or noise, and labels where the network takes any."""


@dataclass(frozen=True)
class Forwards:
    """How updates run the networks. Outputs are float32 either way.

    Gradient penalties differentiate a pass twice. Compiled graphs cannot do that and bfloat16 is
    too coarse for it, so penalties call the module itself.
    """

    precision: Precision = "float32"
    compiled: bool = False

    @property
    def plain(self) -> bool:
        """Whether a pass is a plain call of the module."""
        return self.precision == "float32" and not self.compiled

    def of(self, module: nn.Module, device: torch.device) -> Forward:
        """The pass of a module on ``device``; it shares the module's weights."""
        # fullgraph: an error is better than a part that silently stays uncompiled.
        forward = torch.compile(module, fullgraph=True, dynamic=False) if self.compiled else module
        if self.precision == "float32":
            return forward

        def autocast(*inputs: Tensor) -> Any:
            with torch.autocast(device.type, torch.bfloat16):
                return _float32(forward(*inputs))

        return autocast


PLAIN = Forwards()


def _float32(output: Tensor | DiscriminatorOutput) -> Tensor | DiscriminatorOutput:
    if not isinstance(output, DiscriminatorOutput):
        return output.float()
    scores, *others = output
    return DiscriminatorOutput(
        scores.float(), *(None if part is None else part.float() for part in others)
    )


class DiscriminatorPasses:
    """Runs D on samples, with the data's labels where D takes any; D never sees G's codes.

    D sees ``pack`` samples of one kind as one. Instance noise and label flips draw from ``noise``.
    ``forward`` is D's forward pass, the module's own by default.
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
        # Batch norm must not mix reals and fakes; without it one pass over both gives the same.
        self.joint = not any(isinstance(m, BatchNorm) for m in discriminator.modules())

    def inputs(self, samples: Tensor, level: float | Tensor | None, dropout: float) -> Tensor:
        """Samples as D sees them in an update: in packs, with instance noise and input dropout.

        ``level`` is the noise's standard deviation, None without noise; ``dropout`` is 0..1.
        """
        samples = self.as_packs(samples)
        if level is not None:
            noise = torch.empty_like(samples).normal_(generator=self._noise)
            samples = samples + level * noise
        if dropout:
            samples = functional.dropout(samples, dropout)
        return samples

    def as_packs(self, samples: Tensor) -> Tensor:
        """Samples (n, channels, ...) as packs (n / pack, pack * channels, ...)."""
        if self.pack == 1:
            return samples
        return samples.reshape(-1, self.pack * samples.shape[1], *samples.shape[2:])

    def output(self, packs: Tensor, labels: Tensor | None) -> DiscriminatorOutput:
        """D's output for a batch of packs with these labels."""
        inputs = () if labels is None or self._latent.codes else (labels,)
        output = self._forward(packs, *inputs)
        return output if isinstance(output, DiscriminatorOutput) else DiscriminatorOutput(output)

    def outputs(
        self, real: Tensor, fake: Tensor, labels: Tensor | None
    ) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
        """D's outputs for reals and fakes of the same labels."""
        if not self.joint:
            return self.output(real, labels), self.output(fake, labels)
        twice = None if labels is None else torch.cat([labels, labels])
        both = self.output(torch.cat([real, fake]), twice)
        halves = [(None, None) if part is None else part.chunk(2) for part in both[1:]]
        rest_real, rest_fake = zip(*halves, strict=True)
        scores_real, scores_fake = both.scores.chunk(2)
        return DiscriminatorOutput(scores_real, *rest_real), DiscriminatorOutput(
            scores_fake, *rest_fake
        )

    def critic(self, labels: Tensor | None) -> Critic:
        """D's scores as a function of packs alone: of one or two batches with these labels."""

        def critic(packs: Tensor) -> Tensor:
            if labels is None:
                return self.output(packs, None).scores
            return self.output(packs, labels.repeat(len(packs) // len(labels))).scores

        return critic

    def flip_scores(self, real: Tensor, fake: Tensor, controls: Controls) -> tuple[Tensor, Tensor]:
        """Both sides' scores, a share ``label_flips`` of the pairs swapped."""
        if not controls.label_flips:
            return real, fake
        draws = torch.rand(real.shape, generator=self._noise, device=real.device)
        swap = draws < controls.label_flips
        return torch.where(swap, fake, real), torch.where(swap, real, fake)

    def label_metrics(
        self,
        real: DiscriminatorOutput,
        fake: DiscriminatorOutput,
        labels: Tensor | None,
        codes: Tensor | None,
    ) -> dict[str, Tensor]:
        """The loss and accuracies of D's label head on a batch; empty without such a head.

        ``labels`` belong to the reals, ``codes`` to the fakes.
        """
        if fake.logits is None or codes is None:
            return {}
        metrics = {
            "label_loss_d": functional.cross_entropy(fake.logits, codes),
            "label_acc_fake": (fake.logits.argmax(1) == codes).float().mean(),
        }
        if not self._latent.codes and real.logits is not None and labels is not None:
            loss_real = functional.cross_entropy(real.logits, labels)
            metrics["label_loss_d"] = metrics["label_loss_d"] + loss_real
            metrics["label_acc_real"] = (real.logits.argmax(1) == labels).float().mean()
        return metrics


def noise_level(controls: Controls, step: int) -> float | None:
    """The instance noise of the iteration after ``step`` (Sonderby et al. 2017), None without.

    It fades to 0 over ``noise_steps`` steps.
    """
    level = controls.instance_noise
    if controls.noise_steps:
        level *= max(0.0, 1 - step / controls.noise_steps)
    return level or None
