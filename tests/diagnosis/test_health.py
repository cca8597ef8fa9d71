from __future__ import annotations

import json
import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ganterm import presets
from ganterm.core.controls import Controls
from ganterm.core.findings import Diagnosis
from ganterm.core.registry import gathered
from ganterm.data.load import SPARE, split_held_out
from ganterm.data.source import Dataset
from ganterm.diagnosis import exams as room
from ganterm.diagnosis.anatomy import layer_groups, layer_title, layers_of
from ganterm.diagnosis.classifier.features import FixedFeatures
from ganterm.diagnosis.dead_units import UnitActivity
from ganterm.diagnosis.exam import Exam
from ganterm.diagnosis.exams.layers import MOST, SAMPLES, Layers, ratio
from ganterm.diagnosis.exams.scores import BINS, ScoreExam, held_out_gap, histograms, sign_rate
from ganterm.diagnosis.exams.surface import SIDE, DecisionSurface, extent_of, grid
from ganterm.diagnosis.exams.updates import UpdateRatios, update_ratio
from ganterm.launch import Launch
from ganterm.losses import LOSSES
from ganterm.networks.autoencoder import AutoencoderDiscriminator
from ganterm.networks.mlp import MLPDiscriminator, MLPGenerator
from ganterm.networks.options import DiscriminatorOptions, GeneratorOptions
from ganterm.sections import OptimizerSection
from ganterm.session.local import LocalSession
from ganterm.training import setup
from ganterm.training.batches import Batches, Latent
from ganterm.training.checkpoints.contents import game_tensors
from ganterm.training.examiner import Examiner
from ganterm.training.game import Game
from ganterm.training.setup import set_up
from ganterm.training.subject import subject_of
from tests.helpers.deadlines import DEADLINE
from tests.training.test_zoo import generated

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
        networks: tuple[nn.Module, nn.Module] | None = None,
    ) -> None:
        data = data or dataset()
        shape = data.shape
        torch.manual_seed(0)
        g = g or MLPGenerator(latent_dim=3, hidden=[8], norm="batch")
        d = d or MLPDiscriminator(hidden=[8], dropout=0.2, pack=pack)
        latent = Latent(g.latent_dim, g.latent, labels, bool(g.codes))
        labelled = bool(labels) and not g.codes
        packed = (pack * shape[0], *shape[1:])
        self.game = Game(
            *(networks or (g.build(shape, labels), d.build(packed, labels))),
            OptimizerSection(),
            Batches(data.samples, data.labels if labelled else None, batch, CPU, seed=1),
            latent,
            random(2),
            pack,
        )
        if change is not None:
            change(self.game)
        plain = FixedFeatures((2,))
        subject = subject_of(data, held_out, CPU, 3, plain, None, labelled=labelled, pack=pack)
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
    run = Run(ScoreExam(), held_out=dataset(30), d=fitting(loss))
    found = run.found(Controls(loss=loss))
    game, subject = run.game, run.examiner._subject
    judges = game.discriminator.eval()
    with torch.no_grad():
        real = game.score(subject.reals, None)
        held_out = game.score(subject.held_out, None)
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
    assert Run(ScoreExam(), change=linear).value("d_error") == 50
    assert Run(ScoreExam(), change=linear).value("sign_rate") == 1
    assert Run(ScoreExam(), change=linear).value("d_error", controls=Controls(loss="wgan")) == 50
    assert Run(ScoreExam(), change=linear).value("sign_rate", controls=Controls(loss="ragan")) == 0


def test_scores_that_are_no_numbers_are_readings_that_are_none() -> None:
    found = Run(ScoreExam(), held_out=dataset(30), change=overwritten(math.nan)).found()
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
    run = conditional(kind, ScoreExam(), held_out=dataset(30))
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
    run = Run(ScoreExam(), pack=4, batch=8)
    found = run.found()
    assert found.scores.real.sum() == len(run.examiner._subject.reals) // 4
    assert found.scores.fake.sum() == 64


# Reals that training never sees


