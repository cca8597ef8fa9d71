"""The small convolutional network behind ganterm's own classifier and its fixed features.

Three strided convolutions, a linear layer of 64 features, a linear layer of logits; weights are a
plain dict, so that no module's constructor draws from torch's default generator.
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
"""Channels: 512 pictures of 28x28 took 7 ms on one slow core; 16, 32, 64 took 17 ms."""

MOST_SIDE = 32
"""Pictures of twice this side or more are averaged down to below twice of it first."""

_AT_ONCE = 128
"""Samples looked at together: 1,024 of 28x28 took twice as long each, out of the caches."""

_MOST_VALUES = 2**21

Weights = dict[str, Tensor]


def shapes(shape: tuple[int, ...], classes: int) -> dict[str, tuple[int, ...]]:
    """The weights' shapes for pictures of ``shape``; ``classes`` 0: no layer of logits."""
    channels, *sides = shape
    layers: dict[str, tuple[int, ...]] = {}
    ins = channels
    for place, outs in enumerate(WIDTHS):
        layers[f"conv{place}"] = (outs, ins, _kernel(place), _kernel(place))
        ins = outs
    layers["features"] = (FEATURES, ins * math.prod(_shrunk(side) for side in sides))
    if classes:
        layers["logits"] = (classes, FEATURES)
    weights = {f"{name}.weight": layer for name, layer in layers.items()}
    return weights | {f"{name}.bias": layer[:1] for name, layer in layers.items()}


def init(shape: tuple[int, ...], classes: int, random: Generator) -> Weights:
    """First weights, float32, on the CPU: variance 2 / fan-in, biases 0 (He et al. 2015)."""
    weights = {}
    for name, layer in shapes(shape, classes).items():
        weights[name] = torch.zeros(layer)
        if name.endswith("weight"):
            weights[name].normal_(0, math.sqrt(2 / math.prod(layer[1:])), generator=random)
    return weights


def features(weights: Weights, batch: Tensor) -> Tensor:
    """The features, (n, 64), before their rectifier, of pictures in -1..1."""
    hidden = downsampled(batch)
    for place in range(len(WIDTHS)):
        weight, bias = weights[f"conv{place}.weight"], weights[f"conv{place}.bias"]
        hidden = functional.conv2d(hidden, weight, bias, stride=2, padding=_kernel(place) // 2)
        hidden = functional.relu(hidden)
    return functional.linear(
        hidden.flatten(1), weights["features.weight"], weights["features.bias"]
    )


def logits(weights: Weights, seen: Tensor) -> Tensor:
    """The logits, (n, classes), from ``features``."""
    return functional.linear(
        functional.relu(seen), weights["logits.weight"], weights["logits.bias"]
    )


def downsampled(batch: Tensor) -> Tensor:
    """Pictures averaged over whole squares of pixels, so that the side is below 64."""
    factor = max(1, min(batch.shape[2:]) // MOST_SIDE)
    return functional.avg_pool2d(batch, factor) if factor > 1 else batch


def as_floats(samples: Tensor, device: torch.device) -> Tensor:
    """Samples on ``device`` as float32; uint8 as -1..1."""
    moved = samples.to(device)
    if moved.dtype == torch.uint8:
        return moved.float().mul_(2 / 255).sub_(1)
    return moved.float()


def apply_in_parts(
    samples: Tensor, device: torch.device, look: Callable[[Tensor], Tensor]
) -> Tensor:
    """``look`` at the samples in parts of bounded memory and without gradients, joined again."""
    count = max(1, min(_AT_ONCE, _MOST_VALUES // max(1, samples[:1].numel())))
    with torch.no_grad():
        return torch.cat([look(as_floats(part, device)) for part in samples.split(count)])


def _kernel(place: int) -> int:
    """A kernel's side: the first sees wider, since it costs least."""
    return 5 if place == 0 else 3


def _shrunk(side: int) -> int:
    """What is left of a side after the averaging and the strides."""
    factor = max(1, side // MOST_SIDE)
    side //= factor
    for _ in WIDTHS:
        side = (side + 1) // 2
    return side
