"""ganterm's own classifier of a labelled set: shipped, found in the cache folder, or trained.

``python -m ganterm.diagnosis.classifier.pack FILE`` makes the shipped one, byte for byte on one
kind of processor.
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
"""Trained on the embedded digits."""

ENOUGH = 0.975
"""Share right from which the shipped classifier serves another set of digits."""

_DIGITS = tuple("0123456789")


def classifier_for(
    dataset: Dataset, device: torch.device, tell: ProgressCallback, cache: Path | None = None
) -> Classifier | None:
    """The classifier of a labelled set; None where ``obstacle`` says why there is none.

    Trained once, in 10 to 20 s on a slow core, and then found in ``cache``, the platform's cache
    folder where that is None. A file there that cannot be trusted is replaced, a folder that is
    missing, another user's, or cannot be written to is done without; ``notes`` says so. Sets of
    MNIST's digits, stacked ones too, get the shipped one.
    """
    if obstacle(dataset) is not None:
        return None
    single = _unstacked(dataset)
    found = _shipped(single, device) or _cached_or_fitted(single, device, tell, cache)
    if dataset.stacked == 1:
        return found
    modes = tuple(f"{mode:0{dataset.stacked}d}" for mode in range(10**dataset.stacked))
    return replace(found, classes=modes, stacked=dataset.stacked)


def obstacle(dataset: Dataset) -> str | None:
    """Why nothing can be learnt from a set's labels, in words; None where something can."""
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


def train(dataset: Dataset, device: torch.device, tell: ProgressCallback) -> Classifier:
    """A classifier trained now; the set must not be ``obstacle``, nor stacked."""
    training, held_out = recipe.split(len(dataset.samples))
    weights = recipe.fit(dataset, training, device, tell)
    made = Classifier(weights, dataset.classes, 0.0, len(held_out), dataset.sha256)
    return replace(made, accuracy=_share_right(made, dataset, held_out))


def packed(made: Classifier) -> bytes:
    """The bytes of a file that holds it."""
    header = FileHeader(
        dataset_sha256=made.dataset_sha256,
        classes=made.classes,
        accuracy=made.accuracy,
        held_out=made.held_out,
    )
    return weightfile.packed(made.weights, header)


def _cached_or_fitted(
    dataset: Dataset, device: torch.device, tell: ProgressCallback, cache: Path | None
) -> Classifier:
    try:
        folder = cache or cache_folder() / "classifiers"
    except NoFolder as error:
        return replace(train(dataset, device, tell), notes=(f"classifier not kept: {error}",))
    # Kinds of devices round in their own ways; a set has one result on each.
    path = folder / f"{dataset.sha256}-{device.type}-{recipe.RECIPE}.safetensors"
    notes = []
    try:
        found = _read(path, dataset.shape, device)
        if (found.dataset_sha256, found.classes) == (dataset.sha256, dataset.classes):
            return found
        notes.append(f"classifier trained anew: {clean(path)} is of other data")
    except FileNotFoundError:
        pass
    except (Untrusted, OSError) as error:
        notes.append(f"classifier trained anew: {clean(path)}: {clean(error)}")
    made = train(dataset, device, tell)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, packed(made))
    except OSError as error:
        notes.append(f"classifier not kept in {clean(folder)}: {clean(error.strerror or error)}")
    return replace(made, notes=tuple(notes))


def _shipped(dataset: Dataset, device: torch.device) -> Classifier | None:
    """The shipped classifier where the set shows the digits that it knows, else None.

    Up to 2,000 pictures of the set that it was not trained on measure its accuracy. Where there are
    too few of them, the set is a part of the embedded digits and the accuracy in the file holds.
    UserError where the package is damaged.
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
    known = {picture.tobytes() for picture in pictures[training.numpy()]}
    places = [
        place
        for place, picture in enumerate(dataset.samples.numpy())
        if picture.tobytes() not in known
    ]
    if len(places) < min(recipe.LEAST_HELD_OUT, len(dataset.samples)):
        return shipped
    step = -(-len(places) // recipe.MOST_HELD_OUT)
    unseen = torch.tensor(places[::step])
    accuracy = _share_right(shipped, dataset, unseen)
    return replace(shipped, accuracy=accuracy, held_out=len(unseen)) if accuracy >= ENOUGH else None


def _read(path: Path, shape: tuple[int, ...], device: torch.device) -> Classifier:
    """The classifier that a file holds; Untrusted or OSError where it holds none."""
    weights, header = weightfile.read(path, shape)
    placed = {name: weight.to(device) for name, weight in weights.items()}
    return Classifier(
        placed, header.classes, header.accuracy, header.held_out, header.dataset_sha256
    )


def _share_right(judge: Classifier, dataset: Dataset, places: Tensor) -> float:
    assert dataset.labels is not None
    labels = judge.predict(dataset.samples[places]).labels.cpu()
    return float((labels == dataset.labels[places]).double().mean())


def _unstacked(dataset: Dataset) -> Dataset:
    """The first pictures of a stacked set, taken apart: as many as the recipe trains on."""
    if dataset.stacked == 1:
        return dataset
    assert dataset.labels is not None
    count = -(-recipe.MOST_SAMPLES // dataset.stacked)
    shown = torch.tensor([[int(digit) for digit in name] for name in dataset.classes])
    return replace(
        dataset,
        samples=dataset.samples[:count].flatten(0, 1).unsqueeze(1),
        labels=shown[dataset.labels[:count]].flatten(),
        classes=_DIGITS,
        stacked=1,
    )
