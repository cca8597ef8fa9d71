"""Real batches, drawn, gathered and normalised on the device."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor


class Position(NamedTuple):
    """How far a shuffled epoch is: the generator's state at its start, and the samples drawn.

    ``random``: uint8 (n,) on the host, which the order of the epoch follows from.
    """

    random: Tensor
    at: int


class SourceFault(Exception):  # noqa: N818 - the disk is at fault, not the program
    """Real samples cannot be had now; the message says why. Nothing that was drawn is lost.

    ``process``: a process that reads them has ended, and another one may do.
    """

    def __init__(self, message: str, process: bool = False) -> None:
        super().__init__(message)
        self.process = process


class RealBatches(Protocol):
    """Where the training gets its real samples from.

    ``broken``: samples that could not be read when they were due, a line each, and how often.
    """

    batch_size: int
    broken: Counter[str]

    @property
    def generator(self) -> torch.Generator:
        """What shuffles."""

    @property
    def position(self) -> Position:
        """Behind the newest batch that was drawn."""

    def check(self, at: int) -> None:
        """ValueError where so many samples of an epoch are never drawn."""

    def go_to(self, position: Position) -> None:
        """Go on from there."""

    def prepare(self, count: int) -> None:
        """Have the next so many batches at hand; SourceFault where they cannot be had."""

    def next(self) -> tuple[Tensor, Tensor | None]:
        """The next batch, float32 (batch_size, *sample shape), and its labels, int64, if any.

        SourceFault, and nothing is drawn, where it was not prepared and cannot be had.
        """

    def labels(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` labels drawn as often as they occur in the data, int64."""

    def close(self) -> None:
        """End what runs beside the training for it; nothing is drawn after that."""


