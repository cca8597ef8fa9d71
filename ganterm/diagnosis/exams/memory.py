"""Whether G repeats pictures of the training data: how near to them its own are."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from ganterm.core.findings import Measure
from ganterm.diagnosis.clouds import once_per_subject
from ganterm.diagnosis.exam import Exam, ExamContext, ExamResult, Subject
from ganterm.diagnosis.nearest import Near, as_bytes, nearest

SAMPLES = 32
"""Fakes looked at; each is compared with every picture."""
BYTES = 8 * 2**20
"""Of the data that are looked at on a CPU: 10,000 digits."""
ACCELERATED = 16
"""Times as many where there is an accelerator."""
COPY = 1 / 3
"""A fake is a copy if the nearest picture is this much closer than the next, the usual mark of
memorised pictures (Yoon et al. 2023). It needs no scale, so that the smooth pictures of a G that
is not done yet, which lie near the data's middle, are not taken for copies: of 300 fakes of a
healthy G on digits none is below 0.77; copies under noise of 0.1 are 0.22, the median."""


def share_of_copies(near: Near) -> float:
    """The share of samples that are copies, also of a picture that is there twice, 0..1.

    NaN where there are no two pictures to compare.
    """
    if not near.seconds.isfinite().all():
        return math.nan
    return float((near.distances <= COPY * near.seconds).double().mean())


def distances_to_others(near: Near) -> Tensor:
    """How far q samples are from the nearest picture that is not the sample itself, (q,)."""
    return torch.where(near.distances > 0, near.distances, near.seconds)


def pictures_to_compare(data: Tensor, device: torch.device) -> Tensor:
    """Pictures evenly from all of ``data`` (n, ...), as many as there is time for."""
    most = BYTES if device.type == "cpu" else ACCELERATED * BYTES
    every = math.ceil(data.numel() / most)
    return data[::every]


class Memory(Exam):
    """Copies of training pictures among fakes, and how near to the data fakes are at all."""

    measures: ClassVar = {
        "memorised": Measure(
            "memorised",
            "%",
            f"fakes three times closer to one training picture than to any other, of {SAMPLES};"
            f" where the data are many, looked for among {BYTES // 784:,} of 28 x 28 or as much"
            f" (an accelerator: {ACCELERATED} times that), so that rarer copies are missed",
        ),
        "nearest_ratio": Measure(
            "distance to the data",
            "",
            "from a fake to the nearest of those pictures, the median, by that from a real one to"
            " the nearest other: 0 is copies, 1 as new as the data themselves",
        ),
    }

    def fits(self, subject: Subject) -> bool:
        """On pictures."""
        return not subject.plane

    def take(self, context: ExamContext) -> ExamResult:
        """Of the first fakes."""
        subject = context.subject
        fakes = context.fakes[:SAMPLES]
        device = fakes.device
        near = nearest(as_bytes(fakes), pictures_to_compare(subject.data, device), device)
        apart = _between_reals(subject)
        ratio = float(near.distances.median()) / apart if 0 < apart < math.inf else math.nan
        return ExamResult(
            {
                "memorised": 100 * share_of_copies(near),
                "nearest_ratio": ratio,
            }
        )


@once_per_subject
def _between_reals(subject: Subject) -> float:
    reals = subject.reals[: 2 * SAMPLES]
    near = nearest(as_bytes(reals), pictures_to_compare(subject.data, reals.device), reals.device)
    return float(distances_to_others(near).median())


EXAMS = (Memory(),)
