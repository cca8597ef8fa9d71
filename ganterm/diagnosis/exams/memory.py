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
"""Most bytes of data that fakes are compared with on a CPU: 10,000 digits."""
ACCELERATED = 16
"""The same for an accelerator, as a multiple of BYTES."""
COPY = 1 / 3
"""A fake is a copy if its distance to the nearest picture is at most this share of its distance to
the second nearest (Yoon et al. 2023). A ratio needs no scale, so smooth pictures of an early G,
which are close to many pictures, do not count. Of 300 fakes of a healthy G on digits, none is below
0.77; copies under noise of 0.1 have a median of 0.22.
"""


def share_of_copies(near: Near) -> float:
    """The share of samples that are copies, 0..1; a picture may occur twice.

    NaN if there are not two pictures to compare with.
    """
    if not near.next_distances.isfinite().all():
        return math.nan
    return float((near.distances <= COPY * near.next_distances).double().mean())


def distances_to_others(near: Near) -> Tensor:
    """Distances of q samples to the nearest picture that is not the sample itself, (q,)."""
    return torch.where(near.distances > 0, near.distances, near.next_distances)


def pictures_to_compare(data: Tensor, device: torch.device) -> Tensor:
    """Pictures spread evenly over ``data`` (n, ...), within the bound of BYTES."""
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
            f" a large set is searched in part, {BYTES // 784:,} pictures of 28 x 28 or as much"
            f" (accelerators: {ACCELERATED} times that), so that rare copies are missed",
        ),
        "nearest_ratio": Measure(
            "distance to the data",
            "",
            "median distance of fakes to the nearest of these pictures, over that of reals to"
            " the nearest other: 0 for copies, 1 for a perfect G",
        ),
    }

    def fits(self, subject: Subject) -> bool:
        """Fits pictures."""
        return not subject.plane

    def take(self, context: ExamContext) -> ExamResult:
        """Measure the first fakes."""
        subject = context.subject
        fakes = context.fakes[:SAMPLES]
        device = fakes.device
        near = nearest(as_bytes(fakes), pictures_to_compare(subject.data, device), device)
        of_reals = _between_reals(subject)
        usable = 0 < of_reals < math.inf
        ratio = float(near.distances.median()) / of_reals if usable else math.nan
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
