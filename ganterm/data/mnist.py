"""MNIST and Fashion-MNIST, whole, through torchvision; fetched on first use."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import platformdirs

from ganterm.data.download import fetch_gzip
from ganterm.data.options import DataSection
from ganterm.data.source import Dataset, DataSource, Progress
from ganterm.errors import UserError
from ganterm.text import clean

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


def _load(
    name: str, family: str, options: DataSection, folder: Path | None, progress: Progress
) -> Dataset:
    """``family`` is torchvision's class name, which is also the folder's name in its layout."""
    from torchvision import datasets

    kind = getattr(datasets, family)
    root = folder or Path(platformdirs.user_cache_dir("ganterm")) / "data"
    raw = root / family / "raw"
    try:
        for packed_name, md5 in kind.resources:
            target = raw / packed_name.removesuffix(".gz")
            if not target.is_file():
                fetch_gzip([m + packed_name for m in kind.mirrors], md5, target, progress)
    except (UserError, OSError) as error:
        raise UserError(
            f"{name}: not in {clean(raw)} and could not be fetched: {clean(error, 400)}\n"
            "Give the folder that holds it with --data-dir, "
            "or use the digits that need no network: --set data.name=mnist10k"
        ) from None
    progress(f"checking {name}", None)
    try:
        broken = [
            file
            for file, expected in _SHA256[family].items()
            if hashlib.sha256((raw / file).read_bytes()).hexdigest() != expected
        ]
    except OSError as error:
        broken = [str(error)]
    if broken:
        raise UserError(
            f"{name}: {clean(raw / broken[0])} is broken (its checksum is not {family}'s)\n"
            "Remove it to have it fetched again, or use --set data.name=mnist10k"
        )
    whole = kind(str(root), train=True, download=False)
    classes = tuple(str(name) for name in whole.classes)
    return Dataset(name, whole.data.unsqueeze(1), whole.targets, classes)


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
)
