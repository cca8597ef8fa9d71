"""How a classifier is trained: one recipe for every labelled set, in bounded time.

Nothing is drawn from torch's default generator, and torch's settings are restored afterwards.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ganterm.data.source import Dataset, ProgressCallback
from ganterm.diagnosis.classifier import network
from ganterm.diagnosis.classifier.network import Weights

RECIPE = 1
"""Version of this recipe and of the network. A change of either needs the next number, which makes
cached classifiers expire.
"""

FEWEST = 300
"""Fewest samples of a set that is enough to train and to measure a classifier."""

LEAST_HELD_OUT = 200
MOST_HELD_OUT = 2_000
"""Bounds on the number of held-out samples: enough for the accuracy, and fast to classify."""
MOST_SAMPLES = 20_000
"""Most samples of a set that are used."""
BATCH = 128
TRAINING_PICTURES = 130_000
"""Pictures that training goes through, repeats included, so that any set takes about as long."""

MOST_EPOCHS = 40
"""Most passes over a set, for small ones."""
RATE = 3e-3
"""Learning rate of Adam at its largest."""
_SEED = 4
# Largest random shift (in half sides of the picture), rotation (in radians) and change of scale (as
# an exponent). Digits stay readable within these.
_SHIFT, _ROTATION, _SCALE = 0.12, 0.15, 0.1
_PART = 64
"""Pictures that are downsampled together, to bound memory."""


def split(count: int) -> tuple[Tensor, Tensor]:
    """Places, int64, of the training and of the held-out samples of a set of ``count``.

    A tenth is held out, within LEAST_HELD_OUT and MOST_HELD_OUT. Multiples of the golden ratio
    spread both parts over the whole set, whatever the order of its classes (Knuth 1973, section
    6.4). A shuffle could change with the library, and then mix the two parts.
    """
    keys = torch.arange(count) * 2_654_435_761 % 2**32
    order = keys.argsort()
    held_out = min(max(LEAST_HELD_OUT, count // 10), MOST_HELD_OUT)
    return order[held_out:MOST_SAMPLES], order[:held_out]


def fit(
    dataset: Dataset, training: Tensor, device: torch.device, progress: ProgressCallback
) -> Weights:
    """Train weights on the samples at ``training``, on ``device``; rounded to 16 bits as in files.

    Adam (Kingma and Ba 2015), with a warm-up and then half a cosine, on pictures that are slightly
    shifted, rotated and scaled. The result has the same bits for the same set, device and number
    of threads.
    """
    assert dataset.labels is not None
    samples = _downsample(dataset.samples[training])
    labels = dataset.labels[training].to(device)
    random = torch.Generator().manual_seed(_SEED)
    initial = network.init(dataset.shape, len(dataset.classes), random)
    weights = {name: weight.to(device).requires_grad_() for name, weight in initial.items()}
    optimizer = torch.optim.Adam(weights.values(), lr=RATE)
    count = len(samples)
    epochs = max(1, min(MOST_EPOCHS, TRAINING_PICTURES // count))
    batches = math.ceil(count / BATCH)
    exact = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    with torch.enable_grad(), exact:
        for epoch in range(epochs):
            for at, places in enumerate(torch.randperm(count, generator=random).split(BATCH)):
                share = (epoch * batches + at) / (epochs * batches)
                progress("training the mode classifier", share)
                optimizer.param_groups[0]["lr"] = RATE * min(
                    10 * share + 0.01, (1 + math.cos(math.pi * share)) / 2
                )
                batch = _augment(network.as_floats(samples[places], device), random)
                logits = network.logits(weights, network.features(weights, batch))
                loss = functional.cross_entropy(logits, labels[places.to(device)])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    progress("training the mode classifier", 1.0)
    return {name: weight.detach().half().float() for name, weight in weights.items()}


def _downsample(samples: Tensor) -> Tensor:
    """Downsample uint8 pictures as the network would, and round them to uint8 again."""
    parts = samples.split(_PART)
    return torch.cat([network.downsample(part.float()).round_().byte() for part in parts])


def _augment(batch: Tensor, random: torch.Generator) -> Tensor:
    """Shift, rotate and scale each picture a little at random; edge pixels extend outwards."""
    draws = torch.rand(4, len(batch), generator=random).mul_(2).sub_(1)
    angle, scale = _ROTATION * draws[0], (_SCALE * draws[1]).exp()
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = [cos, -sin, _SHIFT * draws[2], sin, cos, _SHIFT * draws[3]]
    theta = torch.stack(rows, dim=1).view(-1, 2, 3).to(batch.device)
    grid = functional.affine_grid(theta, list(batch.shape), align_corners=False)
    return functional.grid_sample(batch, grid, padding_mode="border", align_corners=False)
