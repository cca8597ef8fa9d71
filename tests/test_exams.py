"""Exams that measure samples: each formula against another computation, then the bad cases."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ganterm.controls import Controls
from ganterm.diagnosis.clouds import cloud, distances, neighbours, once
from ganterm.diagnosis.duplicates import Duplicates, close_pairs, closeness, support
from ganterm.diagnosis.exam import LOOKED_AT, Exam, Look, Subject
from ganterm.diagnosis.manifold import Covering, expected_coverage, manifold
from ganterm.diagnosis.vendi import Vendi, alike, known, relative_vendi, vendi_score

EXAMS: list[Exam] = [Vendi(), Duplicates(), Covering()]


class Sums:
    """A small stand-in for a network: fixed sums of a sample's values."""

    accuracy = 0.99

    def features(self, samples: Tensor) -> Tensor:
        flat = samples.flatten(1)
        random = torch.Generator().manual_seed(0)
        return flat @ torch.randn(flat.shape[1], 8, generator=random)

    def predict(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(samples), dtype=torch.int64), torch.ones(len(samples))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, seed: int = 0, side: int = 16) -> Tensor:
    """Smooth random pictures (n, 1, side, side) in -1..1."""
    coarse = torch.randn(count, 1, 5, 5, generator=seeded(seed))
    smooth = nn.functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)
    return smooth.tanh()


def subject_of(samples: Tensor, judged: bool = False) -> Subject:
    """The first half are the reals; all are the data."""
    reals, others = samples.chunk(2)
    picture = samples.dim() == 4
    data = samples.add(1).mul(127.5).round().to(torch.uint8) if picture else samples
    return Subject(
        reals, others, data, Sums() if picture else Flat(), classifier=Sums() if judged else None
    )


class Flat:
    """Points are their own features."""

    def features(self, samples: Tensor) -> Tensor:
        return samples.flatten(1)


def look_at(subject: Subject, make: Callable[[int], Tensor]) -> Look:
    def judge(samples: Tensor, labels: Tensor | None) -> Tensor:
        return samples.flatten(1).mean(dim=1)

    return Look(
        subject,
        7,
        Controls(),
        nn.Identity(),
        nn.Identity(),
        lambda count: (make(count), None),
        judge,
        seeded(0),
    )


def read(exam: Exam, subject: Subject, make: Callable[[int], Tensor]) -> dict[str, float]:
    return dict(exam.take(look_at(subject, make)).readings)


@pytest.fixture(scope="module")
def data() -> Subject:
    return subject_of(pictures(2 * LOOKED_AT), judged=True)


# What there is to be looked at in bad cases.

HALVES = torch.rand(2 * LOOKED_AT, 2, generator=seeded(3)) - 0.5
BAD: dict[str, Callable[[int], Tensor]] = {
    "black": lambda count: -torch.ones(count, 1, 16, 16),
    "one picture": lambda count: pictures(1, 9).expand(count, -1, -1, -1),
    "endless": lambda count: torch.full((count, 1, 16, 16), math.inf),
    "none": lambda count: torch.full((count, 1, 16, 16), math.nan),
    "huge": lambda count: 1e30 * pictures(count, 9),
    "two only": lambda count: pictures(2, 9),
}
FEW: dict[str, Tensor] = {
    "many": pictures(2 * LOOKED_AT),
    "alike": pictures(1).repeat(40, 1, 1, 1),
    "six": pictures(6),
    "one each": pictures(2),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("judged", [False, True])
@pytest.mark.parametrize("reals", FEW)
@pytest.mark.parametrize("fakes", BAD)
@pytest.mark.parametrize("exam", EXAMS, ids=lambda exam: type(exam).__name__)
def test_no_exam_stumbles_over_bad_samples(
    exam: Exam, fakes: str, reals: str, judged: bool
) -> None:
    subject = subject_of(FEW[reals], judged)
    if exam.fits(subject):
        found = read(exam, subject, BAD[fakes])
        assert found.keys() <= exam.measures.keys()
        assert all(isinstance(value, float) for value in found.values())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("fakes", [HALVES, HALVES[:1].expand(512, 2), HALVES * 1e30, HALVES[:2]])
@pytest.mark.parametrize("reals", [HALVES, HALVES[:1].expand(40, 2), HALVES[:6]])
@pytest.mark.parametrize("exam", EXAMS, ids=lambda exam: type(exam).__name__)
def test_no_exam_stumbles_over_bad_points(exam: Exam, fakes: Tensor, reals: Tensor) -> None:
    subject = subject_of(reals)
    if exam.fits(subject):
        assert read(exam, subject, lambda count: fakes[:count]).keys() <= exam.measures.keys()


@pytest.mark.parametrize("exam", EXAMS, ids=lambda exam: type(exam).__name__)
def test_every_measure_is_read_and_finite_where_the_fakes_are_as_the_data(
    exam: Exam, data: Subject
) -> None:
    for subject in (data, subject_of(pictures(2 * LOOKED_AT))):
        if exam.fits(subject):
            found = read(exam, subject, lambda count: pictures(count, 5))
            assert found.keys() == exam.measures.keys()
            unsaid = {name for name, value in found.items() if not math.isfinite(value)}
            assert unsaid <= {"support"}


def test_distances_are_those_of_all_pairs_far_from_0_too() -> None:
    ours, theirs = pictures(5).flatten(1).double() + 1e4, pictures(4, 1).flatten(1).double() + 1e4
    expected = [[float((a - b).norm()) for b in theirs] for a in ours]
    assert distances(ours, theirs).tolist() == [pytest.approx(row) for row in expected]


def test_the_nearest_neighbour_is_not_the_point_itself() -> None:
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0]], dtype=torch.float64)
    assert neighbours(line).tolist() == pytest.approx([1, 1, 2, 4])
    assert neighbours(line, 2).tolist() == pytest.approx([3, 2, 3, 6])