def test_what_is_held_out_is_always_the_same_and_never_trained_on() -> None:
    whole = dataset(SPARE * 10)
    kept, held_out = split_held_out(whole, 10)
    assert held_out is not None and len(held_out.samples) == 10 and len(kept.samples) == 190
    again = split_held_out(whole, 10)[1]
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
    assert split_held_out(whole, count) == (whole, None)


def test_a_run_trains_on_the_rest_and_names_the_whole(launch: Callable[..., Launch]) -> None:
    made = {}
    for count in (0, 256):
        at = f"data.held_out={count}"
        made[count] = set_up(launch(at, name=f"run{count}"), lambda *_: None)
        made[count].game.batches.close()
        made[count].directory.close()
    for count, ready in made.items():
        assert isinstance(ready.game.batches, Batches)
        assert len(ready.game.batches.samples) == 10_000 - count
    assert made[0].examiner._subject.held_out is None
    assert made[256].examiner._subject.held_out.shape == (256, 1, 28, 28)
    names = [
        (ready.directory.path / "run.json").read_text().split('"sha256"')[1][:80]
        for ready in made.values()
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


# Gradients of each layer


class Line(nn.Linear):
    """A D of one linear layer."""

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().forward(samples.flatten(1)).squeeze(1)


def test_gradients_are_those_worked_out_by_hand() -> None:
    data = dataset(plane=True)
    g, d = nn.Linear(3, 2), Line(2, 1)
    run = Run(Layers(), data=data, networks=(g, d))
    run.examiner._random.manual_seed(9)
    noise = run.game.latent.draw(len(run.examiner._subject.reals), random(9)).double()
    fakes = noise @ g.weight.double().T + g.bias.double()
    w = d.weight.detach().double()[0]
    # WGAN: D's loss is w (mean fake - mean real), G's -(w (A mean z + c) + b).
    of_d = (fakes.mean(0) - run.examiner._subject.reals.double().mean(0)).norm().item()
    of_g = math.hypot(torch.outer(w, noise.mean(0)).norm().item(), w.norm().item())
    found = run.found(Controls(loss="wgan"))
    told = {layer.network: layer for layer in found.layers}
    assert told["D"].grad_norm == pytest.approx(of_d, rel=1e-4)
    assert told["G"].grad_norm == pytest.approx(of_g, rel=1e-4)
    assert found.readings["grad_ratio"].value == pytest.approx(of_g / of_d, rel=1e-4)
    weights = torch.cat([d.weight.flatten(), d.bias]).norm().item()
    assert told["D"].weight_norm == pytest.approx(weights, rel=1e-5)
    assert math.isnan(told["D"].dead)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_that_an_update_would_take(
    loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the training's own updates, in networks that are the same in both modes."""
    d = fitting(loss) or MLPDiscriminator(hidden=[8])
    g = MLPGenerator(latent_dim=3, hidden=[8])
    run = Run(Layers(), d=d, g=g, batch=24, data=dataset(48))
    game, subject = run.game, run.examiner._subject
    assert len(subject.reals) == 24
    run.examiner._random.set_state(game.noise.get_state())
    controls = Controls(loss=loss, penalty_weight=3, pull_away=0.5)
    found = run.found(controls)
    monkeypatch.setattr(game.batches, "next", lambda: (subject.reals, None))
    plan = game.plan(controls)
    updates = {"D": partial(game._update_d, plan, False), "G": partial(game._update_g, plan)}
    for name, update in updates.items():
        # The exam made one lot of fakes for both, drawn first.
        game.noise.manual_seed(2)
        monkeypatch.setattr(getattr(game, f"optimizer_{name.lower()}"), "step", lambda *_: None)
        monkeypatch.setattr(type(LOSSES[loss]), "clips_weights", False)
        made = update().grad_norm.item()
        told = math.hypot(*(layer.grad_norm for layer in found.layers if layer.network == name))
        assert told == pytest.approx(made, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("kind", CONDITIONAL)
def test_gradients_reach_what_tells_labels(kind: str) -> None:
    run = conditional(kind, Layers(), batch=6)
    found = run.found()
    names = [layer.name for layer in found.layers]
    assert len(names) == len(set(names))
    assert any("Linear" in name for name in names)
    assert not any("parametrizations" in name or "Parametrized" in name for name in names)
    told = {layer.name: layer for layer in found.layers if layer.network == "D"}
    wanted = {"projection": "projection Embedding 3x8", "onehot": "body.0 Linear 19x8"}
    assert told[wanted.get(kind, "auxiliary Linear 8x3")].grad_norm > 0


def test_a_parameter_without_a_gradient_counts_as_zero() -> None:
    class Idle(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 2)
            self.idle = nn.Linear(5, 5)

    run = Run(Layers(), data=dataset(plane=True), networks=(Idle(), Line(2, 1)))
    told = {layer.name: layer for layer in run.found().layers}
    assert told["idle Linear 5x5"].grad_norm == 0
    assert told["idle Linear 5x5"].weight_norm > 0


def test_numbers_that_are_none_are_gradients_that_are_none() -> None:
    found = Run(Layers(), change=overwritten(math.nan)).found()
    of_d = [layer for layer in found.layers if layer.network == "D"]
    assert all(math.isnan(layer.grad_norm) and math.isnan(layer.weight_norm) for layer in of_d)
    assert math.isnan(found.readings["grad_ratio"].value)
    assert math.isnan(found.readings["dead_d"].value)
    assert found.readings["dead_g"].value >= 0


def test_a_d_that_learns_nothing_makes_the_ratio_infinite_or_none() -> None:
    data = dataset(plane=True)
    data.samples[:, 0] = 10
    g, d = nn.Linear(3, 2), Line(2, 1)
    run = Run(Layers(), data=data, networks=(g, d))
    run.game.weights_g.flat.detach().zero_()
    run.game.weights_d.flat.detach().zero_()
    g.bias.data[0], d.weight.data[0, 0] = -10, 1
    # All scores are beyond the margin.
    assert run.value("grad_ratio", controls=Controls(loss="hinge")) == math.inf
    d.weight.data[0, 0] = 0
    d.bias.data[0] = 2
    assert run.value("grad_ratio", controls=Controls(loss="hinge")) == 0
    assert math.isnan(ratio(0.0, 0.0))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_samples_are_looked_at_all_the_same(count: int) -> None:
    run = Run(Layers(), ScoreExam(), UpdateRatios(), data=dataset(count), batch=2)
    assert len(run.found().layers) == 5


def test_no_more_samples_are_looked_at_than_needed() -> None:
    run = Run(Layers(), data=dataset(400))
    seen: list[int] = []
    run.game.discriminator.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    run.found()
    assert max(seen) == 2 * SAMPLES


def test_packed_samples_have_gradients_too() -> None:
    assert len(Run(Layers(), pack=4).found().layers) == 5


def test_layers_are_named_readably() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 4, bias=False),
        nn.BatchNorm2d(8),
        nn.utils.parametrizations.spectral_norm(nn.Linear(8, 2)),
        nn.Embedding(10, 4),
        nn.PReLU(),
    )
    parts = layers_of(network)
    assert [layer_title(network, name) for name in parts] == [
        "0 Conv2d 3x8 4x4",
        "1 BatchNorm2d 8",
        "2 Linear 8x2",
        "3 Embedding 10x4",
        "4 PReLU 1",
    ]
    assert sum(len(part) for part in parts.values()) == len(list(network.parameters()))


def test_many_layers_are_told_in_groups() -> None:
    names = [f"body.{block}.{layer}" for block in range(9) for layer in ("one", "two", "three")]
    groups = layer_groups([*names, "head"], 24)
    assert list(groups) == [*(f"body.{block}" for block in range(9)), "head"]
    assert groups["body.3"] == names[9:12]
    assert layer_groups(names[:24], 24) == {name: [name] for name in names[:24]}
    flat = layer_groups([str(number) for number in range(50)], 24)
    assert len(flat) == 17 and flat["0 .. 2"] == ["0", "1", "2"] and flat["48 .. 49"]
    deep = nn.Sequential(*(nn.Linear(3, 3) for _ in range(49)), nn.Linear(3, 2))
    found = Run(Layers(), data=dataset(plane=True), networks=(deep, Line(2, 1))).found()
    of_g = [layer for layer in found.layers if layer.network == "G"]
    assert len(of_g) <= MOST
    weights = torch.cat([p.flatten() for p in deep.parameters()]).norm().item()
    assert math.hypot(*(layer.weight_norm for layer in of_g)) == pytest.approx(weights, rel=1e-5)


# Dead units


def counted(network: nn.Module, *shown: Tensor) -> UnitActivity:
    with torch.no_grad(), UnitActivity(network) as units:
        for samples in shown:
            network(samples)
    assert not any(module._forward_hooks for module in network.modules())
    assert not any(module._forward_pre_hooks for module in network.modules())
    return units


def test_dead_units_are_those_that_no_sample_makes_active() -> None:
    network = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1), nn.ReLU())
    layer = network[0]
    layer.weight.data = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, 0]])
    layer.bias.data = torch.tensor([0.0, 0, 0, -1])
    right, up = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    # What comes last is the network's output and is not looked at, dead as it may be.
    assert counted(network, right).dead() == 0.75
    assert counted(network, right, up).dead() == 0.5
    assert counted(network, -right, torch.cat([right, up])).dead(["0"]) == 0.25
    assert math.isnan(counted(network, right).dead(["2"]))
    assert math.isnan(counted(network, right * math.nan).dead())
    assert math.isnan(counted(network).dead())


