"""Exams: measurements of G and D, taken between two iterations.

A file in ``exams/`` lists its exams as ``EXAMS``, which is all it takes to have them taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from ganterm.core.controls import Controls
from ganterm.core.findings import Layer, Measure, Modes, Scores, Surface
from ganterm.diagnosis.classifier.model import Classifier, ClassifierOutput

EXAM_SAMPLES = 512
"""Number of fakes, and of reals, that most exams use."""


class Features(Protocol):
    """A fixed map from pictures to features; for points, the points themselves."""

    def features(self, samples: Tensor) -> Tensor:
        """float32 (n, width) of samples (n, ...) in -1..1."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The data that exams use. They never change during a run.

    ``reals``: samples in -1..1, (EXAM_SAMPLES, ...) or fewer, on the training device.
    ``other_reals``: as many others, to compare reals with reals. ``held_out``: reals that training
    never sees, or None. ``real_labels`` and ``held_out_labels``: their labels, int64, or None if
    the networks get no labels of the data. ``pack``: the number of samples that D scores together.
    ``data``: all samples as stored, uint8 or float32, on the training device or the host.
    ``prior``: the share of each class, float32 (m,). ``modes`` (m, 2) and ``sigma``: the centres
    and standard deviation of a mixture. ``classifier``: of labelled pictures; None without labels,
    or if they cannot be learnt well enough.
    """

    reals: Tensor
    other_reals: Tensor
    data: Tensor
    features: Features
    held_out: Tensor | None = None
    real_labels: Tensor | None = None
    held_out_labels: Tensor | None = None
    pack: int = 1
    classes: tuple[str, ...] = ()
    prior: Tensor | None = None
    modes: Tensor | None = None
    sigma: float = 0.0
    classifier: Classifier | None = None

    @property
    def plane(self) -> bool:
        """Whether samples are points of the plane."""
        return self.reals.dim() == 2

    @cached_property
    def real_features(self) -> Tensor:
        """The features of ``reals``, (n, width)."""
        return self.features.features(self.reals)

    @cached_property
    def other_features(self) -> Tensor:
        """The features of ``other_reals``, (n, width)."""
        return self.features.features(self.other_reals)


class ExamContext:
    """Networks, data and samples that the exams of one round share.

    Fakes and features are computed when they are first read, and kept for the round. Networks are
    in evaluation mode. ``random`` belongs to diagnosis alone: exams draw nothing from the
    generators of training. ``generate(count)`` returns fresh fakes (count, ...) and G's labels or
    None. ``score(samples, labels)`` returns D's raw scores. ``losses(reals, labels)`` returns the
    losses of D and of G on these and as many fresh fakes. All tensors are on the training device,
    and without gradients unless an exam enables them (``torch.enable_grad``).
    """

    def __init__(
        self,
        subject: Subject,
        step: int,
        controls: Controls,
        generator: nn.Module,
        discriminator: nn.Module,
        generate: Callable[[int], tuple[Tensor, Tensor | None]],
        score: Callable[[Tensor, Tensor | None], Tensor],
        random: torch.Generator,
        losses: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        self.subject = subject
        self.step = step
        self.controls = controls
        self.generator = generator
        self.discriminator = discriminator
        self.generate = generate
        self.score = score
        self.random = random
        self.losses = losses

    @cached_property
    def _generated(self) -> tuple[Tensor, Tensor | None]:
        fakes, labels = self.generate(EXAM_SAMPLES)
        return fakes.float().nan_to_num(), labels

    @property
    def fakes(self) -> Tensor:
        """EXAM_SAMPLES fresh fakes; non-finite values are 0."""
        return self._generated[0]

    @property
    def labels(self) -> Tensor | None:
        """G's labels for ``fakes``, int64, or None."""
        return self._generated[1]

    @cached_property
    def classifier_output(self) -> ClassifierOutput:
        """The classifier's output for ``fakes``; only if the run has a classifier."""
        assert self.subject.classifier is not None
        return self.subject.classifier.output(self.fakes)

    @cached_property
    def fake_features(self) -> Tensor:
        """The features of ``fakes``, (n, width)."""
        if self.subject.features is self.subject.classifier:
            return self.classifier_output.features
        return self.subject.features.features(self.fakes)


@dataclass(frozen=True, eq=False)
class ExamResult:
    """The readings of an exam by name (NaN: not measurable), and what panels draw from it."""

    readings: Mapping[str, float] = field(default_factory=dict)
    modes: Modes | None = None
    scores: Scores | None = None
    layers: tuple[Layer, ...] = ()
    surface: Surface | None = None


class Exam:
    """Base of all exams. ``measures``: its readings, by name. ``first``: taken in every round.

    Each run takes copies of the objects in ``EXAMS``, so the attributes of an exam can hold what it
    has to remember from one round to the next.
    """

    measures: ClassVar[Mapping[str, Measure]]
    first: ClassVar[bool] = False

    def fits(self, subject: Subject) -> bool:
        """Whether the exam can be taken on this run."""
        raise NotImplementedError

    def comes_first(self, subject: Subject) -> bool:
        """Whether the exam is taken in every round of this run."""
        return self.first

    def take(self, context: ExamContext) -> ExamResult:
        """Measure, between two iterations."""
        raise NotImplementedError
