"""D's scores over the plane, for data that are points."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ganterm.core.findings import Surface
from ganterm.diagnosis.exam import Exam, ExamContext, ExamResult, Subject
from ganterm.losses import LOSSES

SIDE = 64
"""Points of the grid in each direction; a terminal shows no more."""
MARGIN = 0.25
"""Margin around the data on each side, as a share of their width and height."""


class DecisionSurface(Exam):
    """D's scores over the plane. They take a few milliseconds, so every round has them."""

    first = True
    measures: ClassVar = {}

    def fits(self, subject: Subject) -> bool:
        """Fits points, unless scores depend on a label as well."""
        return subject.plane and subject.real_labels is None

    def take(self, context: ExamContext) -> ExamResult:
        """Score a grid in one pass of D; a pack holds copies of one point."""
        subject = context.subject
        extent = extent_of(subject.reals)
        points = grid(extent, SIDE).to(subject.reals.device)
        scores = context.score(points.repeat_interleave(subject.pack, dim=0), None)
        boundary = LOSSES[context.controls.loss].boundary(
            context.score(subject.reals, None), context.score(context.fakes, None)
        )
        heights = scores.float().view(SIDE, SIDE).cpu().numpy().astype(np.float32)
        return ExamResult(surface=Surface(context.step, heights, extent, boundary))


def extent_of(points: Tensor) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of points (n, 2), with MARGIN on each side; the area is not 0."""
    low, high = points.amin(dim=0), points.amax(dim=0)
    size = high - low
    size = torch.where(size > 0, size, torch.ones_like(size))
    (left, bottom), (right, top) = (low - MARGIN * size).tolist(), (high + MARGIN * size).tolist()
    return left, right, bottom, top


def grid(extent: tuple[float, float, float, float], side: int) -> Tensor:
    """Points (side * side, 2) over ``extent``, ends included, row by row from the top left."""
    left, right, bottom, top = extent
    x, y = torch.linspace(left, right, side), torch.linspace(top, bottom, side)
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([columns, rows], dim=-1).view(-1, 2)


EXAMS = (DecisionSurface(),)
