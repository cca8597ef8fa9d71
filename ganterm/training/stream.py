"""Real batches of a data set that is too large for memory, read ahead by worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as MapStyle

from ganterm import search_path
from ganterm.core.text import clean
from ganterm.data.source import BrokenSample, Dataset, SourceAway, Stream
from ganterm.system.signals import ENDING
from ganterm.training.batches import Batches, Position, RealBatches, SourceFault

REPLACEMENTS = 100
"""Samples tried in place of an unreadable one; if all of them fail, the data are gone."""
SILENT_SECONDS = 300
"""Seconds without a batch after which a worker is taken to hang, as on a dead network drive."""


def batches_for(
    dataset: Dataset, labels_needed: bool, batch_size: int, device: torch.device, seed: int
) -> RealBatches:
    """The batches of a data set: from memory on the device, or streamed."""
    if dataset.stream is not None:
        return StreamBatches(dataset.stream, labels_needed, batch_size, device, seed)
    labels = dataset.labels if labels_needed else None
    return Batches(dataset.samples, labels, batch_size, device, seed)


class StreamBatches:
    """The same shuffled epochs as ``Batches``, of samples that worker processes read ahead.

    The order depends on the seed alone, not on the device or the number of ``workers`` (None: one a
    core, at most 8; 0: read in the calling thread). An unreadable sample is replaced by the next
    readable one and counted in ``broken``, by a line "name: cause". Workers start with the first
    batch, and again after a SourceFault.
    """

    def __init__(
        self,
        stream: Stream,
        labels_needed: bool,
        batch_size: int,
        device: torch.device,
        seed: int,
        workers: int | None = None,
    ) -> None:
        self.batch_size = batch_size
        self.broken: Counter[str] = Counter()
        self._device = device
        self._labels = torch.tensor(stream.labels, device=device) if labels_needed else None
        # Workers read ahead of training; this follows the batches that were really drawn.
        self._numbers = Batches(
            torch.arange(len(stream)), None, batch_size, torch.device("cpu"), seed
        )
        count = min(8, _cores()) if workers is None else workers
        self._loader: DataLoader[Any] = DataLoader(
            # A loader only calls the length and the items of a map-style data set.
            cast("MapStyle[_Read]", _Replacing(stream)),
            batch_sampler=_Ahead(self._numbers),
            num_workers=count,
            timeout=SILENT_SECONDS if count else 0,
            collate_fn=_join,
            pin_memory=device.type == "cuda",
            multiprocessing_context=_context() if count else None,
            # A loader draws a seed for its workers; by default from the generator of training.
            generator=torch.Generator(),
        )
        self._coming: Iterator[_Joined] | None = None
        self._prepared: deque[tuple[Tensor, Tensor]] = deque()

    def prepare(self, count: int) -> None:
        """Read the next ``count`` batches ahead; SourceFault where that fails."""
        while len(self._prepared) < count:
            self._prepared.append(self._read())

    def next(self) -> tuple[Tensor, Tensor | None]:
        """The next batch, float32 in -1..1, and its labels, int64, where they are needed."""
        self.prepare(1)
        samples, labels = self._prepared.popleft()
        self._numbers.indices()
        batch = samples.to(self._device, non_blocking=True).float().mul_(2 / 255).sub_(1)
        if self._labels is None:
            return batch, None
        return batch, labels.to(self._device, non_blocking=True)

    def _read(self) -> tuple[Tensor, Tensor]:
        """The next batch from the workers, uint8, and its labels."""
        try:
            if self._coming is None:
                with _sheltered():
                    self._coming = iter(self._loader)
            samples, labels, broken, away = next(self._coming)
        except (RuntimeError, OSError, EOFError, MemoryError) as error:
            self.close()
            cause = clean(str(error).partition("\n")[0] or type(error).__name__)
            raise SourceFault(f"a process that reads samples failed: {cause}", True) from None
        self.broken.update(broken)
        if len(samples):
            return samples, labels
        self.close()
        if away:
            raise SourceFault(f"samples cannot be read: {away}")
        raise SourceFault(
            f"{REPLACEMENTS} samples in a row can no longer be read, the last one {broken[-1]}"
        )

    def labels(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` labels drawn as often as they occur in the data, int64."""
        assert self._labels is not None
        chosen = torch.randint(
            len(self._labels), (count,), generator=generator, device=self._device
        )
        return self._labels.index_select(0, chosen)

    @property
    def generator(self) -> torch.Generator:
        """The generator that shuffles."""
        return self._numbers.generator

    @property
    def position(self) -> Position:
        """The position after the newest drawn batch, whatever the workers have read ahead."""
        return self._numbers.position

    def check(self, at: int) -> None:
        """ValueError where ``at`` is no number of samples that an epoch can stand at."""
        self._numbers.check(at)

    def go_to(self, position: Position) -> None:
        """Continue from a position; workers are restarted."""
        self.close()
        self._numbers.go_to(position)

    def close(self) -> None:
        """End the workers."""
        # torch ends the workers with their iterator; there is no public call.
        self._coming = None
        self._prepared.clear()


