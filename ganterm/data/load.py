"""Loads the samples that a ``[data]`` section describes, with its ``classes`` and ``limit``."""

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
"""Least size of a set, in multiples of the number held out: a smaller set needs all it has."""
HELD_OUT_SEED = 256
"""Seed that chooses the held-out pictures: the same in all runs, so that these can be compared."""


def load_dataset(options: DataSection, folder: Path | None, progress: ProgressCallback) -> Dataset:
    """Load the data set of ``options``; UserError, naming the cause, if it is not available."""
    whole = data.DATASETS[options.name].load(options, folder, progress)
    if whole.narrowed:
        return whole
    return _apply_limit(_select_classes(whole, options), options)


def split_held_out(whole: Dataset, count: int) -> tuple[Dataset, Dataset | None]:
    """Split a set into the training set and ``count`` pictures that are never trained on.

    The choice is random but the same in every run. Nothing is held out, and the second is None, for
    points, for a stream, and if the set has fewer than SPARE times ``count`` samples.
    """
    import torch

    size = len(whole.samples)
    if not count or whole.stream is not None or whole.samples.dim() == 2 or size < SPARE * count:
        return whole, None
    order = torch.randperm(size, generator=torch.Generator().manual_seed(HELD_OUT_SEED))
    # Keep the data's own order, since views show "the first" samples.
    places = order[:count].sort().values, order[count:].sort().values
    held_out, training = (
        replace(
            whole,
            samples=whole.samples[part],
            labels=None if whole.labels is None else whole.labels[part],
        )
        for part in places
    )
    return training, held_out


def class_places(classes: Sequence[str], options: DataSection) -> list[int]:
    """The places of the classes in ``options`` among all ``classes``, rising.

    An entry is a class's name, or its number if no class has that name. UserError for an entry that
    is neither, and for a set without classes.
    """
    if not classes:
        raise UserError(f"data.classes: {options.name} has no labels to choose by")
    places = set()
    for entry in options.classes:
        name = str(entry)
        if name in classes:
            places.add(classes.index(name))
        elif name.isascii() and name.isdigit() and int(name) < len(classes):
            places.add(int(name))
        else:
            raise UserError(
                f"data.classes: {options.name} has no class '{clean(name, 40)}'; "
                f"{clean(nearest(name, classes))}"
            )
    return sorted(places)


def too_few(options: DataSection, count: int) -> UserError:
    """The error for a ``data.limit`` above the number of samples."""
    return UserError(f"data.limit: {options.limit:,}, but {options.name} has {count:,} samples")


def _select_classes(whole: Dataset, options: DataSection) -> Dataset:
    """Only the samples of the classes in ``options``, with labels renumbered from 0."""
    import torch

    if not options.classes:
        return whole
    classes = class_places(whole.classes, options)
    assert whole.labels is not None
    new_labels = torch.full((len(whole.classes),), -1)
    new_labels[classes] = torch.arange(len(classes))
    labels = new_labels[whole.labels]
    places = (labels >= 0).nonzero().squeeze(1)
    return replace(
        whole,
        samples=whole.samples[places],
        labels=labels[places],
        classes=tuple(whole.classes[place] for place in classes),
        modes=None if whole.modes is None else whole.modes[classes],
    )


def _apply_limit(whole: Dataset, options: DataSection) -> Dataset:
    """Only the first ``limit`` samples; UserError if there are fewer."""
    limit = options.limit
    if not limit:
        return whole
    if limit > len(whole.samples):
        raise too_few(options, len(whole.samples))
    # Copies, since a slice would keep the whole set in memory.
    labels = None if whole.labels is None else whole.labels[:limit].clone()
    return replace(whole, samples=whole.samples[:limit].clone(), labels=labels)
