"""Small parts that several families share: activations and initial weights."""

from __future__ import annotations

import math
from typing import TypeVar

from torch import nn

from ganterm.networks.options import Activation

M = TypeVar("M", bound=nn.Module)


def activation(name: Activation) -> nn.Module:
    """A fresh activation; leaky ReLU with slope 0.2 (Radford et al. 2016)."""
    if name == "leaky_relu":
        return nn.LeakyReLU(0.2)
    kinds: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "prelu": nn.PReLU, "tanh": nn.Tanh}
    return kinds[name]()


def he_normal(module: M) -> M:
    """Linear weights N(0, 2 / fan_in), zero biases (He et al. 2015); returns ``module``."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_features))
            nn.init.zeros_(layer.bias)
    return module


def dcgan_normal(module: M) -> M:
    """Draw weights from N(0, 0.02) and norms' scales from N(1, 0.02) (Radford et al. 2016).

    The second number is the standard deviation. Shifts of norms become 0. Other biases keep
    torch's first values, as in pytorch/examples. Returns ``module``.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=0.02)
        elif isinstance(layer, nn.BatchNorm2d | nn.GroupNorm | nn.InstanceNorm2d):
            nn.init.normal_(layer.weight, mean=1.0, std=0.02)
            nn.init.zeros_(layer.bias)
    return module


def glorot_uniform(module: M) -> M:
    """Weights U(-a, a) with a^2 = 6 / (fan_in + fan_out), zero biases (Glorot and Bengio 2010).

    This is Keras' default. Returns ``module``.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module
