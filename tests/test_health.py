from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ganterm.controls import Controls
from ganterm.data.load import SPARE, parted
from ganterm.data.source import Dataset
from ganterm.diagnosis.exam import Exam
from ganterm.diagnosis.plain import Points
from ganterm.diagnosis.surface import SIDE, DecisionSurface, extent_of, grid
from ganterm.diagnosis.updates import UpdateRatios, update_ratio
from ganterm.diagnosis.verdicts import BINS, Verdicts, held_out_gap, histograms, sign_rate
from ganterm.losses import LOSSES
from ganterm.networks.autoencoder import AutoencoderDiscriminator
from ganterm.networks.mlp import MLPDiscriminator, MLPGenerator
from ganterm.networks.options import DiscriminatorOptions, GeneratorOptions
from ganterm.presets import OptimizerSection
from ganterm.session.findings import Diagnosis
from ganterm.session.launch import Launch
from ganterm.training.batches import Batches
from ganterm.training.examiner import Examiner
from ganterm.training.iteration import Game
from ganterm.training.latent import Latent
from ganterm.training.setup import set_up
from ganterm.training.subject import subject_of

CPU = torch.device("cpu")
SHAPE = (1, 4, 4)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dataset(count: int = 60, plane: bool = False) -> Dataset:
    labels = torch.arange(count) % 3
    if plane:
        samples = torch.randn(count, 2, generator=random())
        return Dataset("points", samples, labels, ("a", "b", "c"), modes=samples[:3], sigma=0.1)
    samples = torch.randint(256, (count, *SHAPE), generator=random(), dtype=torch.uint8)
    return Dataset("pictures", samples, labels, ("a", "b", "c"))


class Run:
    """A tiny run, and its examiner who takes the exams given, all in every round."""

    def __init__(
        self,
        *exams: Exam,
        data: Dataset | None = None,
        held_out: Dataset | None = None,
        g: GeneratorOptions | None = None,
        d: DiscriminatorOptions | None = None,
        labels: int = 0,
        pack: int = 1,
        batch: int = 8,
        change: Callable[[Game], None] | None = None,
    ) -> None:
        data = data or dataset()
        shape = data.shape
        torch.manual_seed(0)
        g = g or MLPGenerator(latent_dim=3, hidden=[8], norm="batch")
        d = d or MLPDiscriminator(hidden=[8], dropout=0.2, pack=pack)
        latent = Latent(g.latent_dim, g.latent, labels, bool(g.codes))
        labelled = bool(labels) and not g.codes
        self.game = Game(
            g.build(shape, labels),
            d.build((pack * shape[0], *shape[1:]), labels),
            OptimizerSection(),
            Batches(data.samples, data.labels if labelled else None, batch, CPU, seed=1),
            latent,
            random(2),
            pack,
        )
        if change is not None:
            change(self.game)
        subject = subject_of(data, CPU, 3, Points(), None, held_out, labelled=labelled, pack=pack)
        self.examiner = Examiner(self.game, subject, 1.0, 1, 4, "")
        self.examiner._first = [exam for exam in exams if exam.fits(subject)]
        self.examiner._rest = []

    def found(self, controls: Controls | None = None, step: int = 1) -> Diagnosis:
        found = self.examiner.examine(step, 1.0, controls or Controls())
        assert self.examiner.broken == {}
        return found

    def value(self, name: str, **options: Any) -> float:
        return self.found(**options).readings[name].value


def overwritten(value: float) -> Callable[[Game], None]:
    def change(game: Game) -> None:
        game.weights_d.flat.detach().fill_(value)

    return change


def fitting(loss: str) -> DiscriminatorOptions | None:
    if LOSSES[loss].d_kind == "autoencoder":
        return AutoencoderDiscriminator(hidden=[8], code=4)
    return None


# What D's scores say


