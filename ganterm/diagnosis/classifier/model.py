"""What a trained classifier answers: logits, features, classes, confidences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ganterm.diagnosis.classifier import network
from ganterm.diagnosis.classifier.network import Weights


class ClassifierOutput(NamedTuple):
    """What a classifier sees in n samples, float32.

    ``logits``: (n, classes), of stacks (n, stacked, 10); ``features``: (n, 64), of stacks
    (n, stacked * 64), the layer before the logits, before its rectifier.
    """

    logits: Tensor
    features: Tensor


class Prediction(NamedTuple):
    """``labels``: int64 (n,), places among the classes; ``confidence``: float32 (n,), 0..1, the
    largest probability, 0 for a sample that is not finite."""

    labels: Tensor
    confidence: Tensor


@dataclass(frozen=True)
class Classifier:
    """A trained classifier of samples of one shape.

    ``accuracy``: share right, 0..1, of ``held_out`` pictures that it was not trained on.
    ``dataset_sha256``: of the set that it was trained on. ``stacked``: pictures in one sample, a
    channel each, each classified by itself; ``accuracy`` is that of one picture, ``classes`` are
    then all 10 ** stacked modes and a label reads as its digits do. ``notes``: what went wrong
    with the cache, a line each.
    """

    weights: Weights
    classes: tuple[str, ...]
    accuracy: float
    held_out: int
    dataset_sha256: str
    stacked: int = 1
    notes: tuple[str, ...] = ()

    def output(self, samples: Tensor) -> ClassifierOutput:
        """Logits and features of samples, float in -1..1 or uint8, on the weights' device.

        In parts of bounded memory, without gradients.
        """
        count, device = len(samples), self.weights["features.weight"].device
        if self.stacked > 1:
            samples = samples.flatten(0, 1).unsqueeze(1)
        features = network.apply_in_parts(samples, device, self._features)
        with torch.no_grad():
            logits = network.logits(self.weights, features)
        if self.stacked > 1:
            return ClassifierOutput(logits.view(count, self.stacked, -1), features.view(count, -1))
        return ClassifierOutput(logits, features)

    def features(self, samples: Tensor) -> Tensor:
        """The features of samples alone, float32 (n, 64 a picture)."""
        return self.output(samples).features

    def predict(self, samples: Tensor) -> Prediction:
        """The class of each sample, float in -1..1 or uint8."""
        return self.prediction(self.output(samples).logits)

    def prediction(self, logits: Tensor) -> Prediction:
        """The class of each sample by its ``logits``; of a stack the confidences multiplied."""
        confidence, labels = logits.softmax(dim=-1).max(dim=-1)
        if self.stacked > 1:
            places = 10 ** torch.arange(self.stacked - 1, -1, -1, device=labels.device)
            labels, confidence = (labels * places).sum(dim=1), confidence.prod(dim=1)
        return Prediction(labels, confidence.nan_to_num(nan=0.0))

    def _features(self, batch: Tensor) -> Tensor:
        return network.features(self.weights, batch)
