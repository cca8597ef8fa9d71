"""Samples as clouds of points, for exams that compare distances."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ganterm.diagnosis.exam import Subject

T = TypeVar("T")


def cloud(samples: Tensor) -> Tensor:
    """Samples (n, ...) as float64 (n, width) in host memory.

    Not every accelerator has float64, and a few hundred points are fast on any CPU.
    """
    return samples.flatten(1).cpu().double()


def all_finite(*clouds: Tensor) -> bool:
    """Whether no value is NaN or infinite."""
    return all(bool(points.isfinite().all()) for points in clouds)


def distances(ours: Tensor, theirs: Tensor) -> Tensor:
    """Euclidean distances of points (n, width) to others (m, width), float64 (n, m)."""
    # Centring keeps precision if all points lie far from 0.
    middle = ours.mean(dim=0)
    return torch.cdist(ours - middle, theirs - middle)


def neighbour_distances(points: Tensor, k: int = 1) -> Tensor:
    """The distance of each point (n, width) to its k-th nearest other, (n,); n > k >= 1."""
    to_others = distances(points, points).fill_diagonal_(math.inf)
    return to_others.kthvalue(k, dim=1).values


def once_per_subject(compute: Callable[[Subject], T]) -> Callable[[Subject], T]:
    """Cache ``compute`` for each subject: the samples of one never change during a run."""
    values: WeakKeyDictionary[Subject, T] = WeakKeyDictionary()

    @wraps(compute)
    def value(subject: Subject) -> T:
        if subject not in values:
            values[subject] = compute(subject)
        return values[subject]

    return value
