"""The training loop that tutorials teach, for comparison. Nothing in it is slow on purpose.

It has a DataLoader with transforms for each picture, default Adam, and ``.item()`` in every step.
``python -m ganterm.bench.tutorial PRESET FILE [THREADS]`` trains until it is stopped and writes the
time at the end of each step to FILE. Without THREADS, torch chooses the number of threads.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from ganterm import presets
from ganterm.data import source
from ganterm.data.load import load_dataset
from ganterm.training.device import resolve_device


class Samples(Dataset[tuple[torch.Tensor, int]]):
    """Items as of torchvision's MNIST: tensor to PIL image to transforms, and a label."""

    def __init__(self, dataset: source.Dataset) -> None:
        self._samples = dataset.samples
        assert dataset.labels is not None
        self._labels = dataset.labels
        pictures = [transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
        self._transform = transforms.Compose(pictures)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        sample, label = self._samples[index], int(self._labels[index])
        if sample.dtype == torch.uint8:
            sample = self._transform(Image.fromarray(sample[0].numpy()))
        return sample, label


def train(preset_name: str, file: Path) -> None:
    """Train for ever; write the time at the end of each step to ``file``."""
    _, preset = presets.load(preset_name)
    dataset = load_dataset(preset.data, None, lambda doing, share: None)
    generator = preset.generator.build(dataset.shape)
    discriminator = preset.discriminator.build(dataset.shape)
    device = resolve_device("auto")
    generator, discriminator = generator.to(device), discriminator.to(device)
    adam_g = torch.optim.Adam(generator.parameters(), lr=preset.controls.lr_g)
    adam_d = torch.optim.Adam(discriminator.parameters(), lr=preset.controls.lr_d)
    criterion = nn.BCEWithLogitsLoss()
    batch = preset.data.batch_size
    loader = DataLoader(Samples(dataset), batch, shuffle=True, drop_last=True)
    ones, zeros = torch.ones(batch, device=device), torch.zeros(batch, device=device)
    losses = []
    with file.open("w", buffering=1) as times:
        while True:
            for real, _ in loader:
                fake = generator(torch.randn(batch, preset.generator.latent_dim, device=device))
                adam_d.zero_grad()
                d_loss = criterion(discriminator(real.to(device)), ones)
                d_loss = d_loss + criterion(discriminator(fake.detach()), zeros)
                d_loss.backward()
                adam_d.step()
                adam_g.zero_grad()
                fake = generator(torch.randn(batch, preset.generator.latent_dim, device=device))
                g_loss = criterion(discriminator(fake), ones)
                g_loss.backward()
                adam_g.step()
                losses.append((d_loss.item(), g_loss.item()))
                times.write(f"{time.time()}\n")


if __name__ == "__main__":
    if len(sys.argv) > 3:
        torch.set_num_threads(int(sys.argv[3]))
    train(sys.argv[1], Path(sys.argv[2]))
