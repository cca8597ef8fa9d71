"""What an exam is: one or more measures of G and D, taken between two iterations.

A file of this room that lists its exams as ``EXAMS`` has them taken; nothing else has to be told.
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
"""Fakes, and as many reals, that most exams look at."""


class Features(Protocol):
    """A fixed network that says what is in a picture; for points, the points themselves."""

    def features(self, samples: Tensor) -> Tensor:
        """float32 (n, width) of samples (n, ...) in -1..1."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What stays the same throughout a run.

    ``reals``: samples of the data, (EXAM_SAMPLES, ...) in -1..1 or fewer, on the training device.
    ``other_reals``: as many others, to compare reals with reals. ``held_out``:
    reals that training never sees, or None. ``real_labels`` and ``held_out_labels``, int64: theirs,
    None where the networks are not told the data's labels. ``pack``: samples that D judges at once.
    ``data``: all samples as they are stored, uint8 or
    float32, on the training device or the host. ``prior``: the share of each class, float32 (m,).
    ``modes`` (m, 2) with ``sigma``: a mixture's. ``classifier``: tells labelled pictures apart;
    None where there are no labels, or nothing can be learnt from them well enough.
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
        """Of ``reals``, (n, width)."""
        return self.features.features(self.reals)

    @cached_property
    def other_features(self) -> Tensor:
        """Of ``other_reals``, (n, width)."""
        return self.features.features(self.other_reals)


class ExamContext:
    """What the exams of one round look at; made when first asked for, then kept for the others.

    Networks are in evaluation mode meanwhile, and ``random`` is diagnosis's own, so that nothing
    is drawn from the training. ``make(count)``: fresh fakes (count, ...), with the labels G was
    told, or None. ``judge(samples, labels)``: D's raw scores. ``stakes(reals, labels)``: the losses
    of D and of G on these and as many fresh fakes. All on the training device and
    without gradients, unless an exam asks for them (``torch.enable_grad``).
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
        made, labels = self.generate(EXAM_SAMPLES)
        return made.float().nan_to_num(), labels

    @property
    def fakes(self) -> Tensor:
        """EXAM_SAMPLES fresh fakes; what is not finite is 0."""
        return self._generated[0]

    @property
    def labels(self) -> Tensor | None:
        """What G was told for each of ``fakes``, int64, or None."""
        return self._generated[1]

    @cached_property
    def classifier_output(self) -> ClassifierOutput:
        """What the classifier sees in ``fakes``; only where there is one."""
        assert self.subject.classifier is not None
        return self.subject.classifier.output(self.fakes)

    @cached_property
    def fake_features(self) -> Tensor:
        """Of ``fakes``, (n, width)."""
        if self.subject.features is self.subject.classifier:
            return self.classifier_output.features
        return self.subject.features.features(self.fakes)


@dataclass(frozen=True, eq=False)
class ExamResult:
    """What an exam found: values of its measures by name (NaN: could not be told), and pictures."""

    readings: Mapping[str, float] = field(default_factory=dict)
    modes: Modes | None = None
    scores: Scores | None = None
    layers: tuple[Layer, ...] = ()
    surface: Surface | None = None


class Exam:
    """Base of all exams. ``measures``: what it reads, by name; ``first``: taken in every round.

    What ``EXAMS`` lists are originals, never taken: each run copies them, so that an exam may keep
    in its own attributes what it has to remember from one round to another.
    """

    measures: ClassVar[Mapping[str, Measure]]
    first: ClassVar[bool] = False

    def fits(self, subject: Subject) -> bool:
        """Whether it can be taken on this run at all."""
        raise NotImplementedError

    def comes_first(self, subject: Subject) -> bool:
        """Whether it is taken in every round of this run."""
        return self.first

    def take(self, context: ExamContext) -> ExamResult:
        """Measure, between two iterations."""
        raise NotImplementedError
