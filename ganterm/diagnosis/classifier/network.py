"""The small convolutional network of ganterm's own classifier and of its fixed features.

It has three strided convolutions, a linear layer of 64 features and a linear layer of logits.
Weights are a plain dict: a module's constructor would draw from torch's default generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional

FEATURES = 64
"""Width of the layer before the logits."""

WIDTHS = (16, 32, 48)
"""Channels of the convolutions: 512 pictures of 28 x 28 take 7 ms on a slow core; with 64 channels
in the last, they take 17 ms.
"""

MOST_SIDE = 32
"""Pictures with twice this side, in pixels, or more are first averaged down to less than that."""

_PART = 128
"""Most samples in one pass: with 1,024 of 28 x 28, which outgrow the caches, each takes twice as
long.
"""

_MOST_VALUES = 2**21
"""Most numbers in the samples of one pass, to bound its memory."""

Weights = dict[str, Tensor]


def shapes(shape: tuple[int, ...], classes: int) -> dict[str, tuple[int, ...]]:
    """The shape of each weight for pictures of ``shape``; with 0 ``classes``, without logits."""
    inputs, *sides = shape
    layers: dict[str, tuple[int, ...]] = {}
    for place, outputs in enumerate(WIDTHS):
        layers[f"conv{place}"] = (outputs, inputs, _kernel(place), _kernel(place))
        inputs = outputs
    layers["features"] = (FEATURES, inputs * math.prod(_final_side(side) for side in sides))
    if classes:
        layers["logits"] = (classes, FEATURES)
    weights = {f"{name}.weight": layer for name, layer in layers.items()}
    return weights | {f"{name}.bias": layer[:1] for name, layer in layers.items()}


def init(shape: tuple[int, ...], classes: int, random: Generator) -> Weights:
    """Initial weights, float32 on the CPU: N(0, 2 / fan_in), biases 0 (He et al. 2015)."""
    weights = {}
    for name, layer in shapes(shape, classes).items():
        weights[name] = torch.zeros(layer)
        if name.endswith("weight"):
            weights[name].normal_(0, math.sqrt(2 / math.prod(layer[1:])), generator=random)
    return weights


def features(weights: Weights, batch: Tensor) -> Tensor:
    """Features (n, 64), before their ReLU, of pictures (n, channels, side, side) in -1..1."""
    hidden = downsample(batch)
    for place in range(len(WIDTHS)):
        weight, bias = weights[f"conv{place}.weight"], weights[f"conv{place}.bias"]
        hidden = functional.conv2d(hidden, weight, bias, stride=2, padding=_kernel(place) // 2)
        hidden = functional.relu(hidden)
    return functional.linear(
        hidden.flatten(1), weights["features.weight"], weights["features.bias"]
    )


def logits(weights: Weights, hidden: Tensor) -> Tensor:
    """Logits (n, classes) from the result of ``features``, (n, 64)."""
    return functional.linear(
        functional.relu(hidden), weights["logits.weight"], weights["logits.bias"]
    )


def downsample(batch: Tensor) -> Tensor:
    """Average pictures over squares of pixels, so that the side is less than 2 MOST_SIDE."""
    factor = max(1, min(batch.shape[2:]) // MOST_SIDE)
    return functional.avg_pool2d(batch, factor) if factor > 1 else batch


def as_floats(samples: Tensor, device: torch.device) -> Tensor:
    """Samples on ``device`` as float32; uint8 values are scaled to -1..1."""
    moved = samples.to(device)
    if moved.dtype == torch.uint8:
        return moved.float().mul_(2 / 255).sub_(1)
    return moved.float()


def apply_in_parts(
    samples: Tensor, device: torch.device, function: Callable[[Tensor], Tensor]
) -> Tensor:
    """Apply ``function`` to samples in parts, to bound memory, without gradients; join the results.

    Each part is passed on ``device`` as float32.
    """
    count = max(1, min(_PART, _MOST_VALUES // max(1, samples[:1].numel())))
    with torch.no_grad():
        return torch.cat([function(as_floats(part, device)) for part in samples.split(count)])


def _kernel(place: int) -> int:
    """Side of a convolution's kernel; the first is the cheapest, so it has the largest."""
    return 5 if place == 0 else 3


def _final_side(side: int) -> int:
    """Side of the last convolution's output for pictures with this side, in pixels."""
    factor = max(1, side // MOST_SIDE)
    side //= factor
    for _ in WIDTHS:
        side = (side + 1) // 2
    return side
