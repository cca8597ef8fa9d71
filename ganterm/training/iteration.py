"""One iteration: k updates of D, then l updates of G, and what is measured on the way.

Nothing in here reads a value back from the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganterm.controls import Controls
from ganterm.diagnosis.diversity import relative_diversity
from ganterm.diagnosis.norms import first_nonfinite, norms
from ganterm.diagnosis.scores import auc
from ganterm.losses import LOSSES, Loss
from ganterm.presets import OptimizerSection
from ganterm.session.metrics import ON_DEVICE
from ganterm.training.batches import Batches
from ganterm.training.buffers import BufferGuard
from ganterm.training.optimizers import GuardedOptimizer
from ganterm.training.weights import Weights, flattened


class Game:
    """G and D, their optimizers and their sources of randomness; ``play`` runs one iteration."""

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        optimizer: OptimizerSection,
        batches: Batches,
        latent_dim: int,
        noise: torch.Generator,
    ) -> None:
        self.generator = generator.train()
        self.discriminator = discriminator.train()
        self.weights_g = Weights(generator)
        self.weights_d = Weights(discriminator)
        self.optimizer_g = GuardedOptimizer(optimizer, self.weights_g.flat)
        self.optimizer_d = GuardedOptimizer(optimizer, self.weights_d.flat)
        self.batches = batches
        self.latent_dim = latent_dim
        self.noise = noise
        self.buffers = BufferGuard(generator, discriminator)
        # Batch statistics would mix real and fake; without them one pass over both is the same.
        self._joint = not any(
            isinstance(m, nn.modules.batchnorm._BatchNorm) for m in discriminator.modules()
        )

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return self.weights_g.flat.device

    def refused_names(self, network: str) -> list[str]:
        """What a non-finite value was found in, in the order looked at; ``network`` is G or D."""
        weights = self.weights_g if network == "G" else self.weights_d
        gradients = [f"the gradient of {network}'s {name}" for name in weights.names]
        return [f"{network} loss", *(["the penalty"] if network == "D" else []), *gradients]

    def play(self, controls: Controls) -> list[Tensor]:
        """One iteration; returns the scalars of ``metrics.ON_DEVICE``, in that order."""
        loss = LOSSES[controls.loss]
        d_updates = [self._update_d(loss, controls) for _ in range(controls.k)]
        g_updates = [self._update_g(loss, controls) for _ in range(controls.l)]
        measured = d_updates[-1].measured
        measured["d_loss"] = _mean([u.loss for u in d_updates])
        measured["g_loss"] = _mean([u.loss for u in g_updates])
        measured["penalty"] = _mean([u.penalty for u in d_updates])
        measured["grad_norm_d"] = _largest([u.grad_norm for u in d_updates])
        measured["grad_norm_g"] = _largest([u.grad_norm for u in g_updates])
        measured["refused_d"] = _first([u.refused for u in d_updates])
        measured["refused_g"] = _first([u.refused for u in g_updates])
        measured["weight_norm_d"] = self.weights_d.flat.detach().norm()
        measured["weight_norm_g"] = self.weights_g.flat.detach().norm()
        return [measured[name] for name in ON_DEVICE]

    def draw_noise(self) -> Tensor:
        """Fresh latents z ~ N(0, 1), shape (batch, latent_dim)."""
        return torch.randn(
            self.batches.batch_size, self.latent_dim, generator=self.noise, device=self.device
        )

    def _update_d(self, loss: Loss, controls: Controls) -> _Update:
        self.buffers.keep()
        batch = self.batches.next()
        with torch.no_grad():
            made = self.generator(self.draw_noise())
        real, fake = self._shown(batch, controls), self._shown(made, controls)
        if self._joint:
            scores_real, scores_fake = self.discriminator(torch.cat([real, fake])).chunk(2)
        else:
            scores_real, scores_fake = self.discriminator(real), self.discriminator(fake)
        d_loss = loss.d_loss(scores_real, scores_fake, controls)
        penalty = loss.penalty(self.discriminator, real, fake, self.noise)
        total = d_loss if penalty is None else d_loss + controls.penalty_weight * penalty.value
        nothing = d_loss.new_zeros(())
        update = self._apply(
            self.weights_d,
            self.optimizer_d,
            total,
            [d_loss.detach(), nothing if penalty is None else penalty.value.detach()],
            controls.lr_d,
        )
        if loss.clips_weights:
            self.weights_d.flat.detach().clamp_(-controls.clip, controls.clip)
        with torch.no_grad():
            real_std, real_mean = torch.std_mean(scores_real)
            fake_std, fake_mean = torch.std_mean(scores_fake)
            rank = auc(scores_real, scores_fake)
            acc_real, acc_fake = loss.accuracy(scores_real, scores_fake, rank)
            update.measured = {
                "d_acc_real": acc_real,
                "d_acc_fake": acc_fake,
                "d_auc": rank,
                "score_real": real_mean,
                "score_real_std": real_std,
                "score_fake": fake_mean,
                "score_fake_std": fake_std,
                "penalty_norm": nothing if penalty is None else penalty.grad_norm,
                "diversity": relative_diversity(made, batch),
            }
        return update

    def _update_g(self, loss: Loss, controls: Controls) -> _Update:
        self.buffers.keep()
        fake = self.discriminator(self._shown(self.generator(self.draw_noise()), controls))
        real = None
        if loss.g_needs_real:
            real = self.discriminator(self._shown(self.batches.next(), controls))
        g_loss = loss.g_loss(real, fake, controls)
        return self._apply(
            self.weights_g, self.optimizer_g, g_loss, [g_loss.detach()], controls.lr_g
        )

    def _apply(
        self,
        weights: Weights,
        optimizer: GuardedOptimizer,
        total: Tensor,
        looked_at: list[Tensor],
        rate: float,
    ) -> _Update:
        """One update from the gradient of ``total``; not applied where anything is not finite."""
        gradients = weights.gradients(total)
        each = norms(gradients)
        refused = first_nonfinite(torch.cat([torch.stack(looked_at), each]))
        flag = refused.clamp(max=1)
        optimizer.step(flattened(gradients), rate, flag)
        self.buffers.put_back_where(flag)
        return _Update(looked_at[0], looked_at[-1], each.norm(), refused)

    def _shown(self, samples: Tensor, controls: Controls) -> Tensor:
        """What D gets to see: with instance noise and input dropout where they are on."""
        if controls.instance_noise:
            noise = torch.empty_like(samples).normal_(generator=self.noise)
            samples = samples + controls.instance_noise * noise
        if controls.d_input_dropout:
            samples = functional.dropout(samples, controls.d_input_dropout)
        return samples


class _Update:
    """What one update of one network left behind, all scalars on the device."""

    def __init__(self, loss: Tensor, penalty: Tensor, grad_norm: Tensor, refused: Tensor) -> None:
        self.loss = loss
        self.penalty = penalty
        self.grad_norm = grad_norm
        self.refused = refused
        self.measured: dict[str, Tensor] = {}


def _mean(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(list(values)).mean()


def _largest(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(list(values)).amax()


def _first(values: Sequence[Tensor]) -> Tensor:
    """The first of the values that is not 0, or 0."""
    found = values[0]
    for value in values[1:]:
        found = torch.where(found > 0, found, value)
    return found