def test_the_sign_rate_is_adas_or_that_of_all_pairs() -> None:
    real, fake = torch.tensor([2.0, -1.0, 3.0, 0.5]), torch.tensor([-2.0, 1.0])
    assert sign_rate(real, fake, 0.0) == 0.5
    assert sign_rate(real, fake, 0.5) == 0.25
    pairs = [np.sign(r - f) for r in real.tolist() for f in fake.tolist()]
    assert sign_rate(real, fake, None) == pytest.approx(np.mean(pairs))
    assert sign_rate(torch.zeros(4), torch.zeros(4), 0.0) == 0.0
    assert sign_rate(torch.ones(4), torch.ones(4), None) == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_none_give_no_rate(bad: float) -> None:
    real = torch.tensor([1.0, bad])
    assert math.isnan(sign_rate(real, torch.zeros(2), 0.0))
    assert math.isnan(sign_rate(torch.zeros(2), real, None))
    assert math.isnan(sign_rate(torch.empty(0), torch.empty(0), 0.0))


def test_the_held_out_gap_is_the_share_of_the_way_to_the_fakes() -> None:
    noise = 0.1 * torch.randn(3, 200, generator=random())
    real, held_out, fake = noise + torch.tensor([[5.0], [4.0], [1.0]])
    expected = (real.mean() - held_out.mean()) / (real.mean() - fake.mean())
    assert held_out_gap(real, held_out, fake) == pytest.approx(expected.item())
    assert held_out_gap(real, held_out, fake) == pytest.approx(0.25, abs=0.02)
    # Where reals are not above fakes there is no way to be on.
    assert math.isnan(held_out_gap(fake, held_out, real))
    assert math.isnan(held_out_gap(real, held_out, real))
    assert math.isnan(held_out_gap(real[:1], held_out, fake[:1]))
    assert math.isnan(held_out_gap(real, torch.full((4,), math.nan), fake))


def test_histograms_hold_every_score_and_an_outlier_does_not_flatten_them() -> None:
    real = torch.randn(500, generator=random(1)) + 2
    fake = torch.randn(300, generator=random(2))
    fake[0] = 1e6
    told = histograms(7, real, fake, real[:50])
    assert told is not None and told.step == 7
    assert (np.diff(told.edges) > 0).all() and len(told.edges) == BINS + 1
    assert (told.real.sum(), told.fake.sum(), told.held_out.sum()) == (500, 300, 50)
    assert told.edges[-1] < 6
    inner = slice(1, -1)
    for scores, counts in ((real, told.real), (fake, told.fake)):
        expected = [
            int(((scores >= low) & (scores < high)).sum())
            for low, high in zip(told.edges[:-1].tolist(), told.edges[1:].tolist(), strict=True)
        ]
        assert np.abs(counts[inner] - expected[inner]).sum() <= 2


@pytest.mark.parametrize("value", [0.0, 1.0, -3e8, 1e-9])
def test_histograms_of_constant_scores_have_bins_all_the_same(value: float) -> None:
    told = histograms(1, torch.full((9,), value), torch.full((5,), value), None)
    assert told is not None and (np.diff(told.edges) > 0).all()
    assert (told.real.sum(), told.fake.sum(), told.held_out) == (9, 5, None)


def test_histograms_leave_out_what_is_no_number() -> None:
    scores = torch.tensor([0.0, 1.0, math.nan, math.inf])
    told = histograms(1, scores, scores, None)
    assert told is not None and told.real.sum() == told.fake.sum() == 2
    assert histograms(1, scores[2:], scores[2:], None) is None


@pytest.mark.parametrize("loss", LOSSES)
def test_verdicts_are_those_of_the_networks_in_evaluation_mode(loss: str) -> None:
    run = Run(Verdicts(), held_out=dataset(30), d=fitting(loss))
    found = run.found(Controls(loss=loss))
    game, subject = run.game, run.examiner._subject
    judges = game.discriminator.eval()
    with torch.no_grad():
        real = game.judge(subject.reals, None)
        held_out = game.judge(subject.held_out, None)
    judges.train()
    assert found.scores.real.sum() == len(subject.reals) == 30
    assert found.scores.held_out.sum() == len(held_out) == 30
    low, high = found.scores.edges[0], found.scores.edges[-1]
    expected, _ = np.histogram(real.numpy().clip(low, high), found.scores.edges)
    assert found.scores.real.tolist() == expected.tolist()
    assert -1 <= found.readings["sign_rate"].value <= 1
    assert 0 <= found.readings["d_error"].value <= 100


