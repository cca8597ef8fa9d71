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

from ganterm.core.controls import Controls
from ganterm.diagnosis.alarms.oscillation import oscillation
from ganterm.diagnosis.classifier.features import FixedFeatures
from ganterm.diagnosis.clouds import cloud, distances, neighbour_distances, once_per_subject
from ganterm.diagnosis.exam import EXAM_SAMPLES, Exam, ExamContext, Subject
from ganterm.diagnosis.exams.duplicates import Duplicates, close_pairs, closeness, support
from ganterm.diagnosis.exams.frechet import (
    ByClassifier,
    ByRandomNetwork,
    frechet,
    frechet_distance,
    kernel_distance,
    moments,
)
from ganterm.diagnosis.exams.manifold import Covering, expected_coverage, manifold
from ganterm.diagnosis.exams.memory import (
    Memory,
    distances_to_others,
    pictures_to_compare,
    share_of_copies,
)
from ganterm.diagnosis.exams.spectrum import CheckerboardStrength, line_spectrum
from ganterm.diagnosis.exams.values import Range, values
from ganterm.diagnosis.exams.vendi import (
    Vendi,
    reference,
    relative_vendi,
    similarities,
    vendi_score,
)
from ganterm.diagnosis.nearest import Near

EXAMS: list[Exam] = [
    Vendi(),
    Duplicates(),
    Covering(),
    Memory(),
    ByClassifier(),
    ByRandomNetwork(),
    CheckerboardStrength(),
    Range(),
]


class Sums:
    """A small stand-in for what was learnt: fixed sums of a sample's values."""

    def features(self, samples: Tensor) -> Tensor:
        flat = samples.flatten(1)
        random = torch.Generator().manual_seed(0)
        return flat @ torch.randn(flat.shape[1], 8, generator=random)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, seed: int = 0, side: int = 16) -> Tensor:
    """Smooth random pictures (n, 1, side, side) in -1..1."""
    coarse = torch.randn(count, 1, 5, 5, generator=seeded(seed))
    smooth = nn.functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)
    return smooth.tanh()


def subject_of(samples: Tensor, judged: bool = False) -> Subject:
    """The first half are the reals; all are the data. ``judged``: features are learnt ones."""
    reals, others = samples.chunk(2)
    picture = samples.dim() == 4
    data = samples.add(1).mul(127.5).round().to(torch.uint8) if picture else samples
    features = Sums() if judged else FixedFeatures(tuple(samples.shape[1:]))
    return Subject(reals, others, data, features)


def look_at(subject: Subject, make: Callable[[int], Tensor]) -> ExamContext:
    def judge(samples: Tensor, labels: Tensor | None) -> Tensor:
        return samples.flatten(1).mean(dim=1)

    return ExamContext(
        subject,
        7,
        Controls(),
        nn.Identity(),
        nn.Identity(),
        lambda count: (make(count), None),
        judge,
        seeded(0),
    )


def first_of(samples: Tensor) -> Callable[[int], Tensor]:
    return lambda count: samples[:count]


def read(exam: Exam, subject: Subject, make: Callable[[int], Tensor]) -> dict[str, float]:
    return dict(exam.take(look_at(subject, make)).readings)


@pytest.fixture(scope="module")
def data() -> Subject:
    return subject_of(pictures(2 * EXAM_SAMPLES), judged=True)


# What there is to be looked at in bad cases.

