"""Samples as clouds of points: what several exams ask of them."""

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

    Not every accelerator has float64, and what is asked of a few hundred points is quick anywhere.
    """
    return samples.flatten(1).cpu().double()


def all_finite(*clouds: Tensor) -> bool:
    """Whether nothing in them is NaN or infinite."""
    return all(bool(points.isfinite().all()) for points in clouds)


def distances(ours: Tensor, theirs: Tensor) -> Tensor:
    """Euclidean distances of points (n, width) to others (m, width), float64 (n, m)."""
    # Round one of them, so that nothing is lost where all lie far from 0.
    middle = ours.mean(dim=0)
    return torch.cdist(ours - middle, theirs - middle)


def neighbour_distances(points: Tensor, k: int = 1) -> Tensor:
    """The distance of each of n points to its k-th nearest other, (n,); n > k >= 1."""
    apart = distances(points, points).fill_diagonal_(math.inf)
    return apart.kthvalue(k, dim=1).values


def once_per_subject(ask: Callable[[Subject], T]) -> Callable[[Subject], T]:
    """``ask``, answered but once for each subject: its samples stay the same throughout a run."""
    known: WeakKeyDictionary[Subject, T] = WeakKeyDictionary()

    @wraps(ask)
    def answer(subject: Subject) -> T:
        if subject not in known:
            known[subject] = ask(subject)
        return known[subject]

    return answer