@pytest.mark.parametrize(
    ("activation", "active", "dead"),
    [
        (nn.ReLU(), 0.1, -0.1),
        (nn.ReLU(inplace=True), 0.1, -0.1),
        (nn.LeakyReLU(0.2), 0.1, -0.1),
        (nn.PReLU(), 0.1, -0.1),
        (nn.Tanh(), 1.0, 3.0),
        (nn.Sigmoid(), -2.0, -5.0),
    ],
)
def test_every_activation_has_its_dead_end(
    activation: nn.Module, active: float, dead: float
) -> None:
    class Pictures(nn.Module):
        """One channel to each value, of 2 x 2 pixels, of which one may differ."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.bend = nn.Conv2d(3, 3, 1, bias=False), activation
            self.first.weight.data = torch.eye(3)[:, :, None, None]
            self.head = nn.Linear(12, 1)

        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = self.head(self.bend(self.first(x)).flatten(1))
            return made

    pictures = torch.tensor([active, dead, dead])[None, :, None, None].repeat(4, 1, 2, 2)
    pictures[2, 1, 0, 1] = active
    assert counted(Pictures(), pictures).dead() == pytest.approx(1 / 3)


def test_activations_that_are_functions_count_and_the_losses_do_not() -> None:
    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(2, 2), nn.Linear(2, 3)
            self.head = nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = functional.leaky_relu(self.one(x), 0.2)
            made: Tensor = self.head(torch.relu(self.two(x)))
            return made

    network = Blocks()
    network.one.bias.data, network.two.bias.data = torch.tensor([99.0, -99]), torch.full((3,), -1e4)
    with torch.no_grad(), UnitActivity(network) as units:
        network(torch.ones(4, 2)).relu()
    assert units.dead(["one"]) == 0.5
    assert units.dead(["two"]) == 1.0
    assert units.dead() == pytest.approx(4 / 5)


def test_hooks_are_gone_after_a_forward_that_failed() -> None:
    network = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(5, 1))
    with pytest.raises(RuntimeError), UnitActivity(network):
        network(torch.ones(1, 2))
    assert not any(module._forward_hooks for module in network.modules())
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert torch.overrides._len_torch_function_stack() == 0


def test_a_dead_d_is_found_by_the_exam() -> None:
    def dead(game: Game) -> None:
        game.discriminator.get_parameter("body.0.bias").data.fill_(-1e4)

    found = Run(Layers(), change=dead).found()
    assert found.readings["dead_d"].value == 100
    (of_d,) = [x for x in found.layers if x.network == "D" and x.name.startswith("body.0")]
    assert of_d.dead == 1
    assert found.readings["dead_g"].value < 60


# What an exam leaves behind


def state(run: Run) -> dict[str, Any]:
    game = run.game
    modules = [*game.generator.modules(), *game.discriminator.modules()]
    parameters = [*game.generator.parameters(), *game.discriminator.parameters()]
    return {
        **{key: value.numpy().tobytes() for key, value in game_tensors(game).items()},
        "default": torch.get_rng_state().numpy().tobytes(),
        "noise": game.noise.get_state().numpy().tobytes(),
        "batches": game.batches.generator.get_state().numpy().tobytes(),
        "training": [module.training for module in modules],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules],
        "grad": [parameter.grad for parameter in parameters],
        "wanted": [parameter.requires_grad for parameter in parameters],
        "updates": game.d_updates,
    }


LIVELY = Controls(
    d_input_dropout=0.3, instance_noise=0.2, label_flips=0.2, label_noise=0.2, top_k=0.5, r1=1
)
"""Everything that draws at random in an update."""


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["pictures", "points", "packed", *CONDITIONAL])
def test_a_round_of_exams_leaves_nothing_behind(loss: str, kind: str) -> None:
    exams = [deepcopy(exam) for exam in gathered(room, "EXAMS")]
    held_out = dataset(30)
    controls = LIVELY.with_("loss", loss) if not fitting(loss) else Controls(loss=loss)
    if kind in CONDITIONAL:
        if fitting(loss):
            pytest.skip("an autoencoder takes no labels")
        run = conditional(kind, *exams, held_out=held_out)
    elif kind == "packed":
        if fitting(loss):
            pytest.skip("an autoencoder takes no packs")
        run = Run(*exams, pack=2, held_out=held_out)
    else:
        plane = kind == "points"
        run = Run(
            *exams,
            data=dataset(plane=plane),
            held_out=None if plane else held_out,
            d=fitting(loss),
        )
    for _ in range(2):
        run.game.train_step(controls)
    before = state(run)
    first = run.found(controls, 2)
    run.found(controls, 3)
    after = state(run)
    assert {key for key in before if before[key] != after[key]} == set()
    assert after["training"] == [True] * len(after["training"])
    names = {name for exam in exams if exam.fits(run.examiner._subject) for name in exam.measures}
    assert names >= set(first.readings)
    for name in ("sign_rate", "d_error", "grad_ratio", "dead_d"):
        assert math.isfinite(first.readings[name].value), name


SMALL = ["generator.hidden=[16]", "discriminator.hidden=[16]"]
ROUNDS = {
    "ring8": [],
    "mnist_mlp": [*SMALL, "d_input_dropout=0.2", "discriminator.pack=2"],
    "mnist_lsgan": [*SMALL, "discriminator.norm=spectral", "discriminator.dropout=0.2"],
    "mnist_infogan": SMALL,
    "mnist_cgan": SMALL,
    "began_mnist": SMALL,
    "mnist_dcgan": ["generator.width=4", "discriminator.width=4"],
}


@pytest.mark.parametrize("preset", ROUNDS)
def test_weights_are_the_same_with_and_without_diagnosis(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every exam after every step of 30, against none, in real runs."""
    monkeypatch.setattr(setup, "load_dataset", generated)
    ended = {}
    for share in (0, 1):
        overrides = [
            "data.batch_size=8",
            "data.held_out=2",
            "run.classifier=false",
            "run.diagnose_every=1",
            f"run.diagnosis={share}",
            *ROUNDS[preset],
        ]
        known, loaded = presets.load(preset, overrides)
        launch = Launch(known, loaded, "cpu", 30, None, tmp_path, f"run{share}")
        session = LocalSession(launch)
        session.start()
        assert session.ended.wait(DEADLINE)
        last = session.snapshot
        assert last.state == "finished", last.failure
        folder = Path(last.info.directory)
        (saved,) = folder.glob("checkpoints/step_*/*.safetensors")
        rows = [json.loads(row) for row in (folder / "metrics.jsonl").read_text().splitlines()[1:]]
        assert len(rows) == 30
        for row in rows:
            del row["elapsed"]
        ended[share] = (saved.read_bytes(), rows, torch.get_rng_state().tolist())
        assert last.diagnosis.step == 30 * share
        if share:
            assert {"sign_rate", "grad_ratio", "update_ratio_g"} <= set(last.diagnosis.readings)
            assert len(last.diagnosis.series["sign_rate"].steps) == 30
            assert not [alarm for alarm in last.alarms if alarm.title == "Exam failed"]
    assert ended[0] == ended[1]
