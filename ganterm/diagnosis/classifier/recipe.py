"""How the classifier is trained: one recipe for every labelled set, in bounded time.

Nothing is drawn from torch's default generator, and no setting of torch is changed for longer.
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
"""Counts up with every change of what is trained here or of the network: old files then expire."""

FEWEST = 300
"""Samples below which there is nothing to learn from and to measure on."""

LEAST_HELD_OUT = 200
MOST_SAMPLES = 20_000
MOST_HELD_OUT = 2_000
BATCH = 128
LOOKS = 130_000
"""Pictures looked at in all, so that any set takes about the same time."""

MOST_EPOCHS = 40
RATE = 3e-3
_SEED = 4
# Largest random shift (in half sides of the picture), turn (in radians) and change of scale (as an
# exponent). Digits stay readable within these.
_SHIFT, _TURN, _SCALE = 0.12, 0.15, 0.1
_PARTS = 64


def split(count: int) -> tuple[Tensor, Tensor]:
    """Places of the training and of the held-out samples, int64, of a set of ``count``.

    A tenth is held out, at least 200 and at most 2,000; both parts spread over the whole set,
    however its classes take turns, by multiples of the golden ratio (Knuth 1973, section 6.4):
    a rule, so that no library's shuffle can mix the parts.
    """
    keys = torch.arange(count) * 2_654_435_761 % 2**32
    order = keys.argsort()
    held = min(max(LEAST_HELD_OUT, count // 10), MOST_HELD_OUT)
    return order[held:MOST_SAMPLES], order[:held]


def fit(
    dataset: Dataset, training: Tensor, device: torch.device, tell: ProgressCallback
) -> Weights:
    """Weights trained on the samples at ``training``, on ``device``, rounded as files hold them.

    Adam (Kingma and Ba 2015) under a warm-up and half a cosine; pictures slightly moved, turned
    and scaled. The same bits for the same set, device and number of threads.
    """
    assert dataset.labels is not None
    samples = _shrunk(dataset.samples[training])
    labels = dataset.labels[training].to(device)
    random = torch.Generator().manual_seed(_SEED)
    first = network.init(dataset.shape, len(dataset.classes), random)
    weights = {name: weight.to(device).requires_grad_() for name, weight in first.items()}
    optimizer = torch.optim.Adam(weights.values(), lr=RATE)
    count = len(samples)
    epochs = max(1, min(MOST_EPOCHS, LOOKS // count))
    batches = math.ceil(count / BATCH)
    quiet = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    with torch.enable_grad(), quiet:
        for epoch in range(epochs):
            for at, chosen in enumerate(torch.randperm(count, generator=random).split(BATCH)):
                share = (epoch * batches + at) / (epochs * batches)
                tell("training the mode classifier", share)
                optimizer.param_groups[0]["lr"] = RATE * min(
                    10 * share + 0.01, (1 + math.cos(math.pi * share)) / 2
                )
                batch = _moved(network.as_floats(samples[chosen], device), random)
                logits = network.logits(weights, network.features(weights, batch))
                loss = functional.cross_entropy(logits, labels[chosen.to(device)])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    tell("training the mode classifier", 1.0)
    return {name: weight.detach().half().float() for name, weight in weights.items()}


def _shrunk(samples: Tensor) -> Tensor:
    """The samples as the network averages them, uint8 again, made in parts."""
    parts = samples.split(_PARTS)
    return torch.cat([network.downsampled(part.float()).round_().byte() for part in parts])


def _moved(batch: Tensor, random: torch.Generator) -> Tensor:
    """Each picture shifted, turned and scaled by a little of its own; the edge goes on outside."""
    draws = torch.rand(4, len(batch), generator=random).mul_(2).sub_(1)
    angle, scale = _TURN * draws[0], (_SCALE * draws[1]).exp()
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = [cos, -sin, _SHIFT * draws[2], sin, cos, _SHIFT * draws[3]]
    theta = torch.stack(rows, dim=1).view(-1, 2, 3).to(batch.device)
    grid = functional.affine_grid(theta, list(batch.shape), align_corners=False)
    return functional.grid_sample(batch, grid, padding_mode="border", align_corners=False)