class Batches:
    """Shuffled epochs over samples that lie on the device, with a generator of their own.

    uint8 samples come out as float32 in -1..1, points as they are. The last, smaller batch of an
    epoch is left out, as is usual; a set smaller than a batch is drawn from with replacement.
    ``labels`` (n,) int64 only where the networks are told any: what is not needed costs nothing.
    """

    def __init__(
        self,
        samples: Tensor,
        labels: Tensor | None,
        batch_size: int,
        device: torch.device,
        seed: int,
    ) -> None:
        self.samples = samples.to(device)
        self._labels = None if labels is None else labels.to(device)
        self.batch_size = batch_size
        self.broken: Counter[str] = Counter()
        self.generator = torch.Generator(device).manual_seed(seed)
        self._before_order = self.generator.get_state()
        self._order: Tensor | None = None
        self._at = 0

    def prepare(self, count: int) -> None:
        """Everything is at hand."""

    def next(self) -> tuple[Tensor, Tensor | None]:
        """The next batch, float32 (batch_size, *sample shape), and its labels, int64, if any."""
        indices = self.indices()
        batch = self.samples.index_select(0, indices)
        if batch.dtype == torch.uint8:
            batch = batch.float().mul_(2 / 255).sub_(1)
        labels = None if self._labels is None else self._labels.index_select(0, indices)
        return batch, labels

    def labels(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` labels drawn as often as they occur in the data, int64."""
        assert self._labels is not None
        device = self._labels.device
        chosen = torch.randint(len(self._labels), (count,), generator=generator, device=device)
        return self._labels.index_select(0, chosen)

    def close(self) -> None:
        """Nothing runs beside the training."""

    @property
    def position(self) -> Position:
        """Behind the newest batch that was drawn."""
        if self._order is None:
            return Position(self.generator.get_state(), 0)
        return Position(self._before_order, self._at)

    def check(self, at: int) -> None:
        """ValueError where so many samples of an epoch are never drawn."""
        batches, rest = divmod(at, self.batch_size)
        most = len(self.samples) // self.batch_size
        if rest or not 0 <= batches <= most:
            raise ValueError(f"{at:,} is not 0 to {most} batches of {self.batch_size:,}")

    def go_to(self, position: Position) -> None:
        """Go on from there."""
        self.generator.set_state(position.random)
        self._order = None
        if position.at:
            self._shuffle()
            self._at = position.at

    def indices(self) -> Tensor:
        """The places of the next batch's samples, int64 (batch_size,), on the device."""
        count, size = len(self.samples), self.batch_size
        if count < size:
            device = self.samples.device
            return torch.randint(count, (size,), generator=self.generator, device=device)
        if self._order is None or self._at + size > count:
            self._shuffle()
        assert self._order is not None
        self._at += size
        return self._order[self._at - size : self._at]

    def _shuffle(self) -> None:
        self._before_order = self.generator.get_state()
        self._order = torch.randperm(
            len(self.samples), generator=self.generator, device=self.samples.device
        )
        self._at = 0


# The noise that G starts from, and the labels that go with it.


@dataclass(frozen=True)
class Latent:
    """z in ``dim`` dimensions: N(0, 1), or U(-1, 1) in each.

    ``labels``: how many G is told, 0 for none; ``codes``: whether they are G's own, drawn evenly,
    rather than the data's.
    """

    dim: int
    kind: Literal["normal", "uniform"] = "normal"
    labels: int = 0
    codes: bool = False

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """``count`` latents, (count, dim), on the generator's device."""
        z = torch.empty(count, self.dim, device=random.device)
        if self.kind == "uniform":
            return z.uniform_(-1, 1, generator=random)
        return z.normal_(generator=random)

    def draw_codes(self, count: int, random: torch.Generator) -> Tensor:
        """``count`` labels drawn evenly, int64 (count,)."""
        return torch.randint(self.labels, (count,), generator=random, device=random.device)

    def path(self, start: Tensor, end: Tensor, steps: int) -> Tensor:
        """From ``start`` to ``end``, both (pairs, dim), ends included: (pairs, steps, dim).

        Straight for uniform latents. For normal ones along the great circle (White 2016), with the
        length moving evenly: points of a straight line are shorter than any that G was trained on.
        """
        share = torch.linspace(0, 1, steps, device=start.device)[None, :, None]
        start, end = start[:, None], end[:, None]
        straight = torch.lerp(start, end, share)
        if self.kind == "uniform":
            return straight
        lengths = start.norm(dim=2, keepdim=True), end.norm(dim=2, keepdim=True)
        one, other = start / lengths[0], end / lengths[1]
        angle = (one * other).sum(dim=2, keepdim=True).clamp(-1, 1).acos()
        turned = (((1 - share) * angle).sin() * one + (share * angle).sin() * other) / angle.sin()
        bent = turned * torch.lerp(*lengths, share)
        # In opposite or equal directions there is no circle, or any.
        return torch.where(angle.sin() > 1e-3, bent, straight)


# Real batches for the coming iteration, and the wait for them where their source is away.

FIRST_GAP = 1.0
LONGEST_GAP = 60.0
PATIENCE_SECONDS = 600.0
"""How long a source that is away is tried by itself; then the user has to say so."""


class Supply:
    """Asks for what an iteration needs before it begins, so that it never breaks off half-way.

    ``waits``: the source is away and tried again by itself, at times ever further apart.
    ``given_up``: it was away for too long for that.
    """

    def __init__(self, batches: RealBatches) -> None:
        self.waits = False
        self.given_up = False
        self._batches = batches
        self._since = 0.0
        self._gap = 0.0
        self._next_at = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time to try again."""
        return self.waits and time.monotonic() >= self._next_at

    def fault(self, count: int) -> SourceFault | None:
        """Have ``count`` batches at hand; what is in the way of that, or None."""
        try:
            self._batches.prepare(count)
        except SourceFault as fault:
            self._wait()
            return fault
        self.waits = self.given_up = False
        self._gap = 0.0
        return None

    def forget(self) -> None:
        """Do not try again by itself: the user wants the run to rest."""
        self.waits = False

    def _wait(self) -> None:
        now = time.monotonic()
        if not self._gap:
            self._since = now
        self._gap = min(LONGEST_GAP, 2 * self._gap or FIRST_GAP)
        self._next_at = now + self._gap
        self.given_up = now - self._since >= PATIENCE_SECONDS
        self.waits = not self.given_up

    @property
    def outlook(self) -> str:
        """When the source is tried again, in words."""
        if self.given_up:
            return f"given up after {PATIENCE_SECONDS / 60:.0f} min; unpause tries again"
        return f"tried again every {self._gap:.0f} s; unpause tries at once"
