"""The benchmark's own classifier of digits: stronger than that of the alarms, which never use it.

It is trained on 50,000 of MNIST's training digits if a data folder has them, else on nine tenths of
the embedded digits. Its accuracy is measured on the digits that are left out.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganterm.data import digits
from ganterm.data.load import load_dataset
from ganterm.data.options import DataSection

TRAINING_PICTURES = 150_000
"""Pictures that training goes through, repeats included."""
BATCH = 128
FILE = "judge.pt"


class StrongClassifier(NamedTuple):
    """A network from (n, 1, 28, 28) in -1..1 to logits (n, 10), its accuracy and its data."""

    network: nn.Module
    accuracy: float
    source: str


def strong_classifier(out: Path, data_dir: Path | None) -> StrongClassifier:
    """The classifier in the folder ``out``; trained in minutes if there is none yet."""
    path = out / FILE
    network = _network()
    if not path.exists():
        images, labels, held_images, held_labels, source = _data(data_dir)
        _train(network, images, labels)
        right = [
            (network(part).argmax(1) == targets).float().sum().item()
            for part, targets in zip(held_images.split(500), held_labels.split(500), strict=True)
        ]
        state = {"weights": network.state_dict(), "accuracy": sum(right) / len(held_labels)}
        torch.save({**state, "source": source}, path)
    content = torch.load(path, weights_only=True)
    network.load_state_dict(content["weights"])
    return StrongClassifier(network.eval(), content["accuracy"], content["source"])


def _network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3, padding=1),
        nn.BatchNorm2d(48),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(48, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64 * 9, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


def _data(data_dir: Path | None) -> tuple[Tensor, Tensor, Tensor, Tensor, str]:
    if data_dir is None:
        pictures, classes = digits.unpack()
        images = torch.from_numpy(pictures.copy()).unsqueeze(1)
        labels = torch.from_numpy(classes.copy())
        last = torch.arange(len(labels)) % 10 == 9
        parts = (images[~last], labels[~last].long(), images[last], labels[last].long())
        source = "9,000 of the embedded digits"
    else:
        mnist = load_dataset(DataSection(name="mnist"), data_dir, lambda doing, share: None)
        assert mnist.labels is not None
        images, labels = mnist.samples, mnist.labels
        last = torch.arange(len(labels)) >= len(labels) - 10_000
        parts = (images[~last], labels[~last], images[last], labels[last])
        source = f"{int((~last).sum()):,} digits of MNIST"
    images, labels, held_images, held_labels = parts
    return _scaled(images), labels, _scaled(held_images), held_labels, source


def _scaled(images: Tensor) -> Tensor:
    return images.float().mul_(2 / 255).sub_(1)


def _train(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Train with Adam under half a cosine, on digits rotated, scaled and shifted a little."""
    torch.manual_seed(11)
    rate, steps = 2e-3, TRAINING_PICTURES // BATCH
    optimizer = torch.optim.Adam(network.parameters(), rate)
    network.train()
    for step in range(steps):
        places = torch.randint(len(images), (BATCH,))
        angle, scale = 0.2 * torch.randn(BATCH), 1 + 0.1 * torch.randn(BATCH)
        shift = 0.1 * torch.randn(2, BATCH)
        cos, sin = scale * angle.cos(), scale * angle.sin()
        theta = torch.stack([cos, -sin, shift[0], sin, cos, shift[1]], dim=1).view(-1, 2, 3)
        grid = functional.affine_grid(theta, [BATCH, 1, 28, 28], align_corners=False)
        batch = functional.grid_sample(
            images[places], grid, padding_mode="border", align_corners=False
        )
        optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.zero_grad()
        functional.cross_entropy(network(batch), labels[places]).backward()
        optimizer.step()
    network.eval()
