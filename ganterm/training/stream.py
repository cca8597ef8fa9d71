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
"""Samples tried in place of one that broke; so many in a row mean that the data are gone."""
SILENT_SECONDS = 300
"""Without a batch, after which whoever should read one is taken to hang, as on a dead network."""


def batches_for(
    dataset: Dataset, labels_needed: bool, batch_size: int, device: torch.device, seed: int
) -> RealBatches:
    """Where the training gets its batches of ``dataset``: from the device, or from a stream."""
    if dataset.stream is not None:
        return StreamBatches(dataset.stream, labels_needed, batch_size, device, seed)
    labels = dataset.labels if labels_needed else None
    return Batches(dataset.samples, labels, batch_size, device, seed)


class StreamBatches:
    """The same shuffled epochs as ``Batches``, of samples that are read when they are due.

    The order follows from the seed alone, whatever the device and the number of ``workers`` (None:
    a core each, at most 8; 0: read in the calling thread). A sample that breaks is replaced by the
    next one that does not, and ``broken`` counts how often, by its line "name: cause". Workers
    start with the first batch, and anew after a SourceFault.
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
        # Workers read ahead: this follows what was really drawn.
        self._numbers = Batches(
            torch.arange(len(stream)), None, batch_size, torch.device("cpu"), seed
        )
        count = min(8, _cores()) if workers is None else workers
        self._loader: DataLoader[Any] = DataLoader(
            # All that a loader asks of a map-style set is its length and its items.
            cast("MapStyle[_Read]", _Replacing(stream)),
            batch_sampler=_Ahead(self._numbers),
            num_workers=count,
            timeout=SILENT_SECONDS if count else 0,
            collate_fn=_joined,
            pin_memory=device.type == "cuda",
            multiprocessing_context=_context() if count else None,
            # It seeds workers that draw nothing; without it, it would draw from torch's own.
            generator=torch.Generator(),
        )
        self._coming: Iterator[_Joined] | None = None
        self._prepared: deque[tuple[Tensor, Tensor]] = deque()

    def prepare(self, count: int) -> None:
        """Have the next so many batches at hand; SourceFault where they cannot be had."""
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
        """One more batch of those that workers read ahead, uint8, and its labels."""
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
        """What shuffles."""
        return self._numbers.generator

    @property
    def position(self) -> Position:
        """Behind the newest batch that was drawn, whatever the workers have read ahead."""
        return self._numbers.position

    def check(self, at: int) -> None:
        """ValueError where so many samples of an epoch are never drawn."""
        self._numbers.check(at)

    def go_to(self, position: Position) -> None:
        """Go on from there; workers begin anew."""
        self.close()
        self._numbers.go_to(position)

    def close(self) -> None:
        """End the workers."""
        # torch ends them when their iterator goes; it has no public call for it.
        self._coming = None
        self._prepared.clear()


class _Read(NamedTuple):
    """A sample with its label, and the lines of those that broke before it.

    None: all did, or the source is ``away``, for a cause.
    """

    sample: Tensor | None
    label: int
    broken: list[str]
    away: str = ""


class _Joined(NamedTuple):
    """A batch of samples, uint8, their labels, int64, and what broke; empty: nothing to read."""

    samples: Tensor
    labels: Tensor
    broken: list[str]
    away: str = ""


class _Replacing:
    """A stream whose broken samples are replaced, which depends on the files alone."""

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
                # What broke before may only have been the first to be missed.
                return _Read(None, -1, [], str(error))
            except BrokenSample as error:
                broken.append(str(error))
            else:
                return _Read(sample, label, broken)
        return _Read(None, -1, broken)


def _joined(items: Sequence[_Read]) -> _Joined:
    """Runs in a worker; an error is told as data, since one that is raised loses its words."""
    samples = [item.sample for item in items if item.sample is not None]
    broken = [line for item in items for line in item.broken]
    if len(samples) < len(items):
        away = next((item.away for item in items if item.away), "")
        return _Joined(torch.empty(0), torch.empty(0), [] if away else broken, away)
    return _Joined(torch.stack(samples), torch.tensor([item.label for item in items]), broken)


class _Ahead:
    """The numbers of the samples, a list a batch, for ever, from where ``numbers`` are."""

    def __init__(self, numbers: Batches) -> None:
        self._numbers = numbers

    def __iter__(self) -> Iterator[list[int]]:
        place = self._numbers
        ahead = Batches(place.samples, None, place.batch_size, torch.device("cpu"), seed=0)
        ahead.go_to(place.position)
        while True:
            yield ahead.indices().tolist()


def _cores() -> int:
    """Those that this process may use, where the system tells; torch warns of more workers."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _context() -> multiprocessing.context.BaseContext:
    """How workers start: forked from a clean server process, or spawned where there is none.

    A fork of this process, with its threads (screen, trainer) and perhaps a GPU, could hang. The
    server imports torch once for all workers; it ends with this process.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "ganterm.data.folder"])
    return context


@contextmanager
def _sheltered() -> Iterator[None]:
    """What starts within hears none of the signals that reach the whole group: Ctrl+C, a lost
    terminal, a scheduler's warning.

    The trainer alone says when reading ends; it ends a worker that hangs by SIGTERM. What starts
    within imports nothing from the current folder either.
    """
    safe = os.environ.get(search_path.VARIABLE)
    # Python starts these processes itself, by a command line that nobody can add to.
    os.environ[search_path.VARIABLE] = "1"
    unheard = {*ENDING, signal.SIGHUP} - {signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, unheard)
    try:
        # Its start lets SIGINT through again.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, unheard)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if safe is None:
            del os.environ[search_path.VARIABLE]
        else:
            os.environ[search_path.VARIABLE] = safe
