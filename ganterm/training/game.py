"""One iteration: k updates of D, then l updates of G, and what is measured on the way.

Nothing in here reads a value back from the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganterm.core.controls import Controls
from ganterm.core.metrics import ON_DEVICE
from ganterm.diagnosis.exams.diversity import relative_diversity
from ganterm.diagnosis.ranking import auc
from ganterm.losses import LOSSES
from ganterm.losses.loss import Loss, LossContext, Penalty
from ganterm.losses.penalties import squared_norms
from ganterm.networks.modules.shells import DiscriminatorOutput
from ganterm.sections import OptimizerSection
from ganterm.training.batches import Latent, RealBatches
from ganterm.training.optim import (
    Average,
    BufferGuard,
    GuardedOptimizer,
    Update,
    Weights,
    applied,
    looked_at,
    nothing,
)
from ganterm.training.passes import PLAIN, Forward, Forwards, Judging, noise_level
from ganterm.training.plan import Turn


class Game:
    """G and D, their optimizers and their sources of randomness; ``play`` runs one iteration.

    ``average`` follows G; ``balance`` is the loss's own scalar; ``squares`` (2,) are the newest R1
    and R2, unweighted; ``step`` and ``d_updates`` count what was done. ``pack`` samples of one kind
    are shown to D as one. Updates take the networks' forward passes as ``forwards`` says;
    where D's gradient is penalised, and in all that only looks, they are those of the modules.
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
        forwards: Forwards = PLAIN,
    ) -> None:
        self.generator = generator.train()
        self.discriminator = discriminator.train()
        self.weights_g = Weights(generator)
        self.weights_d = Weights(discriminator)
        self.optimizer_g = GuardedOptimizer(optimizer.of("g"), self.weights_g)
        self.optimizer_d = GuardedOptimizer(optimizer.of("d"), self.weights_d)
        self.buffers = BufferGuard(generator, discriminator)
        self.average = Average(generator)
        self.batches = batches
        self.latent = latent
        self.noise = noise
        self.balance = torch.zeros((), device=self.device)
        self.step = 0
        self.d_updates = 0
        self.judging = Judging(discriminator, latent, noise, pack)
        self._fast_g: Forward = generator
        self._fast_judging = self.judging
        if not forwards.plain:
            self._fast_g = forwards.of(generator, self.device)
            fast_d = forwards.of(discriminator, self.device)
            self._fast_judging = Judging(discriminator, latent, noise, pack, fast_d)
        self.squares = torch.zeros(2, device=self.device)

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return self.weights_g.flat.device

    def refused_names(self, network: str) -> list[str]:
        """What a non-finite value was found in, in the order looked at; ``network`` is G or D."""
        weights = self.weights_g if network == "G" else self.weights_d
        return looked_at(network, weights)

    def play(self, controls: Controls) -> list[Tensor]:
        """One iteration; returns the scalars of ``metrics.ON_DEVICE``, in that order."""
        turn = self.turn(controls)
        scalars = self.work(turn)
        self.done(turn)
        return scalars

    def turn(self, controls: Controls) -> Turn:
        """What the coming iteration is played with."""
        lazily = range(self.d_updates, self.d_updates + controls.k)
        regularised = bool(controls.r1 or controls.r2)
        return Turn(
            controls,
            tuple(regularised and done % controls.r_every == 0 for done in lazily),
            controls.lr_d,
            controls.lr_g,
            noise_level(controls, self.step),
            self.batches.next,
        )

    def work(self, turn: Turn) -> list[Tensor]:
        """All that an iteration does on the device but for the averaged G; returns its scalars.

        What it does there follows from ``turn.settings``, ``turn.kind`` and tensors that stay where
        they are, so that it can be captured and replayed.
        """
        controls = turn.controls
        if not (controls.r1 or controls.r2):
            self.squares.zero_()
        d_updates = [self._update_d(turn, regularised) for regularised in turn.regularised]
        g_updates = [self._update_g(turn) for _ in range(controls.l)]
        besides = {
            "weight_norm_d": torch.linalg.vector_norm(self.weights_d.flat.detach()),
            "weight_norm_g": torch.linalg.vector_norm(self.weights_g.flat.detach()),
            "r1": self.squares[0],
            "r2": self.squares[1],
            "balance": self.balance,
        }
        return row(d_updates, g_updates, besides)

    def done(self, turn: Turn) -> None:
        """Count an iteration that was played, and have the averaged G follow where it should."""
        self.step += 1
        self.d_updates += turn.controls.k
        if turn.controls.ema:
            self.average.follow(self.generator, self.weights_g, self.step, turn.controls.ema)

    def sample(self, count: int, random: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """``count`` fakes and the labels they were made for, or None; all drawn from ``random``."""
        noise = self.latent.draw(count, random)
        labels = self._labels(count, random)
        made = self.generator(noise) if labels is None else self.generator(noise, labels)
        return made, labels

    def judge(self, samples: Tensor, labels: Tensor | None) -> Tensor:
        """D's raw scores of samples, told their labels where it is told any; packs share one."""
        judging = self.judging
        whole = samples[: len(samples) // judging.pack * judging.pack]
        return judging.judged(judging.packed(whole), labels).scores

    def stakes(
        self, real: Tensor, labels: Tensor | None, controls: Controls, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """D's and G's loss as an update would take them now, on ``real`` and as many fresh fakes.

        With the loss's own penalty and what D's label head adds, but without R1 and R2, and without
        what is done to D's inputs and sides at random. ``labels``: of the reals, where the networks
        are told any. Nothing is kept, and all is drawn from ``random``.
        """
        loss, judging = LOSSES[controls.loss], self.judging
        real = real[: len(real) // judging.pack * judging.pack]
        noise = self.latent.draw(len(real), random)
        codes = self.latent.draw_codes(len(real), random) if self.latent.codes else labels
        made = self.generator(noise) if codes is None else self.generator(noise, codes)
        shown, fake = judging.packed(real), judging.packed(made.detach())
        of_real, of_fake = judging.both(shown, fake, labels)
        context = LossContext(controls, random, self.balance)
        d_loss = loss.d_loss(of_real.scores, of_fake.scores, context)
        penalty = loss.penalty(judging.critic(labels), shown, fake, context)
        if penalty is not None:
            d_loss = d_loss + controls.penalty_weight * penalty.value
        told = judging.labels_told(of_real, of_fake, labels, codes)
        if told:
            d_loss = d_loss + controls.aux_d * told["label_loss_d"]
        judged = judging.judged(judging.packed(made), labels)
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

    def _update_d(self, turn: Turn, regularised: bool) -> Update:
        judging, controls, loss = self.judging, turn.controls, turn.loss
        self.buffers.keep()
        batch, labels = turn.next_batch()
        # Of the data's labels, fakes get those of the reals beside them.
        codes = self.draw_labels() if self.latent.codes else labels
        with torch.no_grad():
            made = self._made(codes)
            # While both are in the processor's caches.
            diversity = relative_diversity(made, batch)
        real, fake = (self._shown(some, turn) for some in (batch, made))
        if regularised:
            real.requires_grad_()
            fake.requires_grad_()
        # A penalty differentiates what it is of twice.
        passes = judging if regularised else self._fast_judging
        of_real, of_fake = passes.both(real, fake, labels)
        context = LossContext(controls, self.noise, self.balance)
        d_loss = loss.d_loss(*judging.flipped(of_real.scores, of_fake.scores, controls), context)
        penalty = loss.penalty(judging.critic(labels), real, fake, context)
        added: list[Tensor] = []
        if penalty is not None:
            added.append(controls.penalty_weight * penalty.value)
        if regularised:
            added.append(self._regulariser(of_real.scores, of_fake.scores, real, fake, controls))
        told = judging.labels_told(of_real, of_fake, labels, codes)
        if told:
            added.append(controls.aux_d * told["label_loss_d"])
        update = self._applied("D", d_loss, added, turn)
        if loss.clips_weights:
            self.weights_d.flat.detach().clamp_(-controls.clip, controls.clip)
        with torch.no_grad():
            measured = of_d_batch(loss, context, of_real.scores, of_fake.scores, penalty)
            measured |= {name: value.detach() for name, value in told.items()}
        update.measured = {**measured, "diversity": diversity}
        return update

    def _update_g(self, turn: Turn) -> Update:
        loss = turn.loss
        self.buffers.keep()
        batch: Tensor | None = None
        labels: Tensor | None = None
        if loss.g_needs_real:
            batch, labels = turn.next_batch()
        # Beside reals, fakes get their labels, so that a pair is of one kind.
        if labels is None:
            labels = self.draw_labels()
        judging = self._fast_judging
        judged = judging.judged(self._shown(self._made(labels), turn), labels)
        real = None
        if batch is not None:
            # The loss reaches G through the fakes alone.
            with torch.no_grad():
                real = judging.judged(self._shown(batch, turn), labels).scores
        g_loss, added = self._g_loss(loss, judged, real, labels, turn.controls, self.noise)
        return self._applied("G", g_loss, added, turn)

    def _shown(self, samples: Tensor, turn: Turn) -> Tensor:
        """What D gets to see of samples in an update."""
        return self.judging.shown(samples, turn.noise, turn.controls.d_input_dropout)

    def _applied(self, network: str, loss: Tensor, added: list[Tensor], turn: Turn) -> Update:
        """The update of D or G, at its rate."""
        if network == "D":
            side = self.weights_d, self.optimizer_d, turn.lr_d
        else:
            side = self.weights_g, self.optimizer_g, turn.lr_g
        return applied(*side, self.buffers, loss, added, turn.controls.grad_clip)

    def _g_loss(
        self,
        loss: Loss,
        judged: DiscriminatorOutput,
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
        g_loss = loss.g_loss(real, scores, LossContext(controls, random, self.balance, judged.code))
        added: list[Tensor] = []
        if judged.logits is not None and labels is not None:
            added.append(controls.aux_g * functional.cross_entropy(judged.logits, labels))
        return g_loss, added

    def _made(self, labels: Tensor | None) -> Tensor:
        """Fakes of fresh noise, with the labels G is told, if any."""
        noise = self.draw_noise()
        made: Tensor = self._fast_g(noise) if labels is None else self._fast_g(noise, labels)
        return made

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
            squares.append(squared_norms(scores, samples).mean() if gamma else nothing(self.device))
        torch.stack([square.detach() for square in squares], out=self.squares)
        weights = (controls.r_every * controls.r1 / 2, controls.r_every * controls.r2 / 2)
        return weights[0] * squares[0] + weights[1] * squares[1]


# What is measured in an iteration, as scalars that stay on the device.


def of_d_batch(
    loss: Loss, context: LossContext, real: Tensor, fake: Tensor, penalty: Penalty | None
) -> dict[str, Tensor]:
    """What the scores of a D batch, both (n,), and its penalty say."""
    rank = auc(real, fake)
    measured = {"d_auc": rank}
    measured["d_acc_real"], measured["d_acc_fake"] = loss.accuracy(real, fake, rank)
    measured["score_real_std"], measured["score_real"] = torch.std_mean(real)
    measured["score_fake_std"], measured["score_fake"] = torch.std_mean(fake)
    if penalty is not None:
        measured["penalty"] = penalty.value.detach()
        measured["penalty_norm"] = penalty.grad_norm
    convergence = loss.after_update(real, fake, context)
    if convergence is not None:
        measured["convergence"] = convergence
    return measured


def row(
    of_d: Sequence[Update], of_g: Sequence[Update], besides: Mapping[str, Tensor]
) -> list[Tensor]:
    """The scalars of ``metrics.ON_DEVICE``, in that order, of an iteration's updates.

    ``besides``: what no update measures; what was not measured is 0.
    """
    none = nothing(of_d[-1].loss.device)
    measured = {**of_d[-1].measured, **besides}
    measured["d_loss"] = _mean([u.loss for u in of_d])
    measured["g_loss"] = _mean([u.loss for u in of_g])
    measured["penalty"] = _mean([u.measured.get("penalty", none) for u in of_d])
    measured["grad_norm_d"] = _largest([u.grad_norm for u in of_d])
    measured["grad_norm_g"] = _largest([u.grad_norm for u in of_g])
    measured["refused_d"] = _first([u.refused for u in of_d])
    measured["refused_g"] = _first([u.refused for u in of_g])
    return [measured.get(name, none) for name in ON_DEVICE]


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
