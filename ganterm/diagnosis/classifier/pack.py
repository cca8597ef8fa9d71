"""``python -m ganterm.diagnosis.classifier.pack FILE``: train and pack the shipped classifier."""

import sys
from pathlib import Path

import torch

from ganterm.data.load import load_dataset
from ganterm.data.options import DataSection
from ganterm.diagnosis.classifier.obtain import to_bytes, train


def _print_progress(what: str, share: float | None) -> None:
    print(f"\r{what} {share or 0:4.0%}", end="", file=sys.stderr)


if __name__ == "__main__":
    (file,) = sys.argv[1:]
    # With more threads sums are added in another order, and the bytes differ.
    torch.set_num_threads(1)
    dataset = load_dataset(DataSection(name="mnist10k"), None, _print_progress)
    classifier = train(dataset, torch.device("cpu"), _print_progress)
    Path(file).write_bytes(to_bytes(classifier))
    print(
        f"\n{classifier.accuracy:.2%} of {classifier.held_out:,} held-out digits right",
        file=sys.stderr,
    )
