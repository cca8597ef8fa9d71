"""Real batches, the latents of G, and the supply of batches where their source may fail."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor


class Position(NamedTuple):
    """A position in a shuffled epoch: the generator's state at its start, and the samples drawn.

    ``random`` is that state, uint8 (n,) on the host; the epoch's order follows from it.
    """

    random: Tensor
    at: int


class SourceFault(Exception):  # noqa: N818 - the disk is at fault, not the program
    """Real samples cannot be read now; the message says why. No drawn sample is lost.

    ``process``: a process that reads them has ended, and a new one may succeed.
    """

    def __init__(self, message: str, process: bool = False) -> None:
        super().__init__(message)
        self.process = process


class RealBatches(Protocol):
    """The source of real samples.

    ``broken`` counts the samples that could not be read, by a line for each.
    """

    batch_size: int
    broken: Counter[str]

    @property
    def generator(self) -> torch.Generator:
        """The generator that shuffles."""

    @property
    def position(self) -> Position:
        """The position after the newest drawn batch."""

    def check(self, at: int) -> None:
        """ValueError where ``at`` is no number of samples that an epoch can stand at."""

    def go_to(self, position: Position) -> None:
        """Continue from a position."""

    def prepare(self, count: int) -> None:
        """Read the next ``count`` batches ahead; SourceFault where that fails."""

    def next(self) -> tuple[Tensor, Tensor | None]:
        """The next batch, float32 (batch_size, *sample shape), and its labels, int64, if any.

        SourceFault, with nothing drawn, where it was not prepared and cannot be read.
        """

    def labels(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` labels drawn as often as they occur in the data, int64."""

    def close(self) -> None:
        """End the processes that read; nothing is drawn after that."""


class Batches:
    """Shuffled epochs over samples on the device, with a random generator of their own.

    uint8 samples become float32 in -1..1, points stay as they are. The last, smaller batch of an
    epoch is left out, as is usual; a set smaller than a batch is drawn from with replacement.
    ``labels`` (n,) int64 are None where the networks take none.
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
        """Nothing to do: all samples are on the device."""

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
        """Nothing to end."""

    @property
    def position(self) -> Position:
        """The position after the newest drawn batch."""
        if self._order is None:
            return Position(self.generator.get_state(), 0)
        return Position(self._before_order, self._at)

    def check(self, at: int) -> None:
        """ValueError where ``at`` is no number of samples that an epoch can stand at."""
        batches, rest = divmod(at, self.batch_size)
        most = len(self.samples) // self.batch_size
        if rest or not 0 <= batches <= most:
            raise ValueError(f"{at:,} is not 0 to {most} batches of {self.batch_size:,}")

    def go_to(self, position: Position) -> None:
        """Continue from a position."""
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


@dataclass(frozen=True)
class Latent:
    """The distribution of z: N(0, 1) or U(-1, 1) in each of ``dim`` dimensions, and of labels.

    ``labels`` is the number of labels that G takes, 0 for none. With ``codes`` they are G's own,
    drawn uniformly, rather than the data's.
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
        """``count`` labels drawn uniformly, int64 (count,)."""
        return torch.randint(self.labels, (count,), generator=random, device=random.device)

    def path(self, start: Tensor, end: Tensor, steps: int) -> Tensor:
        """Latents from ``start`` to ``end``, both (pairs, dim), inclusive: (pairs, steps, dim).

        The path is straight for uniform latents. For normal ones it follows the great circle (White
        2016) with linear length, since points on a straight line are shorter than G's latents.
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
        # Equal or opposite directions do not determine a circle.
        return torch.where(angle.sin() > 1e-3, bent, straight)


FIRST_GAP = 1.0
"""Seconds before the first retry of a source that failed; each later gap is twice as long."""
LONGEST_GAP = 60.0
"""Longest gap between two retries, in seconds."""
PATIENCE_SECONDS = 600.0
"""How long a source is retried automatically; afterwards only the user can."""


class Supply:
    """Reads an iteration's batches before it starts, so that it never breaks off half-way.

    ``waits``: the source failed and is retried automatically, at growing gaps. ``given_up``: it
    failed for ``PATIENCE_SECONDS``.
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
        """Whether it is time for a retry."""
        return self.waits and time.monotonic() >= self._next_at

    def fault(self, count: int) -> SourceFault | None:
        """Read ``count`` batches ahead; returns the fault that prevents it, or None."""
        try:
            self._batches.prepare(count)
        except SourceFault as fault:
            self._wait()
            return fault
        self.waits = self.given_up = False
        self._gap = 0.0
        return None

    def forget(self) -> None:
        """Stop automatic retries: the user has paused the run."""
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