def test_a_subject_is_asked_once_and_not_kept_alive() -> None:
    asked = []

    @once
    def ask(subject: Subject) -> int:
        asked.append(len(subject.reals))
        return len(asked)

    one, other = subject_of(HALVES[:6]), subject_of(HALVES[:8])
    assert [ask(one), ask(other), ask(one)] == [1, 2, 1]
    assert asked == [3, 4]


# Vendi score.


@given(st.integers(1, 12), st.integers(1, 12))
def test_vendi_counts_groups_of_samples_that_are_the_same(groups: int, size: int) -> None:
    points = 1e3 * torch.eye(groups, dtype=torch.float64).repeat(size, 1)
    assert vendi_score(alike(points, 1.0)) == pytest.approx(groups)


def test_vendi_is_exp_of_the_entropy_of_the_kernels_eigenvalues() -> None:
    points = cloud(pictures(30))
    pairs = points.numpy()[:, None] - points.numpy()[None]
    kernel = np.exp(-(pairs**2).sum(axis=2) / (2 * 3.0**2))
    values = np.linalg.eig(kernel / 30)[0].real
    expected = np.exp(-(values * np.log(values)).sum())
    assert vendi_score(alike(points, 3.0)) == pytest.approx(expected, rel=1e-6)


def test_vendi_is_relative_to_the_reals_and_to_their_width() -> None:
    reals = cloud(pictures(64))
    told = known(reals)
    assert told is not None and 1 < told.score < 64
    assert relative_vendi(reals, told) == pytest.approx(100)
    assert relative_vendi(reals[:1].expand(64, -1), told) == pytest.approx(100 / told.score)
    assert relative_vendi(0.3 * reals, told) < 60
    assert math.isnan(relative_vendi(reals[:63], told))
    assert known(reals[:1].expand(64, -1)) is None


# Near-duplicates.


def test_the_implied_support_is_that_of_a_generator_with_so_many_pictures() -> None:
    reals = torch.randn(512, 8, generator=seeded(1), dtype=torch.float64)
    told = closeness(reals)
    supports = []
    for seed in range(20):
        has = torch.randn(300, 8, generator=seeded(seed + 2), dtype=torch.float64)
        made = has[torch.randint(300, (512,), generator=seeded(seed))]
        pairs, share = close_pairs(made, told.within)
        supports.append(support(512, pairs - told.pairs))
        # That another of 511 is the same picture.
        assert share == pytest.approx(1 - (1 - 1 / 300) ** 511, abs=0.08)
    assert np.mean(supports) == pytest.approx(300, rel=0.05)


def test_reals_are_hardly_ever_near_duplicates_and_their_copies_are_passed_over() -> None:
    reals = torch.randn(512, 8, generator=seeded(1), dtype=torch.float64)
    told = closeness(reals)
    others = torch.randn(512, 8, generator=seeded(2), dtype=torch.float64)
    assert close_pairs(others, told.within)[1] < 0.03
    assert told.pairs == (torch.pdist(reals) < told.within).sum()
    copied = closeness(torch.cat([reals, reals[:200]]))
    assert copied.within == pytest.approx(told.within, rel=0.3)
    assert closeness(reals[:1].expand(9, -1)) is None
    assert closeness(reals[:1]) is None


def test_no_pair_implies_no_support() -> None:
    assert math.isnan(support(512, 0)) and math.isnan(support(512, -3))
    assert support(23, 1) == 253, "the pairs of 23 guests"


# Precision, recall, density, coverage.


def test_manifold_is_what_the_definitions_say() -> None:
    k = 3
    reals = np.random.default_rng(0).normal(size=(40, 4))
    fakes = np.random.default_rng(1).normal(0.5, 0.7, size=(30, 4))

    def apart(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
        return np.sqrt(((ours[:, None] - theirs[None]) ** 2).sum(axis=2))

    reach = np.sort(apart(reals, reals), axis=1)[:, k]
    of_fakes = np.sort(apart(fakes, fakes), axis=1)[:, k]
    between = apart(fakes, reals)
    precision = np.mean([any(row <= reach) for row in between])
    recall = np.mean([any(column <= of_fakes) for column in between.T])
    density = sum((row <= reach).sum() for row in between) / (k * 30)
    coverage = np.mean([column.min() <= far for column, far in zip(between.T, reach, strict=True)])
    points = torch.from_numpy(reals)
    found = manifold(torch.from_numpy(fakes), points, neighbours(points, k), k)
    assert found == pytest.approx((precision, recall, density, coverage))


@pytest.mark.parametrize(("fakes", "reals"), [(200, 200), (100, 200)])
def test_the_same_distribution_has_density_1_and_the_expected_coverage(
    fakes: int, reals: int
) -> None:
    found = []
    for seed in range(60):
        both = torch.randn(fakes + reals, 5, generator=seeded(seed), dtype=torch.float64)
        ours, theirs = both.split([fakes, reals])
        found.append(manifold(ours, theirs, neighbours(theirs, 5)))
    coverage = np.mean([one.coverage for one in found])
    assert coverage == pytest.approx(expected_coverage(fakes, reals), abs=0.01)
    assert np.mean([one.density for one in found]) == pytest.approx(1, abs=0.03)
    assert expected_coverage(10**6, 10**6) == pytest.approx(1 - 2**-5, abs=1e-5)


def test_a_collapse_keeps_precision_and_loses_recall_and_coverage(data: Subject) -> None:
    one = data.reals[:1] + 0.01 * pictures(LOOKED_AT, 3)
    found = read(Covering(), data, lambda count: one[:count])
    assert found["precision"] > 95
    assert found["recall"] < 5 and found["coverage"] < 10
