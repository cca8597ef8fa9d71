"""MNIST and the sets in its format, whole, through torchvision; fetched on first use."""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path

from ganterm.data.download import (
    broken,
    data_folder,
    digest,
    fetch,
    gunzipped,
    not_had,
    unzipped_gzips,
)
from ganterm.data.options import DataSection
from ganterm.data.source import Dataset, DataSource, Progress
from ganterm.errors import UserError

# SHA-256 of the unpacked training files, so that a broken copy is never trained on.
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
_IDX = {"images": (0x803, 3), "labels": (0x801, 1)}


def _load(
    name: str, family: str, options: DataSection, folder: Path | None, progress: Progress
) -> Dataset:
    """``family`` is torchvision's class name, which is also the folder's name in its layout."""
    from torchvision import datasets

    kind = getattr(datasets, family)
    root = data_folder(folder)
    raw = root / family / "raw"
    try:
        for packed_name, md5 in kind.resources:
            unpacked = packed_name.removesuffix(".gz")
            if not (raw / unpacked).is_file():
                urls = [mirror + packed_name for mirror in kind.mirrors]
                fetch(urls, md5, raw, progress, gunzipped(unpacked))
    except (UserError, OSError) as error:
        raise not_had(name, raw, error) from None
    progress(f"checking {name}", None)
    _check(name, raw, "train", _SHA256.get(family, {}))
    whole = kind(str(root), train=True, download=False)
    # "0 - zero" of the digits as "0".
    classes = tuple(str(name).split(" - ")[0] for name in whole.classes)
    return Dataset(name, whole.data.unsqueeze(1), whole.targets, classes)


def _load_emnist(options: DataSection, folder: Path | None, progress: Progress) -> Dataset:
    """The letters split: 124,800 letters, upper and lower case as one class each."""
    from torchvision import datasets

    root = data_folder(folder)
    raw = root / "EMNIST" / "raw"
    prefix = f"emnist-{_EMNIST_SPLIT}-train"
    wanted = [f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"]
    try:
        if not all((raw / file).is_file() for file in wanted):
            members = [f"gzip/{file}.gz" for file in wanted]
            kind = datasets.EMNIST
            fetch([kind.url], kind.md5, raw, progress, unzipped_gzips(members))
    except (UserError, OSError) as error:
        raise not_had("emnist", raw, error) from None
    progress("checking emnist", None)
    _check("emnist", raw, prefix, {})
    whole = datasets.EMNIST(str(root), split=_EMNIST_SPLIT, train=True, download=False)
    # The files hold the pictures with rows and columns exchanged, and labels from 1 on.
    upright = whole.data.transpose(1, 2).contiguous().unsqueeze(1)
    return Dataset("emnist", upright, whole.targets - 1, tuple(whole.classes[1:]))


def _check(name: str, raw: Path, prefix: str, sha256: dict[str, str]) -> None:
    """UserError where a training file is not what it should be.

    Where its SHA-256 is not known, its header must agree with its length, and pictures with labels.
    """
    counts = set()
    for part, (magic, dimensions) in _IDX.items():
        file = raw / f"{prefix}-{part}-idx{dimensions}-ubyte"
        expected = sha256.get(file.name)
        try:
            if expected is not None and digest(file, "sha256") != expected:
                raise broken(f"{name}: {file}", f"its checksum is not {raw.parent.name}'s")
            with file.open("rb") as source:
                head = source.read(4 + 4 * dimensions)
            found, *sizes = struct.unpack(f">{1 + dimensions}I", head)
            length = len(head)
            for size, right in zip(sizes, (sizes[0], 28, 28), strict=False):
                length = length if size == right else -1
            content = sizes[0] * (784 if dimensions == 3 else 1)
            if found != magic or length < 0 or file.stat().st_size != length + content:
                raise broken(f"{name}: {file}", "its header does not fit its length")
        except (OSError, struct.error) as error:
            raise broken(f"{name}: {file}", str(error)) from None
        counts.add(sizes[0])
    if len(counts) != 1:
        raise broken(f"{name}: {raw}", "there are not as many labels as pictures")


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
