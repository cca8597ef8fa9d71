"""From what a preset says of its data to the samples: loaded, then narrowed as asked."""

from __future__ import annotations

from pathlib import Path

from ganterm import data
from ganterm.data.options import DataSection
from ganterm.data.source import Dataset, Progress


def loaded(options: DataSection, folder: Path | None, progress: Progress) -> Dataset:
    """The data set of ``options``; UserError, naming the cause, where it cannot be had."""
    return data.DATASETS[options.name].load(options, folder, progress)
