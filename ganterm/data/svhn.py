"""SVHN, photographed house numbers, read by torchvision and downloaded on first use."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ganterm.core.errors import UserError
from ganterm.data.download import broken, data_folder, digest, fetch, plain_file, unavailable
from ganterm.data.options import DataSection
from ganterm.data.source import Dataset, DataSource, ProgressCallback


def _load(options: DataSection, folder: Path | None, progress: ProgressCallback) -> Dataset:
    """The 73,257 training pictures."""
    if find_spec("scipy") is None:
        raise UserError("svhn: its files need scipy, which is not installed: pip install scipy")
    import torch
    from torchvision.datasets import SVHN

    root = data_folder(folder)
    url, name, md5 = SVHN.split_list["train"]
    file = root / name
    try:
        if not file.is_file():
            fetch([url], md5, root, progress, plain_file(name))
    except (UserError, OSError) as error:
        raise unavailable("svhn", file, error) from None
    progress("checking svhn", None)
    if digest(file, "md5") != md5:
        raise broken(f"svhn: {file}", "its checksum is not SVHN's")
    whole = SVHN(str(root), split="train", download=False)
    samples = torch.from_numpy(whole.data).contiguous()
    return Dataset("svhn", samples, torch.from_numpy(whole.labels), tuple("0123456789"))


SOURCES = (
    DataSource(
        name="svhn",
        title="SVHN, 73,257 photographed house numbers",
        kind="image",
        size="73,257 x 32x32 RGB",
        load=_load,
    ),
)
