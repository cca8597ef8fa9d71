"""What diagnosis knows of a run before it starts: samples to compare with, and traits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganterm.data.source import Dataset, ProgressCallback
from ganterm.diagnosis.classifier import obtain
from ganterm.diagnosis.classifier.features import FixedFeatures
from ganterm.diagnosis.classifier.model import Classifier
from ganterm.diagnosis.exam import EXAM_SAMPLES, Features, Subject
from ganterm.diagnosis.rule import Traits
from ganterm.training.torch_internals import BatchNorm

_BOUNDS: dict[type[nn.Module], tuple[float, float]] = {
    nn.Tanh: (-1.0, 1.0),
    nn.Sigmoid: (0.0, 1.0),
    nn.Hardtanh: (-1.0, 1.0),
    nn.ReLU: (0.0, float("inf")),
}
"""The range of a network's output by the kind of its last layer."""

GOOD_ENOUGH = 0.9
"""Least accuracy on held-out reals, 0..1, for a classifier to count modes."""


def features_for(
    dataset: Dataset, wanted: bool, device: torch.device, tell: ProgressCallback
) -> tuple[Features, Classifier | None, str]:
    """The features of samples, a classifier that tells modes apart (or None), and a note about it.

    ``wanted``: whether to train a classifier where the labels allow it.
    """
    note = "run.classifier is false: modes are not told apart"
    judge: Classifier | None = None
    if wanted:
        judge = obtain.classifier_for(dataset, device, tell)
        note = obtain.obstacle(dataset) or ""
    if judge is None:
        return FixedFeatures(dataset.shape, device), None, note
    note = f"classifier right on {judge.accuracy:.1%} of {judge.held_out:,} held-out reals"
    good = judge.accuracy >= GOOD_ENOUGH
    note = note if good else f"{note}: too few to count modes by"
    return judge, judge if good else None, "; ".join([note, *judge.notes])


def subject_of(
    dataset: Dataset,
    held_out: Dataset | None,
    device: torch.device,
    seed: int,
    features: Features,
    judge: Classifier | None,
    labelled: bool = False,
    pack: int = 1,
) -> Subject:
    """The data that exams compare fakes with; ``seed`` chooses the samples.

    ``labelled``: the networks take the data's labels. ``pack``: samples that D sees as one.
    """
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(dataset.samples), generator=random)[: 2 * EXAM_SAMPLES]
    parts = order.tensor_split(2)
    chosen, others = (_normalised(dataset.samples[part]).to(device) for part in parts)
    spared = held_out if labelled else None
    prior = None
    if dataset.labels is not None and dataset.classes:
        counts = torch.bincount(dataset.labels, minlength=len(dataset.classes))
        prior = counts.float() / len(dataset.labels)
    return Subject(
        reals=chosen,
        other_reals=others,
        real_labels=_labels(dataset, device, parts[0]) if labelled else None,
        held_out=None if held_out is None else _normalised(held_out.samples).to(device),
        held_out_labels=None if spared is None else _labels(spared, device),
        pack=pack,
        data=dataset.samples,
        features=features,
        classes=dataset.classes if prior is not None else (),
        prior=prior,
        modes=None if dataset.modes is None else dataset.modes.to(device),
        sigma=dataset.sigma or 0.0,
        classifier=judge,
    )


def traits_of(
    generator: nn.Module, discriminator: nn.Module, dataset: Dataset, d_kind: str
) -> Traits:
    """The properties of networks and data that known traps depend on."""
    # The shells put the layers for labels after the body, and D's score into a head.
    last_g = _last(getattr(generator, "body", generator))
    last_d = _last(getattr(discriminator, "head", discriminator))
    uneven = [
        name
        for name, module in generator.named_modules()
        if isinstance(module, nn.ConvTranspose2d)
        and any(k % s for k, s in zip(module.kernel_size, module.stride, strict=True))
    ]
    plane = dataset.samples.dim() == 2
    low, high = (-1.0, 1.0)
    if plane:
        low, high = float(dataset.samples.min()), float(dataset.samples.max())
    return Traits(
        plane=plane,
        d_kind=d_kind,
        d_batch_norm=any(isinstance(module, BatchNorm) for module in discriminator.modules()),
        d_sigmoid=isinstance(last_d, nn.Sigmoid),
        data_range=(low, high),
        g_range=next((_BOUNDS[kind] for kind in _BOUNDS if isinstance(last_g, kind)), None),
        uneven_upsampling=tuple(uneven),
    )


def _last(module: nn.Module) -> nn.Module:
    """The last layer that computes something, in the order of definition."""
    shaping = (nn.Unflatten, nn.Flatten, nn.Identity)
    leaves = [leaf for leaf in module.modules() if not any(leaf.children())]
    return next((leaf for leaf in reversed(leaves) if not isinstance(leaf, shaping)), module)


def _labels(dataset: Dataset, device: torch.device, places: Tensor | None = None) -> Tensor:
    assert dataset.labels is not None
    return (dataset.labels if places is None else dataset.labels[places]).to(device)


def _normalised(samples: Tensor) -> Tensor:
    return samples.float().mul(2 / 255).sub(1) if samples.dtype == torch.uint8 else samples
