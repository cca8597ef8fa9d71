"""``python -m ganterm.diagnosis.classifier.pack FILE``: train and pack the shipped classifier."""

import sys
from pathlib import Path

import torch

from ganterm.data.load import load_dataset
from ganterm.data.options import DataSection
from ganterm.diagnosis.classifier.obtain import packed, train


def _told(what: str, share: float | None) -> None:
    print(f"\r{what} {share or 0:4.0%}", end="", file=sys.stderr)


if __name__ == "__main__":
    (file,) = sys.argv[1:]
    # More threads would add up in another order.
    torch.set_num_threads(1)
    dataset = load_dataset(DataSection(name="mnist10k"), None, _told)
    made = train(dataset, torch.device("cpu"), _told)
    Path(file).write_bytes(packed(made))
    print(f"\n{made.accuracy:.2%} of {made.held_out:,} held-out digits right", file=sys.stderr)