class _Read(NamedTuple):
    """A sample with its label, and the lines of unreadable ones before it.

    ``sample`` is None where none could be read; ``away`` says why the whole source is out of reach.
    """

    sample: Tensor | None
    label: int
    broken: list[str]
    away: str = ""


class _Joined(NamedTuple):
    """A batch of samples, uint8, with labels, int64, and lines of unreadable ones; may be empty."""

    samples: Tensor
    labels: Tensor
    broken: list[str]
    away: str = ""


class _Replacing:
    """A stream that replaces unreadable samples; the replacement depends on the files alone."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __len__(self) -> int:
        return len(self._stream)

    def __getitem__(self, index: int) -> _Read:
        broken: list[str] = []
        for ahead in range(REPLACEMENTS):
            try:
                sample, label = self._stream[(index + ahead) % len(self._stream)]
            except SourceAway as error:
                # Earlier failures may have had the same cause, so they are not counted.
                return _Read(None, -1, [], str(error))
            except BrokenSample as error:
                broken.append(str(error))
            else:
                return _Read(sample, label, broken)
        return _Read(None, -1, broken)


def _join(items: Sequence[_Read]) -> _Joined:
    """Join samples, in a worker. Errors are returned as data: a raised one loses its message."""
    samples = [item.sample for item in items if item.sample is not None]
    broken = [line for item in items for line in item.broken]
    if len(samples) < len(items):
        away = next((item.away for item in items if item.away), "")
        return _Joined(torch.empty(0), torch.empty(0), [] if away else broken, away)
    return _Joined(torch.stack(samples), torch.tensor([item.label for item in items]), broken)


class _Ahead:
    """Endless lists of sample numbers, one a batch, from the present position of ``numbers``."""

    def __init__(self, numbers: Batches) -> None:
        self._numbers = numbers

    def __iter__(self) -> Iterator[list[int]]:
        place = self._numbers
        ahead = Batches(place.samples, None, place.batch_size, torch.device("cpu"), seed=0)
        ahead.go_to(place.position)
        while True:
            yield ahead.indices().tolist()


def _cores() -> int:
    """The cores that this process may use; torch warns of more workers."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _context() -> multiprocessing.context.BaseContext:
    """How workers start: forked from a clean server process, or else spawned.

    A fork of this process, with its threads (screen, trainer) and perhaps a GPU, could hang. The
    server imports torch once for all workers and ends with this process.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "ganterm.data.folder"])
    return context


@contextmanager
def _sheltered() -> Iterator[None]:
    """Keep signals to the whole group away from processes that start inside.

    Such signals are Ctrl+C, a lost terminal and a scheduler's warning. Only the trainer ends the
    reading, and it ends a hanging worker by SIGTERM. The processes import nothing from the current
    folder.
    """
    safe = os.environ.get(search_path.VARIABLE)
    # Python builds the command line of these processes itself; options cannot be added to it.
    os.environ[search_path.VARIABLE] = "1"
    unheard = {*ENDING, signal.SIGHUP} - {signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, unheard)
    try:
        # Starting the tracker unblocks SIGINT.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, unheard)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if safe is None:
            del os.environ[search_path.VARIABLE]
        else:
            os.environ[search_path.VARIABLE] = safe
