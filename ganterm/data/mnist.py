"""MNIST and the sets in its format, downloaded on first use from torchvision's addresses."""

from __future__ import annotations

import hashlib
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganterm.core.errors import UserError
from ganterm.data.download import (
    broken,
    data_folder,
    fetch,
    gzip_file,
    unavailable,
    zip_of_gzips,
)
from ganterm.data.options import DataSection
from ganterm.data.source import Dataset, DataSource, ProgressCallback

if TYPE_CHECKING:
    from torch import Tensor

# SHA-256 of the unpacked training files: no run trains on a broken copy.
_SHA256 = {
    "MNIST": {
        "train-images-idx3-ubyte": (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        "train-labels-idx1-ubyte": (
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
    },
    "FashionMNIST": {
        "train-images-idx3-ubyte": (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
        ),
        "train-labels-idx1-ubyte": (
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
        ),
    },
}

_EMNIST_SPLIT = "letters"


def _load(
    name: str, family: str, options: DataSection, folder: Path | None, progress: ProgressCallback
) -> Dataset:
    """Load a set; ``family`` is torchvision's class name and its name for the set's folder."""
    from torchvision import datasets

    torchvision_class = getattr(datasets, family)
    raw = data_folder(folder) / family / "raw"
    try:
        for archive, md5 in torchvision_class.resources:
            file = archive.removesuffix(".gz")
            if file.startswith("train") and not (raw / file).is_file():
                urls = [mirror + archive for mirror in torchvision_class.mirrors]
                fetch(urls, md5, raw, progress, gzip_file(file))
    except (UserError, OSError) as error:
        raise unavailable(name, raw, error) from None
    progress(f"checking {name}", None)
    # MNIST's classes are called "0 - zero" and so on: keep the digit.
    classes = tuple(str(label).split(" - ")[0] for label in torchvision_class.classes)
    images, labels = _read(name, raw, "train", _SHA256.get(family, {}), 0, len(classes))
    return Dataset(name, images.unsqueeze(1), labels, classes)


def _load_emnist(options: DataSection, folder: Path | None, progress: ProgressCallback) -> Dataset:
    """The split "letters": 124,800 pictures, 26 classes of upper and lower case together."""
    from torchvision import datasets

    raw = data_folder(folder) / "EMNIST" / "raw"
    prefix = f"emnist-{_EMNIST_SPLIT}-train"
    files = [f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"]
    try:
        if not all((raw / file).is_file() for file in files):
            members = [f"gzip/{file}.gz" for file in files]
            url, md5 = datasets.EMNIST.url, datasets.EMNIST.md5
            fetch([url], md5, raw, progress, zip_of_gzips(members))
    except (UserError, OSError) as error:
        raise unavailable("emnist", raw, error) from None
    progress("checking emnist", None)
    classes = tuple(datasets.EMNIST.classes_split_dict[_EMNIST_SPLIT][1:])
    # In these files rows and columns are exchanged, and labels start at 1.
    images, labels = _read("emnist", raw, prefix, {}, 1, len(classes))
    return Dataset("emnist", images.transpose(1, 2).contiguous().unsqueeze(1), labels, classes)


def _read(
    name: str, raw: Path, prefix: str, sha256: dict[str, str], labels_from: int, classes: int
) -> tuple[Tensor, Tensor]:
    """Read and check pictures, uint8 (n, 28, 28), and labels, int64 (n,), which start at 0.

    UserError if a file is broken. Files without a known SHA-256 are checked less strictly: header
    against length, number of pictures against labels, and labels against classes. A changed pixel
    is not noticed then. Torchvision's own reader is not used: it prefers a ``processed/*.pt`` that
    older versions left behind and that nothing checks.
    """
    import torch

    images, labels = (
        _idx(name, raw / f"{prefix}-{part}-ubyte", shape, sha256)
        for part, shape in (("images-idx3", (28, 28)), ("labels-idx1", ()))
    )
    if len(images) != len(labels):
        raise broken(f"{name}: {raw}", "there are not as many labels as pictures")
    numbers = labels.astype(np.int64) - labels_from
    if not ((numbers >= 0) & (numbers < classes)).all():
        raise broken(f"{name}: {raw / prefix}-labels-idx1-ubyte", "a label is of no class")
    return torch.from_numpy(images.copy()), torch.from_numpy(numbers)


def _idx(name: str, file: Path, shape: tuple[int, ...], sha256: dict[str, str]) -> np.ndarray:
    """Read and check an IDX file, uint8 (n, *shape).

    The header holds 32-bit big-endian numbers: 0x800 plus the number of dimensions, then each
    dimension.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise broken(f"{name}: {file}", str(error)) from None
    expected = sha256.get(file.name)
    if expected is not None and hashlib.sha256(content).hexdigest() != expected:
        raise broken(f"{name}: {file}", f"its checksum is not {file.parents[1].name}'s")
    size = 4 * (2 + len(shape))
    magic, count, *sides = (int.from_bytes(content[at : at + 4], "big") for at in range(0, size, 4))
    whole = size + count * math.prod(shape)
    if (magic, *sides) != (0x801 + len(shape), *shape) or len(content) != whole:
        raise broken(f"{name}: {file}", "its header does not fit its length")
    return np.frombuffer(content, np.uint8, offset=size).reshape(count, *shape)


SOURCES = (
    DataSource(
        name="mnist",
        title="MNIST, the 60,000 training digits",
        kind="image",
        size="60,000 x 28x28",
        load=partial(_load, "mnist", "MNIST"),
    ),
    DataSource(
        name="fashion_mnist",
        title="Fashion-MNIST, the 60,000 training pictures",
        kind="image",
        size="60,000 x 28x28",
        load=partial(_load, "fashion_mnist", "FashionMNIST"),
    ),
    DataSource(
        name="kmnist",
        title="Kuzushiji-MNIST, 60,000 cursive Japanese letters",
        kind="image",
        size="60,000 x 28x28",
        load=partial(_load, "kmnist", "KMNIST"),
    ),
    DataSource(
        name="emnist",
        title="EMNIST letters, 124,800 training letters",
        kind="image",
        size="124,800 x 28x28",
        load=_load_emnist,
    ),
)
