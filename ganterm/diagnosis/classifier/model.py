"""A trained classifier: its logits, features, predicted classes and their confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ganterm.diagnosis.classifier import network
from ganterm.diagnosis.classifier.network import Weights


class ClassifierOutput(NamedTuple):
    """Logits and features of n samples, float32.

    ``logits``: (n, classes), or (n, stacked, 10) for stacks. ``features``: (n, 64), or
    (n, stacked * 64) for stacks: the layer before the logits, before its ReLU.
    """

    logits: Tensor
    features: Tensor


class Prediction(NamedTuple):
    """The classes of n samples.

    ``labels``: int64 (n,), places among the classes. ``confidence``: float32 (n,), 0..1, the
    largest probability; 0 for a sample that is not finite.
    """

    labels: Tensor
    confidence: Tensor


@dataclass(frozen=True)
class Classifier:
    """A trained classifier of samples of one shape.

    ``accuracy``: share, 0..1, of ``held_out`` pictures, not trained on, whose class it predicts.
    ``dataset_sha256``: of the set that it was trained on. ``stacked``: pictures in one sample, a
    channel each, each classified by itself. If there are several, ``accuracy`` is that of a single
    picture, ``classes`` are all 10 ** stacked modes, and a label has a decimal digit for each
    picture. ``notes``: what went wrong with the cache, a line each.
    """

    weights: Weights
    classes: tuple[str, ...]
    accuracy: float
    held_out: int
    dataset_sha256: str
    stacked: int = 1
    notes: tuple[str, ...] = ()

    def output(self, samples: Tensor) -> ClassifierOutput:
        """Logits and features of samples, float in -1..1 or uint8; on the weights' device.

        Samples are processed in parts, so that memory is bounded, and without gradients.
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
        """The features of samples, float32 (n, stacked * 64)."""
        return self.output(samples).features

    def predict(self, samples: Tensor) -> Prediction:
        """The class of each sample, float in -1..1 or uint8."""
        return self.prediction(self.output(samples).logits)

    def prediction(self, logits: Tensor) -> Prediction:
        """The class of each sample by its ``logits``; confidences of a stack are multiplied."""
        confidence, labels = logits.softmax(dim=-1).max(dim=-1)
        if self.stacked > 1:
            places = 10 ** torch.arange(self.stacked - 1, -1, -1, device=labels.device)
            labels, confidence = (labels * places).sum(dim=1), confidence.prod(dim=1)
        return Prediction(labels, confidence.nan_to_num(nan=0.0))

    def _features(self, batch: Tensor) -> Tensor:
        return network.features(self.weights, batch)
