"""What can be seen of G: each view, made between two iterations, and asked for by a watcher."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganterm.core.snapshot import (
    VIEWS,
    OneStep,
    Pause,
    Sample,
    SaveSamples,
    SetControl,
    Unpause,
    View,
    ViewName,
)
from ganterm.data.source import Dataset
from ganterm.diagnosis.nearest import nearest
from ganterm.launch import Launch
from ganterm.rundir.pictures import sample_png
from ganterm.session.local import LocalSession
from ganterm.training.batches import Latent
from ganterm.training.sampler import COLUMNS, PAIRS, STEPS, Sampler
from tests.helpers.deadlines import DEADLINE, until
from tests.training.test_trainer import weights

NOTHING = Sample(-1)
CPU = torch.device("cpu")
CONDITIONAL = ("generator.conditional=onehot", "discriminator.conditional=onehot")


class Painter(nn.Module):
    """Paints a 4 x 4 picture of the first number of its noise, and of its label where told one."""

    def __init__(self, brightness: float = 0.0) -> None:
        super().__init__()
        self.brightness = brightness

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        assert not self.training, "only looked at in evaluation mode"
        value = noise[:, 0].tanh() / 4 if labels is None else labels.float() / 8 - 1
        return (value + self.brightness).reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4)


def pictures(count: int = 50, classes: int = 0) -> Dataset:
    random = torch.Generator().manual_seed(1)
    samples = torch.randint(0, 256, (count, 1, 4, 4), generator=random, dtype=torch.uint8)
    names = tuple("abcdefghijklmnopqrstuvwxyz"[:classes])
    return Dataset("d", samples, torch.arange(count) % classes if classes else None, names)


def sampler(latent: Latent, data: Dataset | None = None, total: int | None = None) -> Sampler:
    return Sampler(data or pictures(classes=latent.labels), latent, CPU, 3, total)


def shown(session: LocalSession) -> Sample:
    return session.snapshot.sample or NOTHING


def seen(session: LocalSession, view: View, step: int) -> bool:
    return shown(session).view == view and shown(session).step == step


def bytes_of(value: float) -> int:
    return round((value + 1) * 127.5)


def test_rows_of_the_class_grid_are_of_one_label_with_the_same_noise() -> None:
    sample = sampler(Latent(3, labels=10)).look(Painter(), 7)
    assert sample.view == View("classes")
    assert (sample.step, sample.across, sample.rows) == (7, COLUMNS, 10)
    assert sample.labels == tuple("abcdefghij")
    rows = sample.images.reshape(10, COLUMNS, -1)
    assert [set(row.ravel().tolist()) for row in rows] == [
        {bytes_of(label / 8 - 1)} for label in range(10)
    ]

    class Noise(Painter):
        def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
            return super().forward(noise)

    rows = sampler(Latent(3, labels=10)).look(Noise(), 7).images.reshape(10, COLUMNS, -1)
    assert all(np.array_equal(row, rows[0]) for row in rows)
    assert len({row[0] for row in rows[0]}) > 1


def test_of_many_classes_a_part_is_made_and_said() -> None:
    looking = sampler(Latent(3, labels=26))
    sample = looking.look(Painter(), 0, View("classes", first=20))
    assert sample.labels == tuple("uvwxyz")
    assert (sample.rows, sample.view.first) == (26, 20)
    assert len(sample.images) == 6 * COLUMNS
    assert looking.look(Painter(), 0, View("classes", first=99)).labels == ("z",)
    assert len(looking.picture(Painter(), 0).labels) == 26, "a file has them all"


def test_codes_are_numbered_not_named() -> None:
    sample = sampler(Latent(3, labels=4, codes=True), pictures(classes=3)).look(Painter(), 0)
    assert sample.labels == ("0", "1", "2", "3")


def test_views_that_make_no_sense_are_not_offered() -> None:
    plane = Dataset("p", torch.randn(40, 2))
    assert set(sampler(Latent(3, labels=2)).views) == set(VIEWS)
    assert "classes" not in sampler(Latent(3)).views
    assert sampler(Latent(3), plane).views == ("samples", "walk")
    assert sampler(Latent(3)).look(Painter(), 0, View("classes")).view == View("samples")


def test_reals_stand_beside_fakes_of_the_same_labels() -> None:
    data = pictures(classes=5)
    sample = sampler(Latent(3, labels=5), data).look(Painter(), 0, View("real"))
    whole = data.samples.permute(0, 2, 3, 1).numpy()
    for real, fake in zip(sample.beside, sample.images, strict=True):
        label = next(i for i, one in enumerate(whole) if np.array_equal(one, real)) % 5
        assert fake[0, 0, 0] == bytes_of(label / 8 - 1)


def test_a_normal_walk_keeps_its_length_and_a_uniform_one_is_straight() -> None:
    random = torch.Generator().manual_seed(0)
    start, end = Latent(16).draw(5, random), Latent(16).draw(5, random)
    path = Latent(16).path(start, end, 9)
    assert torch.allclose(path[:, 0], start, atol=1e-5)
    assert torch.allclose(path[:, -1], end, atol=1e-5)
    even = torch.lerp(start.norm(dim=1)[:, None], end.norm(dim=1)[:, None], torch.linspace(0, 1, 9))
    assert torch.allclose(path.norm(dim=2), even, atol=1e-4)
    turns = torch.cosine_similarity(path[:, 1:], path[:, :-1], dim=2)
    assert torch.allclose(turns, turns[:, :1].expand_as(turns), atol=1e-4), "at an even pace"
    straight = Latent(16, "uniform").path(start, end, 9)
    assert torch.allclose(straight[:, 4], (start + end) / 2, atol=1e-6)
    line = Latent(1).path(torch.tensor([[-1.0]]), torch.tensor([[2.0]]), 4)
    assert torch.allclose(line.ravel(), torch.tensor([-1.0, 0, 1, 2]), atol=1e-6)


def test_a_walk_has_a_pair_a_row_and_one_label_in_it() -> None:
    sample = sampler(Latent(3, labels=3)).look(Painter(), 0, View("walk"))
    rows = sample.images.reshape(PAIRS, STEPS, -1)
    assert sample.labels == tuple("abcabcab")
    assert all(len(np.unique(row)) == 1 for row in rows)
    plain = sampler(Latent(3)).look(Painter(), 0, View("walk"))
    assert plain.labels == () and plain.across == STEPS
    values = plain.images.reshape(PAIRS, STEPS, -1)[:, :, 0].astype(int)
    steps = np.diff(values, axis=1)
    assert np.abs(steps).max() < 60 and np.abs(steps).sum() > 0


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 30, 30)])
def test_nearest_is_what_brute_force_finds(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganterm.diagnosis.nearest.MEMORY", 7 * 4 * int(np.prod(shape)))
    random = np.random.default_rng(0)
    # Close together, so that only exact sums tell them apart.
    base = random.integers(0, 2, shape) * 252
    queries = (base + random.integers(0, 4, (6, *shape))).astype(np.uint8)
    known = (base + random.integers(0, 4, (40, *shape))).astype(np.uint8)
    known[31] = known[9] = queries[2]
    differences = queries[:, None].astype(int) - known[None].astype(int)
    squares = (differences**2).reshape(6, 40, -1).sum(axis=2)
    near = nearest(torch.from_numpy(queries), torch.from_numpy(known), CPU)
    assert near.places.tolist() == squares.argmin(axis=1).tolist()
    two = np.sort(squares, axis=1)[:, :2]
    for found, squared in ((near.distances, two[:, 0]), (near.next_distances, two[:, 1])):
        # The sums are exact on every machine, torch's root of them to the last bit but one.
        assert np.array_equal(np.rint((found.numpy() * 255) ** 2), squared)
        assert np.allclose(found.numpy(), np.sqrt(squared) / 255, rtol=1e-14, atol=0)
    only = nearest(torch.from_numpy(queries), torch.from_numpy(known[:1]), CPU)
    assert only.next_distances.isinf().all() and only.distances.isfinite().all()


def test_the_nearest_view_says_how_far_and_among_how_many() -> None:
    data = pictures()
    sample = sampler(Latent(3), data).look(Painter(), 0, View("nearest"))
    assert sample.note == "nearest of 50"
    difference = sample.images.astype(float) - sample.beside
    found = np.sqrt((difference**2).sum(axis=(1, 2, 3))) / 255
    assert np.allclose(found, sample.distances, rtol=1e-6)
    part = sampler(Latent(3), data, total=1000).look(Painter(), 0, View("nearest"))
    assert part.note == "nearest of 50 looked at, of 1,000"


def test_raw_averaged_and_both_say_which_they_are() -> None:
    looking = sampler(Latent(3))
    raw, mean = Painter(), Painter(0.5)
    one = looking.look(raw, 0, View("samples", "raw"), mean).images
    other = looking.look(raw, 0, View("samples", "averaged"), mean).images
    both = looking.look(raw, 0, View("samples", "both"), mean)
    assert np.array_equal(both.images, one) and np.array_equal(both.beside, other)
    assert (other > one).all()
    walk = looking.look(raw, 0, View("walk", "both"), mean)
    assert walk.view == View("walk", "averaged")
    off = looking.look(raw, 0, View("samples", "both"), None)
    assert off.view == View("samples", "raw") and "ema is 0" in off.note
    assert np.array_equal(off.images, one) and off.beside is None


def test_points_walk_and_stand_beside_each_other() -> None:
    looking = sampler(Latent(2), Dataset("p", torch.randn(40, 2)))
    identity = nn.Identity()
    walk = looking.look(identity, 0, View("walk"))
    assert walk.points.shape == (PAIRS * walk.across, 2)
    both = looking.look(identity, 0, View("samples", "both"), nn.Identity())
    assert np.array_equal(both.points, both.beside)
    assert sample_png(both) != sample_png(looking.look(identity, 0))


def test_looking_leaves_the_mode_and_draws_nothing_from_others() -> None:
    looking = sampler(Latent(3, labels=3))
    raw, mean = Painter().train(), Painter().eval()
    before = torch.get_rng_state()
    for name in looking.views:
        for painter in ("raw", "averaged", "both"):
            assert sample_png(looking.look(raw, 0, View(name, painter), mean))
    assert raw.training and not mean.training
    assert torch.equal(before, torch.get_rng_state())


def test_new_noise_is_seen_in_every_view() -> None:
    looking = sampler(Latent(3), pictures(5000))
    before = [looking.look(Painter(), 0, View(name)) for name in looking.views]
    looking.renew()
    for old in before:
        new = looking.look(Painter(), 0, old.view)
        assert not np.array_equal(old.images, new.images), old.view
        assert old.view.name != "real" or not np.array_equal(old.beside, new.beside)


def test_changing_views_does_not_change_the_weights(launch: Callable[..., Launch]) -> None:
    alone = LocalSession(launch(*CONDITIONAL, steps=20, name="alone"))
    alone.start()
    assert alone.ended.wait(DEADLINE)
    session = LocalSession(launch(*CONDITIONAL, steps=20, name="watched"))
    session.submit(Pause())
    session.start()
    wishes = [View(name, painter) for name in VIEWS for painter in ("raw", "averaged")]
    for step, wish in enumerate([*wishes, View("samples", "both")], 1):
        session.watch(1000, wish)
        session.submit(OneStep())
        until(partial(seen, session, wish, step))
    session.submit(Unpause())
    assert session.ended.wait(DEADLINE)
    first, second = weights(alone), weights(session)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_view_asked_for_in_a_pause_is_there_at_once(launch: Callable[..., Launch]) -> None:
    session = LocalSession(launch(*CONDITIONAL, steps=None))
    session.watch(0.01)
    session.start()
    until(lambda: session.snapshot.step > 3)
    assert session.snapshot.info.views[0] == "classes"
    until(lambda: shown(session).view == View("classes"))
    session.submit(Pause())
    until(lambda: session.snapshot.state == "paused")
    for name in VIEWS:
        session.watch(0.01, View(name, "averaged"))
        until(partial(seen, session, View(name, "averaged"), session.snapshot.step))
    session.submit(SaveSamples())
    folder = Path(session.snapshot.info.directory) / "samples"
    step = f"step_{session.snapshot.step:010d}-b0"
    until((folder / f"{step}-nearest-averaged.png").exists)
    assert (folder / f"{step}.png").exists()
    session.submit(SetControl("ema", 0.0))
    until(lambda: shown(session).view.painter == "raw")
    assert "ema is 0" in shown(session).note
    session.stop("test")
    assert session.ended.wait(DEADLINE)
    assert shown(session).view.name == "nearest", "the last picture is of the view last asked for"


@pytest.mark.parametrize(("name", "seconds"), [("nearest", 0.0), ("samples", 0.1)])
def test_what_is_costly_is_looked_at_seldom(
    launch: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch, name: ViewName, seconds: float
) -> None:
    looked: list[str] = []
    plain = Sampler.look

    def slow(self: Sampler, *args: Any) -> Sample:
        sample = plain(self, *args)
        time.sleep(seconds)
        looked.append(sample.view.name)
        return sample

    monkeypatch.setattr(Sampler, "look", slow)
    session = LocalSession(launch(steps=None))
    session.watch(1000, View(name))
    session.start()
    until(lambda: session.snapshot.step > 3 and len(looked) > 0)
    time.sleep(1.2)
    assert looked == [name], "in the time of six publications"
    session.stop("test")
    assert session.ended.wait(DEADLINE)
