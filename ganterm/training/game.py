"""One iteration: k updates of D, then l updates of G, and the metrics of both.

Refused updates. A NaN or Inf in a loss or gradient must never reach weights, optimizer state or
buffers, and asking the device whether there is one would stop it in every update. So each update
computes a flag on the device (``optim.apply_update``): with the flag set, the optimizer's kernel
leaves the weights alone, and buffers that the forward pass wrote are restored. The flag also says
which tensor was the first non-finite one. It travels with the other metrics as ``refused_d`` and
``refused_g``; the loop reads it some steps later, when it copies rows to the host, and pauses.

Plans. A small network's iteration takes a GPU less time than its launch takes the host, so whole
iterations can be captured as CUDA graphs and replayed (``graphs.py``). A replay repeats the same
kernels on the same addresses. Hence everything that decides which kernels run is settled before the
iteration starts, in an ``IterationPlan``: two plans with equal ``settings`` and ``kind`` share a
graph, and the numbers that differ between them (learning rates, noise level) lie in tensors.

Nothing in this file reads a value back from the device.
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
    apply_update,
    checked_names,
    zero,
)
from ganterm.training.passes import PLAIN, DiscriminatorPasses, Forward, Forwards, noise_level
from ganterm.training.plan import IterationPlan


class Game:
    """G and D, their optimizers and their random generators; ``train_step`` runs one iteration.

    ``average`` is the averaged G. ``balance`` is the loss's own scalar (BEGAN's k). ``squares``
    (2,) holds the newest R1 and R2, without their weights. ``step`` counts completed iterations,
    ``d_updates`` D updates. D sees ``pack`` samples of one kind as one. ``forwards`` says how
    updates run the networks; gradient penalties and everything that only observes the networks
    always call the modules themselves.
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
        self.squares = torch.zeros(2, device=self.device)
        self.step = 0
        self.d_updates = 0
        self.passes = DiscriminatorPasses(discriminator, latent, noise, pack)
        self._fast_g: Forward = generator
        self._fast_passes = self.passes
        if not forwards.plain:
            self._fast_g = forwards.of(generator, self.device)
            fast_d = forwards.of(discriminator, self.device)
            self._fast_passes = DiscriminatorPasses(discriminator, latent, noise, pack, fast_d)

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return self.weights_g.flat.device

    @property
    def averaged(self) -> nn.Module:
        """The averaged G."""
        return self.average.module

    # One iteration.

    def train_step(self, controls: Controls) -> list[Tensor]:
        """Run one iteration; returns the scalars of ``metrics.ON_DEVICE``, in that order."""
        plan = self.plan(controls)
        scalars = self.compute(plan)
        self.finish(plan)
        return scalars

    def plan(self, controls: Controls) -> IterationPlan:
        """The plan of the next iteration."""
        updates = range(self.d_updates, self.d_updates + controls.k)
        regularised = bool(controls.r1 or controls.r2)
        return IterationPlan(
            controls,
            tuple(regularised and number % controls.r_every == 0 for number in updates),
            controls.lr_d,
            controls.lr_g,
            noise_level(controls, self.step),
            self.batches.next,
        )

    def compute(self, plan: IterationPlan) -> list[Tensor]:
        """Do an iteration's work on the device, except for the averaged G; returns its scalars.

        The work follows from ``plan.settings``, ``plan.kind`` and tensors that keep their
        addresses, so that it can be captured and replayed.
        """
        controls = plan.controls
        if not (controls.r1 or controls.r2):
            self.squares.zero_()
        d_updates = [self._update_d(plan, regularised) for regularised in plan.regularised]
        g_updates = [self._update_g(plan) for _ in range(controls.l)]
        state = {
            "weight_norm_d": torch.linalg.vector_norm(self.weights_d.flat.detach()),
            "weight_norm_g": torch.linalg.vector_norm(self.weights_g.flat.detach()),
            "r1": self.squares[0],
            "r2": self.squares[1],
            "balance": self.balance,
        }
        return row(d_updates, g_updates, state)

    def finish(self, plan: IterationPlan) -> None:
        """Count a completed iteration and update the averaged G."""
        self.step += 1
        self.d_updates += plan.controls.k
        if plan.controls.ema:
            self.average.follow(self.generator, self.weights_g, self.step, plan.controls.ema)

    def _update_d(self, plan: IterationPlan, regularised: bool) -> Update:
        """One update of D on a fresh real batch and fresh fakes."""
        controls, loss = plan.controls, plan.loss
        self.buffers.keep()
        batch, labels = plan.next_batch()
        # Fakes share the labels of the real batch, unless G draws codes of its own.
        codes = self.draw_labels() if self.latent.codes else labels
        with torch.no_grad():
            fakes = self._fakes(codes)
            # Measured here, while both batches are in the processor's caches.
            diversity = relative_diversity(fakes, batch)
        real, fake = (self._inputs(samples, plan) for samples in (batch, fakes))
        if regularised:
            real.requires_grad_()
            fake.requires_grad_()
        # R1 and R2 differentiate the pass twice, which only the module itself supports.
        passes = self.passes if regularised else self._fast_passes
        output_real, output_fake = passes.outputs(real, fake, labels)
        scores_real, scores_fake = output_real.scores, output_fake.scores
        context = LossContext(controls, self.noise, self.balance)
        d_loss = loss.d_loss(*self.passes.flip_scores(scores_real, scores_fake, controls), context)
        penalty = loss.penalty(self.passes.critic(labels), real, fake, context)
        terms: list[Tensor] = []
        if penalty is not None:
            terms.append(controls.penalty_weight * penalty.value)
        if regularised:
            terms.append(self._regulariser(scores_real, scores_fake, real, fake, controls))
        label_metrics = self.passes.label_metrics(output_real, output_fake, labels, codes)
        if label_metrics:
            terms.append(controls.aux_d * label_metrics["label_loss_d"])
        update = self._apply("D", d_loss, terms, plan)
        if loss.clips_weights:
            self.weights_d.flat.detach().clamp_(-controls.clip, controls.clip)
        with torch.no_grad():
            measured = score_metrics(loss, context, scores_real, scores_fake, penalty)
            measured |= {name: value.detach() for name, value in label_metrics.items()}
        update.measured = {**measured, "diversity": diversity}
        return update

    def _update_g(self, plan: IterationPlan) -> Update:
        """One update of G on fresh fakes, beside a fresh real batch where the loss needs one."""
        loss = plan.loss
        self.buffers.keep()
        batch: Tensor | None = None
        labels: Tensor | None = None
        if loss.g_needs_real:
            batch, labels = plan.next_batch()
        # A relativistic loss pairs fakes with reals, so both have the same labels.
        if labels is None:
            labels = self.draw_labels()
        passes = self._fast_passes
        output = passes.output(self._inputs(self._fakes(labels), plan), labels)
        real = None
        if batch is not None:
            # The loss reaches G through the fakes alone.
            with torch.no_grad():
                real = passes.output(self._inputs(batch, plan), labels).scores
        g_loss, terms = self._g_loss(loss, output, real, labels, plan.controls, self.noise)
        return self._apply("G", g_loss, terms, plan)

    def _apply(
        self, network: str, loss: Tensor, terms: list[Tensor], plan: IterationPlan
    ) -> Update:
        """Update D or G at its learning rate."""
        if network == "D":
            side = self.weights_d, self.optimizer_d, plan.lr_d
        else:
            side = self.weights_g, self.optimizer_g, plan.lr_g
        return apply_update(*side, self.buffers, loss, terms, plan.controls.grad_clip)

    def _inputs(self, samples: Tensor, plan: IterationPlan) -> Tensor:
        """Samples as D sees them in an update."""
        return self.passes.inputs(samples, plan.noise, plan.controls.d_input_dropout)

    def _fakes(self, labels: Tensor | None) -> Tensor:
        """A batch of fakes from fresh noise, made for ``labels`` where G takes any."""
        noise = self.draw_noise()
        fakes: Tensor = self._fast_g(noise) if labels is None else self._fast_g(noise, labels)
        return fakes

    def _regulariser(
        self,
        scores_real: Tensor,
        scores_fake: Tensor,
        real: Tensor,
        fake: Tensor,
        controls: Controls,
    ) -> Tensor:
        """R1 and R2: gamma/2 E|grad D|^2 at reals and at fakes (Mescheder et al. 2018).

        Taken in every n-th update with n times the weight (lazily, Karras et al. 2020).
        """
        squares = []
        for gamma, scores, samples in (
            (controls.r1, scores_real, real),
            (controls.r2, scores_fake, fake),
        ):
            squares.append(squared_norms(scores, samples).mean() if gamma else zero(self.device))
        torch.stack([square.detach() for square in squares], out=self.squares)
        weights = (controls.r_every * controls.r1 / 2, controls.r_every * controls.r2 / 2)
        return weights[0] * squares[0] + weights[1] * squares[1]

    def _g_loss(
        self,
        loss: Loss,
        output: DiscriminatorOutput,
        real: Tensor | None,
        labels: Tensor | None,
        controls: Controls,
        random: torch.Generator,
    ) -> tuple[Tensor, list[Tensor]]:
        """G's loss from D's output for fakes and its scores of reals, and the labels' terms."""
        scores = output.scores
        if controls.top_k < 1:
            count = max(2, round(controls.top_k * len(scores)))
            scores = scores.topk(min(count, len(scores))).values
            real = None if real is None else real[:count]
        g_loss = loss.g_loss(real, scores, LossContext(controls, random, self.balance, output.code))
        terms: list[Tensor] = []
        if output.logits is not None and labels is not None:
            terms.append(controls.aux_g * functional.cross_entropy(output.logits, labels))
        return g_loss, terms

    def draw_noise(self) -> Tensor:
        """A batch of fresh latents, shape (batch_size, latent_dim)."""
        return self.latent.draw(self.batches.batch_size, self.noise)

    def draw_labels(self) -> Tensor | None:
        """A batch of fresh labels for G: codes, or labels as frequent as in the data; or None."""
        return self._labels(self.batches.batch_size, self.noise)

    def _labels(self, count: int, random: torch.Generator) -> Tensor | None:
        if self.latent.codes:
            return self.latent.draw_codes(count, random)
        return self.batches.labels(count, random) if self.latent.labels else None

    # What samples, exams and the recorder ask of the networks between iterations.

    def checked_names(self, network: str) -> list[str]:
        """The tensors that an update of ``network`` (G or D) checks, in the order of the check."""
        return checked_names(network, self.weights_g if network == "G" else self.weights_d)

    def sample(self, count: int, random: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """``count`` fakes and the labels they were made for, or None; all drawn from ``random``."""
        noise = self.latent.draw(count, random)
        labels = self._labels(count, random)
        fakes = self.generator(noise) if labels is None else self.generator(noise, labels)
        return fakes, labels

    def score(self, samples: Tensor, labels: Tensor | None) -> Tensor:
        """D's raw scores of samples; a pack shares one score, an incomplete pack is left out."""
        passes = self.passes
        complete = samples[: len(samples) // passes.pack * passes.pack]
        return passes.output(passes.as_packs(complete), labels).scores

    def stakes(
        self, real: Tensor, labels: Tensor | None, controls: Controls, random: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """D's and G's loss as an update would compute them now, on ``real`` and as many fakes.

        The loss's own penalty and the label head's term are included; R1, R2, instance noise,
        input dropout and flipped labels are not. ``labels`` belong to the reals, where the networks
        take any. Nothing is kept, and all random numbers come from ``random``.
        """
        loss, passes = LOSSES[controls.loss], self.passes
        real = real[: len(real) // passes.pack * passes.pack]
        noise = self.latent.draw(len(real), random)
        codes = self.latent.draw_codes(len(real), random) if self.latent.codes else labels
        fakes = self.generator(noise) if codes is None else self.generator(noise, codes)
        real, fake = passes.as_packs(real), passes.as_packs(fakes.detach())
        output_real, output_fake = passes.outputs(real, fake, labels)
        context = LossContext(controls, random, self.balance)
        d_loss = loss.d_loss(output_real.scores, output_fake.scores, context)
        penalty = loss.penalty(passes.critic(labels), real, fake, context)
        if penalty is not None:
            d_loss = d_loss + controls.penalty_weight * penalty.value
        label_metrics = passes.label_metrics(output_real, output_fake, labels, codes)
        if label_metrics:
            d_loss = d_loss + controls.aux_d * label_metrics["label_loss_d"]
        output = passes.output(passes.as_packs(fakes), labels)
        scores_real = output_real.scores.detach() if loss.g_needs_real else None
        g_loss, terms = self._g_loss(loss, output, scores_real, codes, controls, random)
        return d_loss, sum(terms, start=g_loss)


# An iteration's metrics, as scalars that stay on the device.

OPTIONAL = (
    "penalty",
    "penalty_norm",
    "label_loss_d",
    "label_acc_real",
    "label_acc_fake",
    "convergence",
)
"""Metrics that only some losses and networks have; their column holds 0 elsewhere."""


def score_metrics(
    loss: Loss, context: LossContext, real: Tensor, fake: Tensor, penalty: Penalty | None
) -> dict[str, Tensor]:
    """The metrics of a D batch: from its scores, both (n,), and its penalty."""
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
    d_updates: Sequence[Update], g_updates: Sequence[Update], state: Mapping[str, Tensor]
) -> list[Tensor]:
    """An iteration's scalars, in the order of ``metrics.ON_DEVICE``.

    ``state`` holds the metrics that belong to no single update. KeyError where a metric that is not
    ``OPTIONAL`` is missing.
    """
    none = zero(d_updates[-1].loss.device)
    measured = {**dict.fromkeys(OPTIONAL, none), **d_updates[-1].measured, **state}
    measured["d_loss"] = _mean([u.loss for u in d_updates])
    measured["g_loss"] = _mean([u.loss for u in g_updates])
    measured["penalty"] = _mean([u.measured.get("penalty", none) for u in d_updates])
    measured["grad_norm_d"] = _largest([u.grad_norm for u in d_updates])
    measured["grad_norm_g"] = _largest([u.grad_norm for u in g_updates])
    measured["refused_d"] = _first([u.refused for u in d_updates])
    measured["refused_g"] = _first([u.refused for u in g_updates])
    missing = ON_DEVICE.keys() - measured.keys()
    if missing:
        raise KeyError(
            f"no value for the metric {', '.join(sorted(missing))}: compute it in training/game.py "
            "(score_metrics, or Game.compute), or name it in OPTIONAL there if it may be absent"
        )
    return [measured[name] for name in ON_DEVICE]


def _mean(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(list(values)).mean()


def _largest(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(list(values)).amax()


def _first(values: Sequence[Tensor]) -> Tensor:
    """The first of the values that is not 0, or 0."""
    first = values[0]
    for value in values[1:]:
        first = torch.where(first > 0, first, value)
    return first
