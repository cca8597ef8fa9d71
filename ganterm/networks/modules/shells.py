"""What surrounds a network's body of layers: labels that go in, scores that come out."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganterm.networks.options import DiscriminatorOptions, GeneratorOptions, Labels

EMBEDDING = 32
"""Numbers in an embedded label that joins noise or a flat sample."""


class DiscriminatorOutput(NamedTuple):
    """What a discriminator returns for a batch: raw scores (batch,), and more if it has it.

    ``logits`` (batch, classes): output of the auxiliary head. ``code`` (batch, n): an
    autoencoder's codes of the samples.
    """

    scores: Tensor
    logits: Tensor | None = None
    code: Tensor | None = None


def latent_width(options: GeneratorOptions, classes: int) -> int:
    """Numbers that enter a generator's body: the noise, and the label if it is conditional."""
    return options.latent_dim + _label_width(options.conditional, classes)


class Generator(nn.Module):
    """A body that maps noise, with the label appended if conditional, to samples.

    The body's input is (batch, ``latent_width``).
    """

    def __init__(self, body: nn.Module, options: GeneratorOptions, classes: int = 0) -> None:
        super().__init__()
        self.body = body
        self.label = _label_module(options.conditional, classes)

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Samples (batch, *shape) from ``noise`` (batch, latent_dim) and ``labels`` (batch,)."""
        if self.label is not None:
            noise = torch.cat([noise, self.label(labels)], dim=1)
        samples: Tensor = self.body(noise)
        return samples


class Discriminator(nn.Module):
    """A body that maps samples to features (batch, width), and the heads on them.

    ``flat``: the body takes vectors, so samples are flattened and the label is appended as numbers.
    Otherwise it takes pictures and the label is appended as channels: one plane for each class, or
    one embedded plane. ``shape_with_label`` gives the resulting shape. ``head`` maps features to
    (batch, 1).
    """

    def __init__(
        self,
        body: nn.Module,
        head: nn.Module,
        width: int,
        options: DiscriminatorOptions,
        shape: tuple[int, ...],
        classes: int = 0,
        flat: bool = False,
    ) -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.flat = flat
        self.plane = None if flat else shape[1:]
        self.label: nn.Module | None = None
        self.projection: nn.Embedding | None = None
        if options.conditional == "projection":
            self.projection = nn.Embedding(_require_labels(classes), width)
            # Torch's N(0, 1) would drown the score in a sum over thousands of features.
            nn.init.xavier_uniform_(self.projection.weight)
        elif options.conditional == "embedding" and not flat:
            self.label = nn.Embedding(_require_labels(classes), math.prod(shape[1:]))
        else:
            self.label = _label_module(options.conditional, classes)
        self.auxiliary = nn.Linear(width, _require_labels(classes)) if options.auxiliary else None

    def forward(
        self, samples: Tensor, labels: Tensor | None = None
    ) -> Tensor | DiscriminatorOutput:
        """Raw scores (batch,), with the auxiliary head's logits if there is one."""
        if self.flat:
            samples = samples.flatten(1)
        if self.label is not None:
            samples = torch.cat([samples, self._label_input(labels)], dim=1)
        features = self.body(samples)
        scores: Tensor = self.head(features).squeeze(1)
        if self.projection is not None:
            scores = scores + (self.projection(labels) * features).sum(1)
        if self.auxiliary is None:
            return scores
        return DiscriminatorOutput(scores, self.auxiliary(features))

    def _label_input(self, labels: Tensor | None) -> Tensor:
        assert self.label is not None
        vectors: Tensor = self.label(labels)
        if self.plane is None:
            return vectors
        if isinstance(self.label, OneHot):
            return vectors[:, :, None, None].expand(-1, -1, *self.plane)
        return vectors.view(-1, 1, *self.plane)


def shape_with_label(
    options: DiscriminatorOptions, shape: tuple[int, ...], classes: int, flat: bool = False
) -> tuple[int, ...]:
    """The shape of one input of a ``Discriminator``'s body: ``shape`` with the label appended."""
    kind = "none" if options.conditional == "projection" else options.conditional
    if flat:
        return (math.prod(shape) + _label_width(kind, classes),)
    planes = {"none": 0, "onehot": classes, "embedding": 1}[kind]
    return (shape[0] + planes, *shape[1:])


class OneHot(nn.Module):
    """Labels (batch,) as float (batch, classes)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, labels: Tensor) -> Tensor:
        """A 1 at each label's place."""
        return functional.one_hot(labels, self.classes).float()


def _label_width(kind: Labels, classes: int) -> int:
    return {"none": 0, "onehot": classes, "embedding": EMBEDDING}[kind]


def _label_module(kind: str, classes: int) -> nn.Module | None:
    if kind == "onehot":
        return OneHot(_require_labels(classes))
    return nn.Embedding(_require_labels(classes), EMBEDDING) if kind == "embedding" else None


def _require_labels(classes: int) -> int:
    """``classes``, or ValueError if there are none."""
    if not classes:
        raise ValueError(
            "a network that takes or predicts labels needs some: set generator.conditional, for "
            "the data's labels or for generator.codes of G's own"
        )
    return classes
