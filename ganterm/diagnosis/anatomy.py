"""The layers of a network: their parameters, titles and groups."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations


def layers_of(network: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The parameters of each module that has any of its own, by dotted name, as defined.

    Parameters of a parametrisation (spectral norm) count as those of its layer.
    """
    layers: dict[str, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        owner = re.sub(r"(^|\.)parametrizations\..*", "", name.rpartition(".")[0])
        layers.setdefault(owner, []).append(parameter)
    return layers


def layer_title(network: nn.Module, name: str) -> str:
    """A layer in a few words: "body.0 Linear 784x256", "body.3 Conv2d 64x128 4x4"."""
    layer = network.get_submodule(name)
    match layer:
        case nn.Linear():
            size = f"{layer.in_features}x{layer.out_features}"
        case nn.Embedding():
            size = f"{layer.num_embeddings}x{layer.embedding_dim}"
        case nn.modules.conv._ConvNd():
            kernel = "x".join(map(str, layer.kernel_size))
            size = f"{layer.in_channels}x{layer.out_channels} {kernel}"
        case _:
            size = str(max((p.numel() for p in layer.parameters(recurse=False)), default=0))
    kind = type_before_parametrizations(layer).__name__
    return f"{name} {kind} {size}".strip()


def layer_groups(names: Sequence[str], most: int) -> dict[str, list[str]]:
    """Dotted names in at most ``most`` groups, each called by the beginning that its names share.

    Beginnings are as long as possible. If even the first parts are too many, neighbours form groups
    called "first .. last".
    """
    for depth in range(max((name.count(".") + 1 for name in names), default=0), 0, -1):
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(".".join(name.split(".")[:depth]), []).append(name)
        if len(groups) <= most:
            return groups
    size = math.ceil(len(names) / most)
    chunks = [list(names[at : at + size]) for at in range(0, len(names), size)]
    return {f"{chunk[0]} .. {chunk[-1]}" if len(chunk) > 1 else chunk[0]: chunk for chunk in chunks}
