"""Spectral normalisation of every layer of a network (Miyato et al. 2018)."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def spectrally_normalised(module: nn.Module) -> nn.Module:
    """Divide every linear, convolution and embedding weight by its largest singular value.

    One power iteration per forward pass estimates the value; its vectors are buffers. Returns
    ``module``, unchanged on the device "meta", where weights have no values.
    """
    if any(weight.is_meta for weight in module.parameters()):
        return module
    for layer in list(module.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            spectral_norm(layer)
    return module
