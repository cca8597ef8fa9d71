from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganterm.diagnosis.exams.diversity import mean_distances, relative_diversity
from ganterm.diagnosis.norms import first_nonfinite, norms
from ganterm.diagnosis.ranking import auc

scores = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=20)


@given(scores, scores)
def test_auc_is_the_share_of_pairs_with_half_the_ties(real: list[float], fake: list[float]) -> None:
    pairs = [(r > f) + 0.5 * (r == f) for r in real for f in fake]
    got = auc(torch.tensor(real), torch.tensor(fake)).item()
    assert got == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 3), (17, 1, 5, 5), (64, 784)])
def test_mean_distance_equals_the_direct_computation(shape: tuple[int, ...]) -> None:
    samples = torch.randn(shape, generator=torch.Generator().manual_seed(1)) + 5
    expected = torch.pdist(samples.flatten(1).double()).mean().item()
    got = mean_distances(samples, 3 * samples)
    assert got.tolist() == pytest.approx([expected, 3 * expected], rel=1e-4)


def test_diversity_of_the_same_data_is_100_and_of_a_collapse_is_0() -> None:
    real = torch.randn(64, 10, generator=torch.Generator().manual_seed(2))
    assert relative_diversity(real, real).item() == pytest.approx(100)
    assert relative_diversity(real[:1].repeat(64, 1), real).item() == 0
    assert relative_diversity(0.5 * real, real).item() == pytest.approx(50)


def test_diversity_of_batches_is_on_average_that_of_all_pairs() -> None:
    random = torch.Generator().manual_seed(3)
    fakes, reals = torch.randn(400, 3, generator=random), torch.randn(400, 3, generator=random)
    fakes[::2] *= 0.2
    told = [
        relative_diversity(fakes[torch.randperm(400, generator=random)[:64]], reals).item()
        for _ in range(1000)
    ]
    neighbours = (reals[1:] - reals[:-1]).norm(dim=1).mean()
    all_pairs = torch.pdist(fakes).mean()
    assert sum(told) / len(told) == pytest.approx(100 * float(all_pairs / neighbours), rel=0.01)


def test_norms_are_those_of_each_tensor() -> None:
    tensors = [torch.full((2, 2), 2.0), torch.tensor([3.0])]
    assert norms(tensors).tolist() == [4.0, 3.0]


@given(st.lists(st.sampled_from([0.0, 1.0, math.inf, -math.inf, math.nan]), min_size=1, max_size=9))
def test_first_nonfinite_counts_from_the_end(values: list[float]) -> None:
    bad = [index for index, value in enumerate(values) if not math.isfinite(value)]
    expected = len(values) - bad[0] if bad else 0
    assert first_nonfinite(torch.tensor(values)).item() == expected
