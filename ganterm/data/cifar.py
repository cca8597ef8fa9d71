"""CIFAR-10, read by torchvision and downloaded on first use."""

from __future__ import annotations

from pathlib import Path

from ganterm.core.errors import UserError
from ganterm.data.download import broken, data_folder, digest, fetch, tar_file, unavailable
from ganterm.data.options import DataSection
from ganterm.data.source import Dataset, DataSource, ProgressCallback


def _load(options: DataSection, folder: Path | None, progress: ProgressCallback) -> Dataset:
    """The 50,000 training pictures.

    The files are pickles, which can run code, so none is opened before its checksum agrees.
    """
    import torch
    from torchvision.datasets import CIFAR10

    root = data_folder(folder)
    batches = root / CIFAR10.base_folder
    checksums = dict([*CIFAR10.train_list, *CIFAR10.test_list])
    checksums[CIFAR10.meta["filename"]] = CIFAR10.meta["md5"]
    try:
        if not all((batches / file).is_file() for file in checksums):
            members = [f"{CIFAR10.base_folder}/{file}" for file in checksums]
            fetch([CIFAR10.url], CIFAR10.tgz_md5, batches, progress, tar_file(members))
    except (UserError, OSError) as error:
        raise unavailable("cifar10", batches, error) from None
    progress("checking cifar10", None)
    for file, md5 in checksums.items():
        try:
            checksum = digest(batches / file, "md5")
        except OSError as error:
            raise broken(f"cifar10: {batches / file}", str(error)) from None
        if checksum != md5:
            raise broken(f"cifar10: {batches / file}", "its checksum is not CIFAR-10's")
    whole = CIFAR10(str(root), train=True, download=False)
    samples = torch.from_numpy(whole.data).permute(0, 3, 1, 2).contiguous()
    return Dataset("cifar10", samples, torch.tensor(whole.targets), tuple(whole.classes))


SOURCES = (
    DataSource(
        name="cifar10",
        title="CIFAR-10, the 50,000 training pictures of ten kinds",
        kind="image",
        size="50,000 x 32x32 RGB",
        load=_load,
    ),
)
