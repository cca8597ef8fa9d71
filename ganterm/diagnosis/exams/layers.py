"""Gradients and dead units of each layer of G and D."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ganterm.core.findings import Layer, Measure
from ganterm.diagnosis.anatomy import layer_groups, layer_title, layers_of
from ganterm.diagnosis.dead_units import UnitActivity
from ganterm.diagnosis.exam import Exam, ExamContext, ExamResult, Subject
from ganterm.diagnosis.norms import norms

SAMPLES = 128
"""Number of reals, and of fakes, in both losses."""
MOST = 24
"""Most layers listed for a network: a panel has no more lines."""


class Layers(Exam):
    """Gradients under the loss in force, in evaluation mode, and dead units on the same samples."""

    measures: ClassVar = {
        "grad_ratio": Measure(
            "gradient G : D", "", "norm of G's gradient over that of D's, each of its own loss"
        ),
        **{
            f"dead_{network.lower()}": Measure(
                f"dead units {network}", "%", f"units of {network} that no sample makes active"
            )
            for network in "GD"
        },
    }

    def fits(self, subject: Subject) -> bool:
        """Fits any data."""
        return True

    def take(self, context: ExamContext) -> ExamResult:
        """Run one forward and backward pass for each network; ``grad`` attributes stay as is."""
        assert context.losses is not None
        g, d, subject = context.generator, context.discriminator, context.subject
        labels = subject.real_labels
        with torch.enable_grad(), UnitActivity(g) as units_g, UnitActivity(d) as units_d:
            d_loss, g_loss = context.losses(
                subject.reals[:SAMPLES], None if labels is None else labels[:SAMPLES]
            )
        layers_g = layers("G", g, gradients(g_loss, g), units_g)
        layers_d = layers("D", d, gradients(d_loss, d), units_d)
        norm_g, norm_d = [
            math.hypot(*(layer.grad_norm for layer in network)) for network in (layers_g, layers_d)
        ]
        readings = {
            "grad_ratio": ratio(norm_g, norm_d),
            "dead_g": 100 * units_g.dead(),
            "dead_d": 100 * units_d.dead(),
        }
        return ExamResult(readings, layers=(*layers_g, *layers_d))


def ratio(norm_g: float, norm_d: float) -> float:
    """G's norm over D's: inf if only D has no gradient, NaN if neither has one."""
    if norm_d == 0:
        return math.inf if norm_g > 0 else math.nan
    return norm_g / norm_d


def gradients(loss: Tensor, network: nn.Module) -> list[Tensor]:
    """The gradient of ``loss`` for each parameter; zeros if the loss does not depend on it."""
    return list(torch.autograd.grad(loss, list(network.parameters()), materialize_grads=True))


def layers(
    network: Literal["G", "D"], module: nn.Module, gradients: list[Tensor], units: UnitActivity
) -> list[Layer]:
    """Norms of each layer's gradient and weights; more than MOST layers are grouped.

    ``gradients``: in the order of ``module.parameters()``. The weights of a spectrally normalised
    layer are those before the division.
    """
    all_parameters = list(module.parameters())
    gradient_norms, weight_norms = (
        dict(zip(all_parameters, norms(tensors).tolist(), strict=True))
        for tensors in (gradients, [parameter.detach() for parameter in all_parameters])
    )
    parts = layers_of(module)
    rows = []
    for group, names in layer_groups(list(parts), MOST).items():
        parameters = [parameter for name in names for parameter in parts[name]]
        single = len(names) == 1
        rows.append(
            Layer(
                network,
                layer_title(module, names[0]) if single else f"{group} ({len(names)} layers)",
                math.hypot(*(gradient_norms[parameter] for parameter in parameters)),
                math.hypot(*(weight_norms[parameter] for parameter in parameters)),
                units.dead(names),
            )
        )
    return rows


EXAMS = (Layers(),)
