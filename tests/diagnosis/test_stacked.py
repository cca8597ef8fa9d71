from __future__ import annotations

import math

import pytest
import torch

from ganterm.bench.stacked import MODES, SAMPLES, count
from ganterm.diagnosis.classifier.model import Prediction


def told(labels: torch.Tensor, confidence: float = 1.0) -> Prediction:
    return Prediction(labels, torch.full((len(labels),), confidence))


def test_modes_and_kl_are_those_of_the_histogram() -> None:
    even = torch.arange(SAMPLES) % MODES
    assert count(told(even)) == pytest.approx((1000, 1000, 0), abs=1e-6)
    assert count(told(even % 250)) == pytest.approx((250, 250, math.log(4)))
    assert count(told(even * 0)) == pytest.approx((1, 1, math.log(1000)))


def test_a_mode_is_sure_by_three_sure_samples() -> None:
    labels = torch.tensor([7, 7, 7, 8, 8, 9, 9, 9])
    confidence = torch.tensor([0.9, 1, 1, 1, 1, 1, 1, 0.5])
    found = count(Prediction(labels, confidence))
    assert (found.modes, found.sure) == (3, 1)


def test_the_noise_of_the_protocols_samples_is_that_of_the_reference() -> None:
    """Evenly drawn stacks come to (m - 1) / 2n in the mean, 0.0192."""
    drawn = torch.randint(MODES, (SAMPLES,), generator=torch.Generator().manual_seed(0))
    assert count(told(drawn)).kl == pytest.approx((MODES - 1) / (2 * SAMPLES), rel=0.1)
