"""Spectral normalisation of every layer of a network (Miyato et al. 2018)."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def spectrally_normalised(module: nn.Module) -> nn.Module:
    """``module`` with every linear, convolution and embedding weight divided by its largest
    singular value, from one power iteration a forward pass; the vectors are buffers.

    On the device "meta", where there are no values, it stays as it is."""
    if any(weight.is_meta for weight in module.parameters()):
        return module
    for layer in list(module.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            spectral_norm(layer)
    return module
