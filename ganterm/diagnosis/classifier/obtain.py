"""Obtains the classifier of a labelled data set: the shipped one, a cached one, or a new one.

``python -m ganterm.diagnosis.classifier.pack FILE`` writes the shipped one; the bytes are the same
on every processor of one kind.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ganterm.core.errors import UserError
from ganterm.core.text import clean
from ganterm.data import digits
from ganterm.data.source import Dataset, ProgressCallback
from ganterm.diagnosis.classifier import recipe, weightfile
from ganterm.diagnosis.classifier.model import Classifier
from ganterm.diagnosis.classifier.weightfile import FileHeader, Untrusted
from ganterm.system.files import write_atomically
from ganterm.system.folders import NoFolder, cache_folder

SHIPPED = Path(__file__).with_name("mnist10k.safetensors")
"""The file of the shipped classifier, which was trained on the embedded digits."""

LEAST_ACCURACY = 0.975
"""Least accuracy, 0..1, at which the shipped classifier is used for another set of digits."""

_DIGITS = tuple("0123456789")


def classifier_for(
    dataset: Dataset, device: torch.device, progress: ProgressCallback, cache: Path | None = None
) -> Classifier | None:
    """The classifier of a labelled set; None if ``obstacle`` gives a reason against one.

    Sets of MNIST's digits, stacked ones too, get the shipped one. Others are trained once, which
    takes 10 to 20 s on a slow core, and are then read from the folder ``cache`` (None: the
    platform's cache folder). A file there that cannot be trusted is replaced. If the folder cannot
    be used, nothing is cached. The classifier's ``notes`` report both.
    """
    if obstacle(dataset) is not None:
        return None
    pictures = _single_pictures(dataset)
    classifier = _shipped(pictures, device)
    classifier = classifier or _cached_or_trained(pictures, device, progress, cache)
    if dataset.stacked == 1:
        return classifier
    modes = tuple(f"{mode:0{dataset.stacked}d}" for mode in range(10**dataset.stacked))
    return replace(classifier, classes=modes, stacked=dataset.stacked)


def obstacle(dataset: Dataset) -> str | None:
    """Why a set's labels cannot be learnt, in words; None if they can."""
    if dataset.samples.ndim != 4:
        return "points need no classifier"
    if dataset.labels is None:
        return "the data have no labels"
    count = len(dataset.samples) * dataset.stacked
    if count < recipe.FEWEST:
        return f"{count:,} pictures are too few: {recipe.FEWEST} are needed"
    if len(dataset.labels.unique()) < 2:
        return "the data have one class only"
    return None


def train(dataset: Dataset, device: torch.device, progress: ProgressCallback) -> Classifier:
    """Train a classifier; the set must have no ``obstacle`` and not be stacked."""
    training, held_out = recipe.split(len(dataset.samples))
    weights = recipe.fit(dataset, training, device, progress)
    classifier = Classifier(weights, dataset.classes, 0.0, len(held_out), dataset.sha256)
    return replace(classifier, accuracy=_accuracy(classifier, dataset, held_out))


def to_bytes(classifier: Classifier) -> bytes:
    """The content of a file that holds the classifier."""
    header = FileHeader(
        dataset_sha256=classifier.dataset_sha256,
        classes=classifier.classes,
        accuracy=classifier.accuracy,
        held_out=classifier.held_out,
    )
    return weightfile.to_bytes(classifier.weights, header)


def _cached_or_trained(
    dataset: Dataset, device: torch.device, progress: ProgressCallback, cache: Path | None
) -> Classifier:
    try:
        folder = cache or cache_folder() / "classifiers"
    except NoFolder as error:
        return replace(train(dataset, device, progress), notes=(f"classifier not kept: {error}",))
    # Each kind of device rounds in its own way, so each has a file of its own.
    path = folder / f"{dataset.sha256}-{device.type}-{recipe.RECIPE}.safetensors"
    notes = []
    try:
        cached = _read(path, dataset.shape, device)
        if (cached.dataset_sha256, cached.classes) == (dataset.sha256, dataset.classes):
            return cached
        notes.append(f"classifier trained anew: {clean(path)} is of other data")
    except FileNotFoundError:
        pass
    except (Untrusted, OSError) as error:
        notes.append(f"classifier trained anew: {clean(path)}: {clean(error)}")
    classifier = train(dataset, device, progress)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, to_bytes(classifier))
    except OSError as error:
        notes.append(f"classifier not kept in {clean(folder)}: {clean(error.strerror or error)}")
    return replace(classifier, notes=tuple(notes))


def _shipped(dataset: Dataset, device: torch.device) -> Classifier | None:
    """The shipped classifier if the set shows MNIST's digits, else None.

    Its accuracy is measured on up to 2,000 pictures of the set that it was not trained on. If there
    are too few of these, the set is a part of the embedded digits, and the accuracy in the file
    holds. UserError if the file is damaged.
    """
    if dataset.classes != _DIGITS or dataset.shape != (1, 28, 28):
        return None
    try:
        shipped = _read(SHIPPED, dataset.shape, device)
    except (Untrusted, OSError) as error:
        raise UserError(
            f"the shipped classifier of digits is damaged ({clean(error)}); install ganterm again"
        ) from None
    pictures, _ = digits.unpack()
    training, _ = recipe.split(len(pictures))
    trained_on = {picture.tobytes() for picture in pictures[training.numpy()]}
    places = [
        place
        for place, picture in enumerate(dataset.samples.numpy())
        if picture.tobytes() not in trained_on
    ]
    if len(places) < min(recipe.LEAST_HELD_OUT, len(dataset.samples)):
        return shipped
    step = -(-len(places) // recipe.MOST_HELD_OUT)
    held_out = torch.tensor(places[::step])
    accuracy = _accuracy(shipped, dataset, held_out)
    if accuracy < LEAST_ACCURACY:
        return None
    return replace(shipped, accuracy=accuracy, held_out=len(held_out))


def _read(path: Path, shape: tuple[int, ...], device: torch.device) -> Classifier:
    """Read the classifier in a file; Untrusted or OSError if that fails."""
    weights, header = weightfile.read(path, shape)
    on_device = {name: weight.to(device) for name, weight in weights.items()}
    return Classifier(
        on_device, header.classes, header.accuracy, header.held_out, header.dataset_sha256
    )


def _accuracy(classifier: Classifier, dataset: Dataset, places: Tensor) -> float:
    """Share, 0..1, of the samples at ``places`` whose class the classifier predicts."""
    assert dataset.labels is not None
    labels = classifier.predict(dataset.samples[places]).labels.cpu()
    return float((labels == dataset.labels[places]).double().mean())


def _single_pictures(dataset: Dataset) -> Dataset:
    """The first pictures of a stacked set as samples of their own, enough for the recipe."""
    if dataset.stacked == 1:
        return dataset
    assert dataset.labels is not None
    count = -(-recipe.MOST_SAMPLES // dataset.stacked)
    digits_of = torch.tensor([[int(digit) for digit in name] for name in dataset.classes])
    return replace(
        dataset,
        samples=dataset.samples[:count].flatten(0, 1).unsqueeze(1),
        labels=digits_of[dataset.labels[:count]].flatten(),
        classes=_DIGITS,
        stacked=1,
    )
