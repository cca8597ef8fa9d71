"""How fast the weights of G and D move, relative to their size."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ganterm.core.findings import Measure
from ganterm.diagnosis.exam import Exam, ExamContext, ExamResult, Subject


class _Weights(NamedTuple):
    step: int
    g: Tensor
    d: Tensor


class UpdateRatios(Exam):
    """Movement of the weights per step since the last measurement, as a share of their norm.

    About 1e-3 is usual for one update (Karpathy, Stanford CS231n notes, 2015). Steps to and fro
    cancel, so the result is at most the mean of the single steps, and the smaller the longer ago
    the last measurement was.
    """

    measures: ClassVar = {
        f"update_ratio_{network.lower()}": Measure(
            f"update ratio {network}",
            "",
            f"{network}'s weights moved by this share of their norm a step; 1e-3 is usual",
        )
        for network in "GD"
    }

    def __init__(self) -> None:
        self._before: _Weights | None = None

    def fits(self, subject: Subject) -> bool:
        """Fits any data."""
        return True

    def take(self, context: ExamContext) -> ExamResult:
        """Compare with the last measurement; the first has no reading."""
        after = _Weights(context.step, _flat(context.generator), _flat(context.discriminator))
        before, self._before = self._before, after
        if before is None or after.step <= before.step:
            return ExamResult()
        steps = after.step - before.step
        return ExamResult(
            {
                "update_ratio_g": update_ratio(before.g, after.g, steps),
                "update_ratio_d": update_ratio(before.d, after.d, steps),
            }
        )


def update_ratio(before: Tensor, after: Tensor, steps: int) -> float:
    """|after - before| / |after| / steps of two weight vectors (n,), ``steps`` apart."""
    return float((after - before).norm() / after.norm()) / steps


def _flat(network: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


EXAMS = (UpdateRatios(),)