def test_d_error_is_the_share_on_the_wrong_side() -> None:
    def linear(game: Game) -> None:
        game.weights_d.flat.detach().zero_()
        game.discriminator.head.bias.data.fill_(1.0)

    # All scores are 1: reals are right and fakes wrong, or all as good as the other.
    assert Run(Verdicts(), change=linear).value("d_error") == 50
    assert Run(Verdicts(), change=linear).value("sign_rate") == 1
    assert Run(Verdicts(), change=linear).value("d_error", controls=Controls(loss="wgan")) == 50
    assert Run(Verdicts(), change=linear).value("sign_rate", controls=Controls(loss="ragan")) == 0


def test_scores_that_are_no_numbers_are_readings_that_are_none() -> None:
    found = Run(Verdicts(), held_out=dataset(30), change=overwritten(math.nan)).found()
    assert found.scores is None
    assert all(math.isnan(reading.value) for reading in found.readings.values())
    assert len(found.readings) == 3


CONDITIONAL = {
    "projection": ({}, {"conditional": "projection"}),
    "onehot": ({}, {"conditional": "onehot"}),
    "acgan": ({}, {"auxiliary": True}),
    "infogan": ({"codes": 3}, {"auxiliary": True}),
}


def conditional(kind: str, *exams: Exam, **options: Any) -> Run:
    of_g, of_d = CONDITIONAL[kind]
    g = MLPGenerator(latent_dim=3, hidden=[8], conditional="onehot", **of_g)
    return Run(
        *exams, g=g, d=MLPDiscriminator(hidden=[8], norm="spectral", **of_d), labels=3, **options
    )


@pytest.mark.parametrize("kind", CONDITIONAL)
def test_verdicts_of_a_d_with_labels(kind: str) -> None:
    run = conditional(kind, Verdicts(), held_out=dataset(30))
    subject = run.examiner._subject
    assert (subject.real_labels is None) == (kind == "infogan")
    if subject.real_labels is not None:
        # Each sample is judged beside its own label.
        whole = dataset()
        for sample, label in zip(subject.reals, subject.real_labels, strict=True):
            pixels = ((sample + 1) * 127.5).round().to(torch.uint8)
            (place,) = (whole.samples == pixels).flatten(1).all(1).nonzero()
            assert int(place) % 3 == label.item()
        assert subject.held_out_labels.tolist() == dataset(30).labels.tolist()
    assert run.found().scores.held_out.sum() == 30


def test_packs_are_judged_as_one() -> None:
    run = Run(Verdicts(), pack=4, batch=8)
    found = run.found()
    assert found.scores.real.sum() == len(run.examiner._subject.reals) // 4
    assert found.scores.fake.sum() == 64


# Reals that training never sees


def test_what_is_held_out_is_always_the_same_and_never_trained_on() -> None:
    whole = dataset(SPARE * 10)
    kept, held_out = parted(whole, 10)
    assert held_out is not None and len(held_out.samples) == 10 and len(kept.samples) == 190
    again = parted(whole, 10)[1]
    assert torch.equal(held_out.samples, again.samples)
    assert not torch.equal(held_out.samples, whole.samples[:10])
    everything = torch.cat([kept.samples, held_out.samples]).flatten(1).tolist()
    assert sorted(everything) == sorted(whole.samples.flatten(1).tolist())
    for part in (kept, held_out):
        for sample, label in zip(part.samples, part.labels, strict=True):
            (place,) = (whole.samples == sample).flatten(1).all(1).nonzero()
            assert int(place) % 3 == label.item()


@pytest.mark.parametrize(
    ("whole", "count"),
    [
        (dataset(SPARE * 10 - 1), 10),
        (dataset(1000), 0),
        (dataset(1000, plane=True), 10),
        (replace(dataset(1000), stream=[1]), 10),
    ],
    ids=["small", "none wanted", "points", "stream"],
)
def test_nothing_is_held_out_where_it_is_missed_or_needless(whole: Dataset, count: int) -> None:
    assert parted(whole, count) == (whole, None)


def test_a_run_trains_on_the_rest_and_names_the_whole(launch: Callable[..., Launch]) -> None:
    made = {}
    for count in (0, 256):
        at = f"data.held_out={count}"
        made[count] = set_up(launch(at, name=f"run{count}"), lambda *_: None)
        made[count].game.batches.close()
        made[count].directory.close()
    for count, setup in made.items():
        assert isinstance(setup.game.batches, Batches)
        assert len(setup.game.batches.samples) == 10_000 - count
    assert made[0].examiner._subject.held_out is None
    assert made[256].examiner._subject.held_out.shape == (256, 1, 28, 28)
    names = [
        (setup.directory.path / "run.json").read_text().split('"sha256"')[1][:80]
        for setup in made.values()
    ]
    assert names[0] == names[1]


