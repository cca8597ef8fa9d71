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
"""Largest number of layers listed for a network: a panel has no more lines."""


class Layers(Exam):
    """Gradients of the loss in force, in evaluation mode, and dead units on the same samples."""

    measures: ClassVar = {
        "grad_ratio": Measure(
            "gradient G : D", "", "norm of G's gradient over D's, each of its own loss"
        ),
        **{
            f"dead_{network.lower()}": Measure(
                f"dead units {network}", "%", f"units of {network} that no sample makes active"
            )
            for network in "GD"
        },
    }

    def fits(self, subject: Subject) -> bool:
        """On any data."""
        return True

    def take(self, context: ExamContext) -> ExamResult:
        """Run one pass forward and back for each network; no ``grad`` changes."""
        assert context.losses is not None
        g, d, subject = context.generator, context.discriminator, context.subject
        labels = subject.real_labels
        with torch.enable_grad(), UnitActivity(g) as of_g, UnitActivity(d) as of_d:
            d_loss, g_loss = context.losses(
                subject.reals[:SAMPLES], None if labels is None else labels[:SAMPLES]
            )
        layers_g = layers("G", g, gradients(g_loss, g), of_g)
        layers_d = layers("D", d, gradients(d_loss, d), of_d)
        whole = [
            math.hypot(*(layer.grad_norm for layer in network)) for network in (layers_g, layers_d)
        ]
        readings = {
            "grad_ratio": ratio(*whole),
            "dead_g": 100 * of_g.dead(),
            "dead_d": 100 * of_d.dead(),
        }
        return ExamResult(readings, layers=(*layers_g, *layers_d))


def ratio(of_g: float, of_d: float) -> float:
    """Ratio of two norms: inf where only D has no gradient, NaN where neither has one."""
    if of_d == 0:
        return math.inf if of_g > 0 else math.nan
    return of_g / of_d


def gradients(loss: Tensor, network: nn.Module) -> list[Tensor]:
    """The gradient of ``loss`` for each parameter; zeros where it does not reach."""
    return list(torch.autograd.grad(loss, list(network.parameters()), materialize_grads=True))


def layers(
    network: Literal["G", "D"], module: nn.Module, gradients: list[Tensor], units: UnitActivity
) -> list[Layer]:
    """Norms of each layer's gradient and weights; more than MOST layers are grouped.

    ``gradients`` are in the order of ``module.parameters()``. A spectrally normalised layer's
    weights are those before the division.
    """
    own = list(module.parameters())
    of_gradients, of_weights = (
        dict(zip(own, norms(tensors).tolist(), strict=True))
        for tensors in (gradients, [parameter.detach() for parameter in own])
    )
    parts = layers_of(module)
    told = []
    for group, names in layer_groups(list(parts), MOST).items():
        parameters = [parameter for name in names for parameter in parts[name]]
        one = names[0] if len(names) == 1 else None
        told.append(
            Layer(
                network,
                layer_title(module, one) if one is not None else f"{group} ({len(names)} layers)",
                math.hypot(*(of_gradients[parameter] for parameter in parameters)),
                math.hypot(*(of_weights[parameter] for parameter in parameters)),
                units.dead(names),
            )
        )
    return told


EXAMS = (Layers(),)
