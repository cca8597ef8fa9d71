"""mnist10k: 10,000 real MNIST digits inside the package (source and licence: DIGITS.md).

``python -m ganterm.data.pack_digits RAW_FOLDER FILE`` rebuilds the embedded file, byte for byte,
from MNIST's two training files.
"""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path

import numpy as np

from ganterm.core.errors import UserError
from ganterm.data.options import DataSection
from ganterm.data.source import Dataset, DataSource, ProgressCallback

PER_CLASS = 1_000
COUNT = 10 * PER_CLASS
FILE = Path(__file__).with_name("digits.xz")
SHA256 = "214a6617932dfa0b829788504e90c00dee4bfac54b8e6ee43f823f5adb019c6b"
"""Checksum of the embedded file."""

# All settings are spelled out: a change of the library's defaults must not change the bytes.
_FILTERS = [
    {
        "id": lzma.FILTER_LZMA2,
        "preset": 9 | lzma.PRESET_EXTREME,
        "dict_size": 1 << 24,
        "lc": 0,
        "lp": 0,
        "pb": 0,
    }
]


def pack(raw: Path) -> bytes:
    """The bytes of the embedded file: the first 1,000 of each class, in the training file's order.

    ``raw`` holds ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``. The content is the
    pictures (10,000 x 28 x 28 bytes), then the labels (10,000 bytes), as one xz stream.
    """
    images = np.fromfile(raw / "train-images-idx3-ubyte", np.uint8, offset=16).reshape(-1, 28, 28)
    labels = np.fromfile(raw / "train-labels-idx1-ubyte", np.uint8, offset=8)
    firsts = [np.flatnonzero(labels == digit)[:PER_CLASS] for digit in range(10)]
    places = np.sort(np.concatenate(firsts))
    content = images[places].tobytes() + labels[places].tobytes()
    return lzma.compress(content, lzma.FORMAT_XZ, lzma.CHECK_CRC64, filters=_FILTERS)


def unpack() -> tuple[np.ndarray, np.ndarray]:
    """Pictures, uint8 (10000, 28, 28), and labels, uint8 (10000,); UserError if damaged."""
    archive = FILE.read_bytes()
    if hashlib.sha256(archive).hexdigest() != SHA256:
        raise UserError(
            "mnist10k: the embedded digits are damaged; install ganterm again, "
            "or choose --set data.name=mnist"
        )
    content = np.frombuffer(lzma.decompress(archive), np.uint8)
    return content[: COUNT * 784].reshape(COUNT, 28, 28), content[COUNT * 784 :]


def _load(options: DataSection, folder: Path | None, progress: ProgressCallback) -> Dataset:
    import torch

    progress("unpacking the embedded digits", None)
    images, labels = unpack()
    return Dataset(
        name="mnist10k",
        samples=torch.from_numpy(images.copy()).unsqueeze(1),
        labels=torch.from_numpy(labels.astype(np.int64)),
        classes=tuple("0123456789"),
    )


SOURCES = (
    DataSource(
        name="mnist10k",
        title="10,000 MNIST digits, embedded",
        kind="image",
        size="10,000 x 28x28",
        load=_load,
    ),
)
