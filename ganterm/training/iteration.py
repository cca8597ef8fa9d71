"""One iteration: k updates of D, then l updates of G, and what is measured on the way.

Nothing in here reads a value back from the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganterm.controls import Controls
from ganterm.diagnosis.diversity import relative_diversity
from ganterm.diagnosis.norms import first_nonfinite, norms
from ganterm.diagnosis.scores import auc
from ganterm.losses import LOSSES
from ganterm.losses.loss import Critic, Loss, Penalty, Play
from ganterm.losses.penalties import squared_norms
from ganterm.networks.modules.shells import Judged
from ganterm.presets import OptimizerSection
from ganterm.session.metrics import ON_DEVICE
from ganterm.training.average import Average
from ganterm.training.batches import RealBatches
from ganterm.training.buffers import BufferGuard
from ganterm.training.latent import Latent
from ganterm.training.optimizers import GuardedOptimizer
from ganterm.training.weights import Weights, flattened


@dataclass
class Update:
    """What one update of one network left behind, all scalars on the device."""

    loss: Tensor
    grad_norm: Tensor
    refused: Tensor
    measured: dict[str, Tensor] = field(default_factory=dict)


class Game:
    """G and D, their optimizers and their sources of randomness; ``play`` runs one iteration.

    ``average`` follows G; ``balance`` is the loss's own scalar; ``squares`` are the newest R1, R2
    unweighted; ``step`` and ``d_updates`` count what was done. ``pack`` samples of one
    kind are shown to D as one.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        optimizer: OptimizerSection,
        batches: RealBatches,
        latent: Latent,
        noise: torch.Generator,
        pack: int = 1,
    ) -> None:
        self.generator = generator.train()
        self.discriminator = discriminator.train()
        self.weights_g = Weights(generator)
        self.weights_d = Weights(discriminator)
        self.optimizer_g = GuardedOptimizer(optimizer, self.weights_g.flat)
        self.optimizer_d = GuardedOptimizer(optimizer, self.weights_d.flat)
        self.buffers = BufferGuard(generator, discriminator)
        self.average = Average(generator)
        self.batches = batches
        self.latent = latent
        self.noise = noise
        self.balance = torch.zeros((), device=self.device)
        self.step = 0
        self.d_updates = 0
        self._pack = pack
        self._nothing = torch.zeros((), device=self.device)
        self.squares = (self._nothing, self._nothing)
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
        return [f"{network} loss", f"{network}'s added terms", *gradients]

    def play(self, controls: Controls) -> list[Tensor]:
        """One iteration; returns the scalars of ``metrics.ON_DEVICE``, in that order."""
        loss = LOSSES[controls.loss]
        d_updates = [self._update_d(loss, controls) for _ in range(controls.k)]
        g_updates = [self._update_g(loss, controls) for _ in range(controls.l)]
        self.step += 1
        if controls.ema:
            self.average.follow(self.generator, self.weights_g, self.step, controls.ema)
        measured = d_updates[-1].measured
        measured["d_loss"] = _mean([u.loss for u in d_updates])
        measured["g_loss"] = _mean([u.loss for u in g_updates])
        measured["penalty"] = _mean([u.measured["penalty"] for u in d_updates])
        measured["grad_norm_d"] = _largest([u.grad_norm for u in d_updates])
        measured["grad_norm_g"] = _largest([u.grad_norm for u in g_updates])
        measured["refused_d"] = _first([u.refused for u in d_updates])
        measured["refused_g"] = _first([u.refused for u in g_updates])
        measured["weight_norm_d"] = self.weights_d.flat.detach().norm()
        measured["weight_norm_g"] = self.weights_g.flat.detach().norm()
        measured["r1"], measured["r2"] = self.squares
        measured["balance"] = self.balance
        return [measured.get(name, self._nothing) for name in ON_DEVICE]

    def sample(self, count: int, random: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """``count`` fakes and the labels they were made for, or None; all drawn from ``random``."""
        noise = self.latent.draw(count, random)
        labels = self._labels(count, random)
        made = self.generator(noise) if labels is None else self.generator(noise, labels)
        return made, labels

    def judge(self, samples: Tensor, labels: Tensor | None) -> Tensor:
        """D's raw scores of samples, told their labels where it is told any; packs share one."""
        if self._pack > 1:
            samples = samples[: len(samples) // self._pack * self._pack]
        told = None if self.latent.codes else labels
        return self._judge(self._packed(samples), told).scores

    def stakes(
        self, real: Tensor, labels: Tensor | None, controls: Controls, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """D's and G's loss as an update would take them now, on ``real`` and as many fresh fakes.

        With the loss's own penalty and what D's label head adds, but without R1 and R2, and without
        what is done to D's inputs and sides at random. ``labels``: of the reals, where the networks
        are told any. Nothing is kept, and all is drawn from ``random``.
        """
        loss = LOSSES[controls.loss]
        real = real[: len(real) // self._pack * self._pack]
        noise = self.latent.draw(len(real), random)
        codes = self.latent.draw_codes(len(real), random) if self.latent.codes else labels
        made = self.generator(noise) if codes is None else self.generator(noise, codes)
        shown, fake = self._packed(real), self._packed(made.detach())
        of_real, of_fake = self._judge_both(shown, fake, labels)
        play = Play(controls, random, self.balance)
        d_loss = loss.d_loss(of_real.scores, of_fake.scores, play)
        penalty = loss.penalty(self._critic(labels), shown, fake, play)
        if penalty is not None:
            d_loss = d_loss + controls.penalty_weight * penalty.value
        told = self._labels_told(of_real, of_fake, labels, codes)
        if told:
            d_loss = d_loss + controls.aux_d * told["label_loss_d"]
        judged = self._judge(self._packed(made), None if self.latent.codes else labels)
        beside = of_real.scores.detach() if loss.g_needs_real else None
        g_loss, added = self._g_loss(loss, judged, beside, codes, controls, random)
        return d_loss, sum(added, start=g_loss)

    def draw_noise(self) -> Tensor:
        """Fresh latents, shape (batch, latent_dim)."""
        return self.latent.draw(self.batches.batch_size, self.noise)

    def draw_labels(self) -> Tensor | None:
        """Fresh labels for G: its own codes, or as often as they occur in the data; or None."""
        return self._labels(self.batches.batch_size, self.noise)

    def _labels(self, count: int, random: torch.Generator) -> Tensor | None:
        if self.latent.codes:
            return self.latent.draw_codes(count, random)
        return self.batches.labels(count, random) if self.latent.labels else None

    def _update_d(self, loss: Loss, controls: Controls) -> Update:
        self.buffers.keep()
        batch, labels = self.batches.next()
        # Of the data's labels, fakes get those of the reals beside them.
        codes = self.draw_labels() if self.latent.codes else labels
        with torch.no_grad():
            made = self._made(codes)
        real, fake = self._shown(batch, controls), self._shown(made, controls)
        regularised = bool(controls.r1 or controls.r2) and self.d_updates % controls.r_every == 0
        if regularised:
            real.requires_grad_()
            fake.requires_grad_()
        of_real, of_fake = self._judge_both(real, fake, labels)
        play = Play(controls, self.noise, self.balance)
        d_loss = loss.d_loss(*self._flipped(of_real.scores, of_fake.scores, controls), play)
        penalty = loss.penalty(self._critic(labels), real, fake, play)
        added: list[Tensor] = []
        if penalty is not None:
            added.append(controls.penalty_weight * penalty.value)
        if not (controls.r1 or controls.r2):
            self.squares = (self._nothing, self._nothing)
        if regularised:
            added.append(self._regulariser(of_real.scores, of_fake.scores, real, fake, controls))
        told = self._labels_told(of_real, of_fake, labels, codes)
        if told:
            added.append(controls.aux_d * told["label_loss_d"])
        update = self._apply(
            self.weights_d, self.optimizer_d, d_loss, added, controls, controls.lr_d
        )
        self.d_updates += 1
        if loss.clips_weights:
            self.weights_d.flat.detach().clamp_(-controls.clip, controls.clip)
        with torch.no_grad():
            self._measure(update.measured, loss, play, of_real.scores, of_fake.scores, penalty)
            update.measured |= {name: value.detach() for name, value in told.items()}
            update.measured["diversity"] = relative_diversity(made, batch)
        return update

    def _update_g(self, loss: Loss, controls: Controls) -> Update:
        self.buffers.keep()
        batch: Tensor | None = None
        labels: Tensor | None = None
        if loss.g_needs_real:
            batch, labels = self.batches.next()
        # Beside reals, fakes get their labels, so that a pair is of one kind.
        if labels is None:
            labels = self.draw_labels()
        told = None if self.latent.codes else labels
        judged = self._judge(self._shown(self._made(labels), controls), told)
        real = None
        if batch is not None:
            # The loss reaches G through the fakes alone.
            with torch.no_grad():
                real = self._judge(self._shown(batch, controls), told).scores
        g_loss, added = self._g_loss(loss, judged, real, labels, controls, self.noise)
        return self._apply(self.weights_g, self.optimizer_g, g_loss, added, controls, controls.lr_g)

    def _g_loss(
        self,
        loss: Loss,
        judged: Judged,
        real: Tensor | None,
        labels: Tensor | None,
        controls: Controls,
        random: torch.Generator,
    ) -> tuple[Tensor, list[Tensor]]:
        """G's loss from D's verdict on fakes and its scores of reals, and what labels add to it."""
        scores = judged.scores
        if controls.top_k < 1:
            chosen = max(2, round(controls.top_k * len(scores)))
            scores = scores.topk(min(chosen, len(scores))).values
            real = None if real is None else real[:chosen]
        g_loss = loss.g_loss(real, scores, Play(controls, random, self.balance, judged.code))
        added: list[Tensor] = []
        if judged.logits is not None and labels is not None:
            added.append(controls.aux_g * functional.cross_entropy(judged.logits, labels))
        return g_loss, added

    def _apply(
        self,
        weights: Weights,
        optimizer: GuardedOptimizer,
        loss: Tensor,
        added: Sequence[Tensor],
        controls: Controls,
        rate: float,
    ) -> Update:
        """One update from the gradient of ``loss`` and the ``added`` terms together.

        It is not applied where the loss, the terms or any gradient is not finite.
        """
        terms = sum(added[1:], start=added[0]) if added else None
        gradients = weights.gradients(loss if terms is None else loss + terms)
        each = norms(gradients)
        looked_at = [loss.detach(), self._nothing if terms is None else terms.detach()]
        refused = first_nonfinite(torch.cat([torch.stack(looked_at), each]))
        flag = refused.clamp(max=1)
        whole, norm = flattened(gradients), each.norm()
        if controls.grad_clip:
            whole = whole * (controls.grad_clip / (norm + 1e-12)).clamp(max=1)
        optimizer.step(whole, rate, flag)
        self.buffers.put_back_where(flag)
        return Update(loss.detach(), norm, refused)

    def _made(self, labels: Tensor | None) -> Tensor:
        """Fakes of fresh noise, with the labels G is told, if any."""
        noise = self.draw_noise()
        made: Tensor = self.generator(noise) if labels is None else self.generator(noise, labels)
        return made

    def _judge(self, samples: Tensor, labels: Tensor | None) -> Judged:
        """D's verdict on what it is shown, and told where there is something to tell."""
        told = () if labels is None else (labels,)
        judged = self.discriminator(samples, *told)
        return judged if isinstance(judged, Judged) else Judged(judged)

    def _judge_both(
        self, real: Tensor, fake: Tensor, labels: Tensor | None
    ) -> tuple[Judged, Judged]:
        """D's verdicts on reals and fakes of the same labels; G's codes D is never told."""
        told = None if self.latent.codes else labels
        if not self._joint:
            return self._judge(real, told), self._judge(fake, told)
        twice = None if told is None else torch.cat([told, told])
        both = self._judge(torch.cat([real, fake]), twice)
        halves = [(None, None) if part is None else part.chunk(2) for part in both[1:]]
        of_real, of_fake = zip(*halves, strict=True)
        scores_real, scores_fake = both.scores.chunk(2)
        return Judged(scores_real, *of_real), Judged(scores_fake, *of_fake)

    def _critic(self, labels: Tensor | None) -> Critic:
        """D's scores as a function of samples alone; one or two batches with these labels."""
        told = None if self.latent.codes else labels

        def critic(samples: Tensor) -> Tensor:
            if told is None:
                return self._judge(samples, None).scores
            return self._judge(samples, told.repeat(len(samples) // len(told))).scores

        return critic

    def _regulariser(
        self,
        scores_real: Tensor,
        scores_fake: Tensor,
        real: Tensor,
        fake: Tensor,
        controls: Controls,
    ) -> Tensor:
        """R1 and R2, gamma/2 E|grad D|^2 at reals and at fakes (Mescheder et al. 2018).

        Taken every n updates with n times the weight (lazily, Karras et al. 2020).
        """
        squares = []
        for gamma, scores, samples in (
            (controls.r1, scores_real, real),
            (controls.r2, scores_fake, fake),
        ):
            squares.append(squared_norms(scores, samples).mean() if gamma else self._nothing)
        self.squares = (squares[0].detach(), squares[1].detach())
        weights = (controls.r_every * controls.r1 / 2, controls.r_every * controls.r2 / 2)
        return weights[0] * squares[0] + weights[1] * squares[1]

    def _flipped(self, real: Tensor, fake: Tensor, controls: Controls) -> tuple[Tensor, Tensor]:
        """The scores of both sides, some of them swapped where labels are to be flipped."""
        if not controls.label_flips:
            return real, fake
        draws = torch.rand(real.shape, generator=self.noise, device=real.device)
        swap = draws < controls.label_flips
        return torch.where(swap, fake, real), torch.where(swap, real, fake)

    def _labels_told(
        self, real: Judged, fake: Judged, labels: Tensor | None, codes: Tensor | None
    ) -> dict[str, Tensor]:
        """What D's label head makes of a batch: its loss and how often it is right."""
        if fake.logits is None or codes is None:
            return {}
        told = {
            "label_loss_d": functional.cross_entropy(fake.logits, codes),
            "label_acc_fake": (fake.logits.argmax(1) == codes).float().mean(),
        }
        if not self.latent.codes and real.logits is not None and labels is not None:
            of_real = functional.cross_entropy(real.logits, labels)
            told["label_loss_d"] = told["label_loss_d"] + of_real
            told["label_acc_real"] = (real.logits.argmax(1) == labels).float().mean()
        return told

    def _measure(
        self,
        measured: dict[str, Tensor],
        loss: Loss,
        play: Play,
        real: Tensor,
        fake: Tensor,
        penalty: Penalty | None,
    ) -> None:
        """Add what the scores of a D batch say."""
        rank = auc(real, fake)
        measured["d_auc"] = rank
        measured["d_acc_real"], measured["d_acc_fake"] = loss.accuracy(real, fake, rank)
        measured["score_real_std"], measured["score_real"] = torch.std_mean(real)
        measured["score_fake_std"], measured["score_fake"] = torch.std_mean(fake)
        measured["penalty"] = self._nothing if penalty is None else penalty.value.detach()
        measured["penalty_norm"] = self._nothing if penalty is None else penalty.grad_norm
        convergence = loss.settle(real, fake, play)
        if convergence is not None:
            measured["convergence"] = convergence

    def _shown(self, samples: Tensor, controls: Controls) -> Tensor:
        """What D gets to see: packed, and with instance noise and input dropout where on."""
        samples = self._packed(samples)
        level = self._noise_level(controls)
        if level:
            noise = torch.empty_like(samples).normal_(generator=self.noise)
            samples = samples + level * noise
        if controls.d_input_dropout:
            samples = functional.dropout(samples, controls.d_input_dropout)
        return samples

    def _packed(self, samples: Tensor) -> Tensor:
        if self._pack == 1:
            return samples
        return samples.reshape(-1, self._pack * samples.shape[1], *samples.shape[2:])

    def _noise_level(self, controls: Controls) -> float:
        """The instance noise of the coming step (Sonderby et al. 2017: it should fade)."""
        if not controls.noise_steps:
            return controls.instance_noise
        return controls.instance_noise * max(0.0, 1 - self.step / controls.noise_steps)


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
