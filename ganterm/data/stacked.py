"""Stacked MNIST: three digits as red, green and blue, 1,000 modes (Metz et al. 2017)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ganterm import data
from ganterm.data.options import DataSection
from ganterm.data.source import Dataset, DataSource, ProgressCallback

COUNT = 128_000
"""Number of stacks, as in PacGAN's protocol (Lin et al. 2018)."""


def _load(
    name: str, digits: str, options: DataSection, folder: Path | None, progress: ProgressCallback
) -> Dataset:
    """Stacks of digits drawn with a fixed seed; a label's decimal digits are those in the stack."""
    import torch

    single = data.DATASETS[digits].load(options, folder, progress)
    assert single.labels is not None
    progress("stacking digits", None)
    generator = torch.Generator().manual_seed(1000)
    places = torch.randint(len(single.samples), (COUNT, 3), generator=generator)
    samples = single.samples.squeeze(1)[places]
    labels = single.labels[places] @ torch.tensor([100, 10, 1])
    classes = tuple(f"{mode:03d}" for mode in range(1000))
    return Dataset(name, samples, labels, classes, stacked=3)


SOURCES = tuple(
    DataSource(
        name=name,
        title=f"Stacked MNIST: three digits as RGB, 1,000 modes{source}",
        kind="image",
        size=f"{COUNT:,} x 28x28 RGB",
        load=partial(_load, name, digits),
    )
    for name, digits, source in (
        ("stacked_mnist", "mnist", ""),
        ("stacked_mnist10k", "mnist10k", ", of the embedded digits"),
    )
)
