"""Loading: from the ``[data]`` section to samples, narrowed by ``classes`` and ``limit``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ganterm import data
from ganterm.core.errors import UserError
from ganterm.core.text import clean, nearest
from ganterm.data.options import DataSection
from ganterm.data.source import Dataset, ProgressCallback

SPARE = 20
"""Pictures are held out only of sets with this many times as many: a small set needs them all."""
HELD_OUT_SEED = 256
"""Seed of the held-out choice, the same in every run, so that runs of several seeds compare."""


def load_dataset(options: DataSection, folder: Path | None, progress: ProgressCallback) -> Dataset:
    """The data set of ``options``; UserError, naming the cause, where it is not available."""
    whole = data.DATASETS[options.name].load(options, folder, progress)
    if whole.narrowed:
        return whole
    return _limited(_filtered(whole, options), options)


def split_held_out(whole: Dataset, count: int) -> tuple[Dataset, Dataset | None]:
    """The training set, and ``count`` pictures that are never trained on.

    The choice is random but the same in every run. The second is None, and nothing is held out, for
    points, for a stream, and where the set has fewer than SPARE times ``count`` samples.
    """
    import torch

    size = len(whole.samples)
    if not count or whole.stream is not None or whole.samples.dim() == 2 or size < SPARE * count:
        return whole, None
    order = torch.randperm(size, generator=torch.Generator().manual_seed(HELD_OUT_SEED))
    # Keep the data's own order, since views show "the first" samples.
    places = order[:count].sort().values, order[count:].sort().values
    held_out, kept = (
        replace(
            whole,
            samples=whole.samples[part],
            labels=None if whole.labels is None else whole.labels[part],
        )
        for part in places
    )
    return kept, held_out


def class_places(classes: Sequence[str], options: DataSection) -> list[int]:
    """The places of the wanted classes among all, in the data set's order; UserError for unknown
    ones.

    An entry is a class's name, or its number where no class has that name.
    """
    if not classes:
        raise UserError(f"data.classes: {options.name} has no labels to choose by")
    wanted = set()
    for entry in options.classes:
        name = str(entry)
        if name in classes:
            wanted.add(classes.index(name))
        elif name.isascii() and name.isdigit() and int(name) < len(classes):
            wanted.add(int(name))
        else:
            raise UserError(
                f"data.classes: {options.name} has no class '{clean(name, 40)}'; "
                f"{clean(nearest(name, classes))}"
            )
    return sorted(wanted)


def too_few(options: DataSection, count: int) -> UserError:
    """The error for a ``data.limit`` above the number of samples."""
    return UserError(f"data.limit: {options.limit:,}, but {options.name} has {count:,} samples")


def _filtered(whole: Dataset, options: DataSection) -> Dataset:
    """The samples of the wanted classes, with labels renumbered from 0."""
    import torch

    if not options.classes:
        return whole
    kept = class_places(whole.classes, options)
    assert whole.labels is not None
    renumbered = torch.full((len(whole.classes),), -1)
    renumbered[kept] = torch.arange(len(kept))
    labels = renumbered[whole.labels]
    places = (labels >= 0).nonzero().squeeze(1)
    return replace(
        whole,
        samples=whole.samples[places],
        labels=labels[places],
        classes=tuple(whole.classes[place] for place in kept),
        modes=None if whole.modes is None else whole.modes[kept],
    )


def _limited(whole: Dataset, options: DataSection) -> Dataset:
    limit = options.limit
    if not limit:
        return whole
    if limit > len(whole.samples):
        raise too_few(options, len(whole.samples))
    # Copies, since a slice would keep the whole set in memory.
    labels = None if whole.labels is None else whole.labels[:limit].clone()
    return replace(whole, samples=whole.samples[:limit].clone(), labels=labels)
