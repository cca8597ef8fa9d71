from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ganterm.core.errors import UserError
from ganterm.data import digits
from ganterm.data.load import load_dataset
from ganterm.data.options import DataSection
from ganterm.data.source import Dataset
from ganterm.diagnosis.classifier import network, obtain, recipe
from ganterm.diagnosis.classifier.features import FixedFeatures
from ganterm.diagnosis.classifier.model import Classifier
from ganterm.diagnosis.classifier.obtain import SHIPPED, classifier_for, obstacle, to_bytes

CPU = torch.device("cpu")
TOLD: list[str] = []


def tell(what: str, share: float | None) -> None:
    assert share is None or 0 <= share <= 1
    TOLD.append(what)


@pytest.fixture(autouse=True)
def _nothing_told_yet() -> None:
    TOLD.clear()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "TRAINING_PICTURES", 4_000)


def bars(count: int = 400, shape: tuple[int, ...] = (1, 12, 12), classes: int = 3) -> Dataset:
    """Noise with a bright bar, whose row is the class."""
    random = torch.Generator().manual_seed(7)
    samples = torch.randint(0, 60, (count, *shape), generator=random, dtype=torch.uint8)
    labels = torch.randint(classes, (count,), generator=random)
    for place, label in enumerate(labels.tolist()):
        row = (2 * label + 1) * shape[1] // (2 * classes)
        samples[place, :, row] = 255
    return Dataset("bars", samples, labels, tuple(f"row {label}" for label in range(classes)))


def of(name: str, limit: int = 0, classes: Sequence[str | int] = ()) -> Dataset:
    options = DataSection(name=name, limit=limit, classes=list(classes))
    return load_dataset(options, None, lambda what, share: None)


def made(dataset: Dataset, cache: Path) -> Classifier:
    found = classifier_for(dataset, CPU, tell, cache)
    assert found is not None
    return found


def same(first: Classifier, second: Classifier) -> bool:
    return all(
        torch.equal(first.weights[name], second.weights[name])
        for name in first.weights.keys() | second.weights.keys()
    )


def test_the_shipped_one_is_right_on_digits_it_has_not_seen(tmp_path: Path) -> None:
    judge = made(of("mnist10k"), tmp_path)
    assert TOLD == [] and not list(tmp_path.iterdir())
    pictures, labels = digits.unpack()
    training, held_out = recipe.split(len(pictures))
    assert not set(training.tolist()) & set(held_out.tolist())
    assert len(training) + len(held_out) == len(pictures)
    batch = torch.from_numpy(pictures[held_out.numpy()]).unsqueeze(1) / 127.5 - 1
    share = (judge.predict(batch).labels.numpy() == labels[held_out.numpy()]).mean()
    assert share >= 0.975
    assert judge.accuracy == pytest.approx(share, abs=2e-3)
    assert judge.held_out == len(held_out) == 1_000
    assert judge.dataset_sha256 == of("mnist10k").sha256


def test_the_shipped_file_is_small_and_of_halves() -> None:
    assert SHIPPED.stat().st_size < 200_000
    assert {weight.dtype for weight in load_file(SHIPPED).values()} == {torch.float16}


def test_a_part_of_the_digits_gets_the_shipped_one_and_other_classes_do_not(
    tmp_path: Path, quick: None
) -> None:
    whole = made(of("mnist10k"), tmp_path)
    part = made(of("mnist10k", limit=600), tmp_path)
    assert same(whole, part) and part.accuracy == whole.accuracy and TOLD == []
    few = made(of("mnist10k", classes=[1, 7]), tmp_path)
    assert few.classes == ("1", "7") and "training the mode classifier" in TOLD
    assert few.accuracy > 0.9


def test_digits_that_are_not_mnists_are_learnt_anew(tmp_path: Path, quick: None) -> None:
    strange = of("mnist10k", limit=600)
    made(replace(strange, samples=255 - strange.samples), tmp_path)
    assert "training the mode classifier" in TOLD


def test_a_damaged_package_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "damaged"
    damaged.write_bytes(SHIPPED.read_bytes()[:-1])
    monkeypatch.setattr(obtain, "SHIPPED", damaged)
    with pytest.raises(UserError, match="install ganterm again"):
        classifier_for(of("mnist10k"), CPU, tell, tmp_path)