HALVES = torch.rand(2 * EXAM_SAMPLES, 2, generator=seeded(3)) - 0.5
BAD: dict[str, Callable[[int], Tensor]] = {
    "black": lambda count: -torch.ones(count, 1, 16, 16),
    "one picture": lambda count: pictures(1, 9).expand(count, -1, -1, -1),
    "endless": lambda count: torch.full((count, 1, 16, 16), math.inf),
    "none": lambda count: torch.full((count, 1, 16, 16), math.nan),
    "huge": lambda count: 1e30 * pictures(count, 9),
    "two only": lambda count: pictures(2, 9),
}
FEW: dict[str, Tensor] = {
    "many": pictures(2 * EXAM_SAMPLES),
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
    for subject in (data, subject_of(pictures(2 * EXAM_SAMPLES))):
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
    assert neighbour_distances(line).tolist() == pytest.approx([1, 1, 2, 4])
    assert neighbour_distances(line, 2).tolist() == pytest.approx([3, 2, 3, 6])


def test_a_subject_is_asked_once_and_not_kept_alive() -> None:
    asked = []

    @once_per_subject
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
    assert vendi_score(similarities(points, 1.0)) == pytest.approx(groups)


def test_vendi_is_exp_of_the_entropy_of_the_kernels_eigenvalues() -> None:
    points = cloud(pictures(30))
    pairs = points.numpy()[:, None] - points.numpy()[None]
    kernel = np.exp(-(pairs**2).sum(axis=2) / (2 * 3.0**2))
    values = np.linalg.eig(kernel / 30)[0].real
    expected = np.exp(-(values * np.log(values)).sum())
    assert vendi_score(similarities(points, 3.0)) == pytest.approx(expected, rel=1e-6)


def test_vendi_is_relative_to_the_reals_and_to_their_width() -> None:
    reals = cloud(pictures(64))
    told = reference(reals)
    assert told is not None and 1 < told.score < 64
    assert relative_vendi(reals, told) == pytest.approx(100)
    assert relative_vendi(reals[:1].expand(64, -1), told) == pytest.approx(100 / told.score)
    assert relative_vendi(0.3 * reals, told) < 60
    assert math.isnan(relative_vendi(reals[:63], told))
    assert reference(reals[:1].expand(64, -1)) is None


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
    share_of_copies = closeness(torch.cat([reals, reals[:200]]))
    assert share_of_copies.within == pytest.approx(told.within, rel=0.3)
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
    found = manifold(torch.from_numpy(fakes), points, neighbour_distances(points, k), k)
    assert found == pytest.approx((precision, recall, density, coverage))


@pytest.mark.parametrize(("fakes", "reals"), [(200, 200), (100, 200)])
def test_the_same_distribution_has_density_1_and_the_expected_coverage(
    fakes: int, reals: int
) -> None:
    found = []
    for seed in range(60):
        both = torch.randn(fakes + reals, 5, generator=seeded(seed), dtype=torch.float64)
        ours, theirs = both.split([fakes, reals])
        found.append(manifold(ours, theirs, neighbour_distances(theirs, 5)))
    coverage = np.mean([one.coverage for one in found])
    assert coverage == pytest.approx(expected_coverage(fakes, reals), abs=0.01)
    assert np.mean([one.density for one in found]) == pytest.approx(1, abs=0.03)
    assert expected_coverage(10**6, 10**6) == pytest.approx(1 - 2**-5, abs=1e-5)


def test_a_collapse_keeps_precision_and_loses_recall_and_coverage(data: Subject) -> None:
    one = data.reals[:1] + 0.01 * pictures(EXAM_SAMPLES, 3)
    found = read(Covering(), data, lambda count: one[:count])
    assert found["precision"] > 95
    assert found["recall"] < 5 and found["coverage"] < 10


# Memorising.


def test_copies_are_found_and_new_pictures_are_not(data: Subject) -> None:
    everything = torch.cat([data.reals, data.other_reals])

    def half(count: int) -> Tensor:
        return torch.cat([everything[100 : 100 + count // 2], pictures(count - count // 2, 5)])

    def mixed(count: int) -> Tensor:
        return half(count).view(2, -1, 1, 16, 16).transpose(0, 1).flatten(0, 1)

    assert read(Memory(), data, mixed)["memorised"] == 50
    near = read(Memory(), data, lambda count: 0.97 * everything[:count])
    assert near["memorised"] == 100 and near["nearest_ratio"] < 0.2
    new = read(Memory(), data, lambda count: pictures(count, 5))
    assert new["memorised"] == 0 and new["nearest_ratio"] == pytest.approx(1, abs=0.15)
    smooth = read(Memory(), data, lambda count: 0.3 * pictures(count, 5))
    assert smooth["memorised"] == 0, "near to all pictures alike"


def test_a_copy_of_a_picture_that_is_there_twice_is_one() -> None:
    places, none = torch.zeros(3, dtype=torch.int64), torch.zeros(3)
    assert share_of_copies(Near(places, none, none)) == 1
    assert (
        share_of_copies(Near(places, torch.tensor([1.0, 1.0, 1.0]), torch.tensor([4.0, 2.0, 1.0])))
        == 1 / 3
    )
    assert math.isnan(share_of_copies(Near(places, none, none + math.inf)))
    own = Near(places, torch.tensor([0.0, 2.0, 0.0]), torch.tensor([5.0, 3.0, 0.0]))
    assert distances_to_others(own).tolist() == [5, 2, 0]


def test_a_bounded_part_of_large_data_is_looked_at_from_all_over_them() -> None:
    many = torch.arange(100_000, dtype=torch.int32).view(-1, 1).expand(-1, 784)
    part = pictures_to_compare(many, torch.device("cpu"))
    assert 5_000 < len(part) < 11_000 and part[-1, 0] > 99_000
    assert len(pictures_to_compare(many[:10_000], torch.device("cpu"))) == 10_000


# Frechet and kernel distances.


def test_frechet_distance_of_gaussians_on_axes_is_the_closed_form() -> None:
    """If the covariances commute, it is |m1 - m2|^2 + the sum of (s1 - s2)^2."""
    spread = torch.randn(400, 3, generator=seeded(0), dtype=torch.float64)
    spread = spread - spread.mean(dim=0)
    # Made exactly white, so that the moments are known.
    white = spread @ torch.linalg.inv(torch.linalg.cholesky(spread.T @ spread / 399)).T
    scales, others = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([3.0, 2.0, 0.0])
    got = frechet_distance(white * others + 1, moments(white * scales))
    assert got == pytest.approx(3 + 4 + 0 + 0.25, rel=1e-6)


def test_frechet_distance_is_that_by_the_root_of_the_product() -> None:
    """By the eigenvalues of C1 C2 itself, which is not symmetric."""
    ours = np.random.default_rng(0).normal(size=(90, 6)) @ np.diag([1, 2, 3, 1, 1, 0.1])
    theirs = np.random.default_rng(1).normal(1, 2, size=(80, 6))
    one, other = np.cov(ours.T), np.cov(theirs.T)
    root = np.sqrt(np.linalg.eigvals(one @ other).real.clip(0)).sum()
    expected = ((ours.mean(0) - theirs.mean(0)) ** 2).sum() + np.trace(one + other) - 2 * root
    got = frechet_distance(torch.from_numpy(ours), moments(torch.from_numpy(theirs)))
    assert got == pytest.approx(expected)
    single = torch.from_numpy(theirs).float(), torch.from_numpy(ours).float()
    assert frechet(*single) == pytest.approx(expected, rel=1e-5), "the same the other way round"


def test_frechet_distance_of_a_collapse_is_what_is_missing() -> None:
    reals = cloud(pictures(50))
    told = moments(reals)
    one = told.mean.expand(50, -1)
    assert frechet_distance(one, told) == pytest.approx(float(told.covariance.trace()))
    assert frechet_distance(reals, told) == pytest.approx(0, abs=1e-4)


def test_kernel_distance_is_that_of_all_pairs() -> None:
    ours, theirs = np.random.default_rng(0).normal(size=(2, 7, 3))
    theirs = theirs[:5]

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 3 + 1) ** 3)

    within = [
        np.mean([kernel(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
        for a in (ours, theirs)
    ]
    across = np.mean([kernel(x, y) for x in ours for y in theirs])
    got = kernel_distance(torch.from_numpy(ours), torch.from_numpy(theirs))
    assert got == pytest.approx(sum(within) - 2 * across)


def test_kernel_distance_of_the_same_distribution_is_0_in_the_mean() -> None:
    found = []
    for seed in range(200):
        both = torch.randn(2, 20, 4, generator=seeded(seed), dtype=torch.float64)
        found.append(kernel_distance(*both))
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(len(found))
    assert min(found) < 0


@pytest.mark.parametrize(("exam", "name"), [(ByClassifier(), "cfid"), (ByRandomNetwork(), "rfid")])
def test_fakes_as_good_as_the_data_come_to_the_floor(exam: Exam, name: str) -> None:
    subject = subject_of(pictures(2 * EXAM_SAMPLES), judged=name == "cfid")
    assert exam.fits(subject)
    found = read(exam, subject, lambda count: pictures(count, 5))
    assert found[name] == pytest.approx(found[f"{name}_floor"], rel=0.5)
    assert abs(found["kid"]) < 0.02
    worse = read(exam, subject, lambda count: 0.5 * pictures(count, 5))
    assert worse[name] > 5 * found[f"{name}_floor"] and worse["kid"] > 0.1


def test_the_kernel_distance_does_not_depend_on_the_networks_scale() -> None:
    class Loud(Sums):
        def features(self, samples: Tensor) -> Tensor:
            return 10 * super().features(samples)

    def told(network: Sums) -> dict[str, float]:
        reals, others = pictures(256).chunk(2)
        subject = Subject(reals, others, reals, network)
        return read(ByClassifier(), subject, lambda count: 0.5 * pictures(count, 5))

    assert told(Loud())["kid"] == pytest.approx(told(Sums())["kid"], rel=1e-4)
    assert told(Loud())["cfid"] == pytest.approx(100 * told(Sums())["cfid"], rel=1e-4)


# Checkerboards.


def test_the_line_spectrum_is_that_of_each_windowed_line() -> None:
    shown = pictures(4, side=24).double().numpy()[:, 0]
    window = np.hanning(26)[1:-1]

    def power(lines: np.ndarray) -> np.ndarray:
        level = lines - np.average(lines, axis=1, weights=window)[:, None]
        bins = np.abs(np.fft.fft(level * window)) ** 2 / (window**2).sum()
        return bins[:, [3, 6, 9, 12]].mean(axis=0)

    columns = shown.transpose(0, 2, 1).reshape(-1, 24)
    expected = [power(columns), power(shown.reshape(-1, 24))]
    assert np.allclose(line_spectrum(pictures(4, side=24)).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("side", [16, 27])
def test_noise_has_the_same_power_everywhere(side: int) -> None:
    noise = 0.3 * torch.randn(300, 3, side, side, generator=seeded(0))
    assert line_spectrum(noise).flatten().tolist() == pytest.approx([0.09] * 8, rel=0.1)


@pytest.mark.parametrize("side", [16, 27, 28])
@pytest.mark.parametrize("period", [2, 4])
@pytest.mark.parametrize("across", [False, True])
def test_a_pattern_over_pictures_is_found(side: int, period: int, across: bool) -> None:
    wave = torch.cos(2 * math.pi / period * torch.arange(side))
    wave = wave if across else wave[:, None]
    subject = subject_of(pictures(256, side=side))

    def told(strength: float) -> float:
        made = 0.7 * pictures(128, 5, side) + strength * wave
        return read(CheckerboardStrength(), subject, lambda count: made[:count])["checkerboard"]

    assert told(0) < 2
    assert 5 < told(0.15) < told(0.3)


def test_smooth_and_noisy_pictures_are_no_checkerboard() -> None:
    rough = pictures(384, side=28) + 0.1 * torch.randn(384, 1, 28, 28, generator=seeded(0))
    reals, fakes = rough[:256], rough[256:]
    blurred = nn.functional.avg_pool2d(fakes, 3, 1, 1)
    noisy = fakes + 0.3 * torch.randn(fakes.shape, generator=seeded(1))
    for made in (fakes, blurred, noisy, 0.2 * fakes):
        found = read(CheckerboardStrength(), subject_of(reals), first_of(made))
        assert found["checkerboard"] < 2


def test_an_uneven_transposed_convolution_shows_and_a_resize_does_not(data: Subject) -> None:
    torch.manual_seed(0)
    coarse = torch.randn(128, 8, 8, 8)
    uneven = nn.ConvTranspose2d(8, 1, 3, 2, 1, output_padding=1)
    nn.init.constant_(uneven.weight, 0.05)
    even = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(8, 1, 3, padding=1))
    with torch.no_grad():
        shown = [net(1 + 0.3 * coarse).tanh() for net in (uneven, even)]
    found = [read(CheckerboardStrength(), data, first_of(made))["checkerboard"] for made in shown]
    assert found[0] > 100 * found[1]


# Values.


def test_values_are_counted_as_g_made_them() -> None:
    made = torch.zeros(8, 1, 4, 4)
    made[:6] += torch.linspace(-0.5, 0.25, 16).view(4, 4)
    made[0, 0, 0, 0] = math.nan
    made[1, 0, 1, 2] = -math.inf
    made[7] += 0.9
    found = values(made)
    assert found == pytest.approx((-0.5, 0.9, 2 / 8, 2 / 8))
    assert all(math.isnan(value) for value in values(made[:1] * math.nan)[:2])


def test_the_range_is_told_beside_that_of_the_data(data: Subject) -> None:
    found = read(Range(), data, lambda count: 0.5 * pictures(count, 5))
    both = torch.cat([data.reals, data.other_reals])
    assert (found["data_low"], found["data_high"]) == (float(both.min()), float(both.max()))
    assert -0.5 <= found["value_low"] < found["value_high"] <= 0.5
    assert found["blank"] == found["non_finite"] == 0
    assert "blank" not in read(Range(), subject_of(HALVES), lambda count: HALVES[:count])


# Going round in circles.


def swing(turns: float, count: int = 256, noise: float = 0.0) -> np.ndarray:
    time = np.arange(count)
    random = np.random.default_rng(0)
    return np.sin(2 * np.pi * turns * time / count) + noise * random.normal(size=count)


def test_a_swing_is_told_from_noise_trend_and_walk() -> None:
    assert oscillation(swing(8)) == pytest.approx(1, abs=0.01)
    assert oscillation(1e3 + 5 * swing(8.5)) > 0.85
    # A sine has a variance of 1/2.
    assert oscillation(swing(8, noise=0.5)) == pytest.approx(0.5 / 0.75, abs=0.1)
    random = np.random.default_rng(1)
    noises = [oscillation(random.normal(size=256)) for _ in range(100)]
    walks = [oscillation(random.normal(size=256).cumsum()) for _ in range(100)]
    assert max(noises) < 0.16 and np.mean(walks) < 0.2
    assert oscillation(np.linspace(3, 9, 256) ** 2) < 0.1


def test_what_cannot_swing_does_not() -> None:
    assert oscillation(np.full(64, 0.6931)) == 0
    assert oscillation(np.linspace(0, 1, 64)) == 0
    assert math.isnan(oscillation(np.full(200, np.nan)))
    assert math.isnan(oscillation(swing(4, 31)))
    holed = swing(8)
    holed[::50] = np.inf
    assert oscillation(holed) > 0.7
    assert oscillation(swing(8).astype(np.float32) * np.float32(1e38)) > 0.9
