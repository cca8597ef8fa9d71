"""Whether G reproduces training data: distances of fakes to the nearest pictures."""

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
"""Number of fakes; each is compared with every picture."""
BYTES = 8 * 2**20
"""Bytes of data compared on a CPU: 10,000 digits."""
ACCELERATED = 16
"""How many times more data an accelerator compares."""
COPY = 1 / 3
"""Ratio of the nearest distance to the next below which a fake is a copy, the usual mark of
memorised pictures (Yoon et al. 2023). A ratio needs no scale, so smooth pictures of an early G,
which lie near the data's middle, do not count. Of 300 fakes of a healthy G on digits none is below
0.77; copies under noise of 0.1 have a median of 0.22.
"""


def share_of_copies(near: Near) -> float:
    """The share of samples that are copies, also of a picture that occurs twice, 0..1.

    NaN where there are no two pictures to compare.
    """
    if not near.seconds.isfinite().all():
        return math.nan
    return float((near.distances <= COPY * near.seconds).double().mean())


def distances_to_others(near: Near) -> Tensor:
    """Distances of q samples to the nearest picture that is not the sample itself, (q,)."""
    return torch.where(near.distances > 0, near.distances, near.seconds)


def pictures_to_compare(data: Tensor, device: torch.device) -> Tensor:
    """Pictures taken evenly from ``data`` (n, ...), as many as time allows."""
    most = BYTES if device.type == "cpu" else ACCELERATED * BYTES
    every = math.ceil(data.numel() / most)
    return data[::every]


class Memory(Exam):
    """Copies of training pictures among fakes, and the distance of fakes to the data."""

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
        """Measure the first fakes."""
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