def test_other_digits_like_them_get_the_shipped_one_measured_on_them(tmp_path: Path) -> None:
    whole = of("mnist10k")
    assert whole.labels is not None
    dimmer = replace(whole, samples=whole.samples // 16 * 15)
    judge = made(dimmer, tmp_path)
    assert TOLD == [] and same(judge, made(whole, tmp_path))
    assert judge.held_out == 2_000
    seen = torch.arange(0, 10_000, 5)
    right = judge.predict(dimmer.samples[seen]).labels == whole.labels[seen]
    assert judge.accuracy == pytest.approx(right.double().mean().item(), abs=1e-3)


@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 32, 32), (3, 64, 64), (1, 130, 130)])
def test_pictures_of_any_size_are_learnt(
    shape: tuple[int, ...], tmp_path: Path, quick: None
) -> None:
    dataset = bars(shape=shape)
    judge = made(dataset, tmp_path)
    assert judge.accuracy > 0.9 and judge.held_out == 200
    logits, features = judge.output(dataset.samples[:7])
    assert logits.shape == (7, 3) and features.shape == (7, network.FEATURES)


def test_samples_are_judged_alike_in_any_parts_and_as_bytes_or_floats(tmp_path: Path) -> None:
    judge = made(of("mnist10k"), tmp_path)
    samples = of("mnist10k").samples[:300]
    whole = judge.predict(samples)
    alone = [judge.predict(sample / 127.5 - 1) for sample in samples[250:260].split(1)]
    assert torch.equal(whole.labels[250:260], torch.cat([each.labels for each in alone]))
    apart = torch.cat([each.confidence for each in alone])
    assert torch.allclose(whole.confidence[250:260], apart, atol=1e-4)
    assert whole.labels.dtype == torch.int64 and whole.confidence.dtype == torch.float32
    logits, _ = judge.output(samples)
    chances = logits.double().exp() / logits.double().exp().sum(dim=1, keepdim=True)
    assert torch.allclose(chances.amax(dim=1).float(), whole.confidence, atol=1e-5)
    assert not logits.requires_grad


def test_a_picture_that_is_not_finite_has_no_confidence(tmp_path: Path) -> None:
    judge = made(of("mnist10k"), tmp_path)
    batch = of("mnist10k").samples[:3] / 127.5 - 1
    expected = judge.predict(batch).confidence
    batch[1, 0, 5, 5] = math.nan
    confidence = judge.predict(batch).confidence
    assert confidence[1] == 0
    assert torch.equal(confidence[::2], expected[::2])