# How fast weights move


def test_the_update_ratio_is_movement_over_size_a_step() -> None:
    before, after = torch.tensor([3.0, 0.0]), torch.tensor([3.0, 4.0])
    assert update_ratio(before, after, 1) == pytest.approx(4 / 5)
    assert update_ratio(before, after, 8) == pytest.approx(0.1)
    assert update_ratio(after, after, 1) == 0
    assert math.isnan(update_ratio(before, math.nan * after, 1))
    assert math.isnan(update_ratio(0 * before, 0 * before, 1))


def test_update_ratios_compare_with_the_take_before() -> None:
    run = Run(UpdateRatios())
    assert run.found(step=1).readings == {}
    moved = {}
    for name, weights in (("g", run.game.weights_g), ("d", run.game.weights_d)):
        before = weights.flat.detach().double().numpy().copy()
        weights.flat.detach().mul_(1.5 if name == "g" else 3)
        after = weights.flat.detach().double().numpy()
        moved[name] = np.linalg.norm(after - before) / np.linalg.norm(after) / 10
    found = run.found(step=11).readings
    assert found["update_ratio_g"].value == pytest.approx(moved["g"], rel=1e-5)
    assert found["update_ratio_d"].value == pytest.approx(moved["d"], rel=1e-5)
    # Going back to an earlier step is no movement by training.
    assert run.found(step=5).readings["update_ratio_g"].step == 11


def test_runs_share_no_exam(launch: Callable[..., Launch]) -> None:
    exams = []
    for name in ("one", "two"):
        made = set_up(launch(preset="ring8", name=name), lambda *_: None)
        made.directory.close()
        exams += [*made.examiner._first, *made.examiner._rest]
    assert len({id(exam) for exam in exams}) == len(exams) > 4


# D over the plane


def test_the_grid_covers_the_data_and_a_margin() -> None:
    extent = extent_of(torch.tensor([[0.0, -1.0], [4.0, 3.0], [1.0, 1.0]]))
    assert extent == (-1.0, 5.0, -2.0, 4.0)
    points = grid(extent, 3).view(3, 3, 2)
    assert points[0, 0].tolist() == [-1.0, 4.0]
    assert points[0, 2].tolist() == [5.0, 4.0]
    assert points[2, 1].tolist() == [2.0, -2.0]
    left, right, bottom, top = extent_of(torch.ones(5, 2))
    assert left < 1 < right and bottom < 1 < top


@pytest.mark.parametrize("pack", [1, 2, 4])
def test_the_surface_is_d_at_each_place(pack: int) -> None:
    run = Run(DecisionSurface(), data=dataset(plane=True), pack=pack)
    surface = run.found().surface
    left, right, bottom, top = surface.extent
    d = run.game.discriminator.eval()
    for row, column in ((0, 0), (0, SIDE - 1), (SIDE - 1, 0), (13, 40)):
        x = left + (right - left) * column / (SIDE - 1)
        y = top - (top - bottom) * row / (SIDE - 1)
        with torch.no_grad():
            score = d(torch.tensor([[x, y] * pack])).item()
        assert surface.scores[row, column] == pytest.approx(score, rel=1e-4, abs=1e-6)
    assert surface.threshold == 0 and surface.scores.shape == (SIDE, SIDE)


def test_the_surfaces_threshold_is_the_losses() -> None:
    run = Run(DecisionSurface(), data=dataset(plane=True))
    assert run.found(Controls(loss="lsgan")).surface.threshold == 0.5
    assert run.found(Controls(loss="wgan")).surface.threshold is None
    half_way = run.found(Controls(loss="ragan")).surface
    assert half_way.scores.min() <= half_way.threshold <= half_way.scores.max()


def test_there_is_no_surface_of_pictures_or_of_a_d_with_labels() -> None:
    assert Run(DecisionSurface()).found().surface is None
    run = conditional("onehot", DecisionSurface(), data=dataset(plane=True))
    assert run.found().surface is None