def test_training_again_gives_the_same_bits(quick: None, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = made(bars(), tmp_path / "one")
    torch.manual_seed(2)
    second = made(bars(), tmp_path / "two")
    assert same(first, second) and to_bytes(first) == to_bytes(second)
    one, two = (next((tmp_path / name).iterdir()) for name in ("one", "two"))
    assert one.name == two.name and one.read_bytes() == two.read_bytes()


def test_nothing_is_drawn_from_torchs_own_generator(quick: None, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    threads = torch.get_num_threads()
    judge = made(bars(), tmp_path)
    judge.predict(bars().samples)
    FixedFeatures((1, 12, 12)).features(bars().samples)
    made(of("mnist10k"), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_training_is_possible_where_gradients_are_off(quick: None, tmp_path: Path) -> None:
    with torch.no_grad():
        quiet = made(bars(), tmp_path / "one")
    assert quiet.accuracy > 0.9


def test_the_second_time_it_is_found(quick: None, tmp_path: Path) -> None:
    first = made(bars(), tmp_path)
    assert "training the mode classifier" in TOLD and first.notes == ()
    TOLD.clear()
    second = made(bars(), tmp_path)
    assert TOLD == [] and second.notes == ()
    assert same(first, second) and second.accuracy == first.accuracy
    (file,) = tmp_path.iterdir()
    assert bars().sha256 in file.name


def _torn(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _not_finite(file: Path) -> None:
    _changed(file, lambda weights: weights["logits.bias"].fill_(math.nan))


def _of_other_shape(file: Path) -> None:
    _changed(file, lambda weights: weights.update({"logits.bias": torch.zeros(4)}))


def _of_whole_numbers(file: Path) -> None:
    _changed(file, lambda weights: weights.update({"logits.bias": torch.zeros(3).long()}))


def _one_missing(file: Path) -> None:
    _changed(file, lambda weights: weights.pop("logits.bias"))


def _one_more(file: Path) -> None:
    _changed(file, lambda weights: weights.update(more=torch.zeros(1)))


def _of_other_data(file: Path) -> None:
    sha256 = bars().sha256.encode()
    file.write_bytes(file.read_bytes().replace(sha256, b"0" * len(sha256)))


def _without_a_word(file: Path) -> None:
    save_file(load_file(file), file)


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _words(file: Path) -> None:
    file.write_bytes(b"\x80\x04not a safetensors file at all" * 50)


def _changed(file: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    with safe_open(file, framework="pt") as opened:
        about = opened.metadata()
    weights = load_file(file)
    change(weights)
    save_file(weights, file, about)


@pytest.mark.parametrize(
    "spoil",
    [
        _torn,
        _not_finite,
        _of_other_shape,
        _of_whole_numbers,
        _one_missing,
        _one_more,
        _of_other_data,
        _without_a_word,
        _empty,
        _words,
    ],
)
def test_a_spoiled_file_is_told_and_replaced(
    spoil: Callable[[Path], None], quick: None, tmp_path: Path
) -> None:
    first = made(bars(), tmp_path)
    (file,) = tmp_path.iterdir()
    good = file.read_bytes()
    spoil(file)
    assert file.read_bytes() != good
    TOLD.clear()
    again = made(bars(), tmp_path)
    assert "training the mode classifier" in TOLD
    assert len(again.notes) == 1 and again.notes[0].startswith("classifier trained anew: ")
    assert same(first, again) and file.read_bytes() == good


def test_other_names_of_the_same_classes_are_not_mistaken(quick: None, tmp_path: Path) -> None:
    made(bars(), tmp_path)
    renamed = made(replace(bars(), classes=("a", "b", "c")), tmp_path)
    assert renamed.classes == ("a", "b", "c")
    assert "other data" in renamed.notes[0]


def test_a_folder_that_cannot_be_written_to_is_done_without(quick: None, tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("not a folder")
    judge = made(bars(), taken)
    assert judge.accuracy > 0.9
    assert "classifier not kept" in judge.notes[-1]


@pytest.mark.parametrize(
    ("dataset", "why"),
    [
        (bars(299), "299 pictures are too few: 300 are needed"),
        (bars(classes=1), "one class only"),
        (replace(bars(), labels=None), "no labels"),
        (Dataset("plane", torch.zeros(500, 2), torch.zeros(500).long()), "points"),
    ],
)
def test_where_there_is_nothing_to_learn_it_says_why(
    dataset: Dataset, why: str, tmp_path: Path
) -> None:
    assert classifier_for(dataset, CPU, tell, tmp_path) is None
    assert why in str(obstacle(dataset))
    assert obstacle(bars(300)) is None


def test_the_digits_of_a_stack_are_read_one_by_one(tmp_path: Path) -> None:
    stacks = of("stacked_mnist10k", limit=2_000)
    judge = made(stacks, tmp_path)
    assert TOLD == [] and judge.classes == stacks.classes
    assert stacks.labels is not None
    samples, labels = stacks.samples[:200], stacks.labels[:200]
    single = made(of("mnist10k"), tmp_path)
    channels = [single.predict(samples[:, place : place + 1]) for place in range(3)]
    red, green, blue = (channel.labels for channel in channels)
    modes, confidence = judge.predict(samples)
    assert torch.equal(modes, 100 * red + 10 * green + blue)
    joint = channels[0].confidence * channels[1].confidence * channels[2].confidence
    assert torch.allclose(confidence, joint, atol=1e-5)
    assert (modes == labels).double().mean() > 0.9
    logits, features = judge.output(samples)
    assert logits.shape == (200, 3, 10) and features.shape == (200, 3 * network.FEATURES)
    assert torch.allclose(features[:, :64], single.output(samples[:, :1]).features, atol=1e-4)


def test_kept_stacks_are_read_as_all_others_are(tmp_path: Path) -> None:
    kept = of("stacked_mnist10k", classes=["007", "942"])
    assert kept.stacked == 3
    modes = made(kept, tmp_path).predict(kept.samples).labels
    shown = torch.tensor([7, 942])[kept.labels]
    assert (modes == shown).double().mean() > 0.85


def test_each_mode_counts_and_parts_are_spread_over_the_whole_set() -> None:
    for count in (300, 1_000, 10_000, 60_000):
        training, held_out = recipe.split(count)
        both = torch.cat([training, held_out])
        assert len(both.unique()) == len(both) <= recipe.MOST_SAMPLES
        assert 200 <= len(held_out) <= 2_000
        # Classes that take turns, as a folder's do, are all held out alike.
        turns = torch.bincount(held_out % 10, minlength=10)
        assert turns.min() > 0.7 * len(held_out) / 10


def test_fixed_features_are_the_same_in_every_run_and_tell_pictures_apart() -> None:
    dataset = bars(shape=(3, 32, 32))
    torch.manual_seed(3)
    first = FixedFeatures(dataset.shape).features(dataset.samples)
    torch.manual_seed(4)
    second = FixedFeatures(dataset.shape).features(dataset.samples / 127.5 - 1)
    assert first.shape == (400, 64) and torch.allclose(first, second, atol=1e-3)
    inner = first[dataset.labels == 0]
    outer = first[dataset.labels == 1]
    between = torch.cdist(inner, outer).mean()
    assert between > 1.3 * torch.pdist(inner).mean()


def test_points_are_their_own_features() -> None:
    points = torch.randn(1_000, 2, generator=torch.Generator().manual_seed(5))
    assert torch.equal(FixedFeatures((2,)).features(points), points)
