"""Samples of G in several views, drawn between two iterations without touching the training."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ganterm.core.snapshot import DEFAULT_VIEW, Sample, View, ViewName
from ganterm.core.text import clean
from ganterm.data.source import Dataset
from ganterm.diagnosis.nearest import as_bytes, nearest
from ganterm.rundir.directory import RunDirectory
from ganterm.session.board import Board
from ganterm.training.batches import Latent
from ganterm.training.device import free_memory, is_of_memory
from ganterm.training.progress import Progress

PICTURES = 64
"""Pictures in the view "samples", and most classes in a picture file."""
POINTS = 1000
"""Points in the view "samples" of data in the plane."""
HALF = 32
"""Pictures of each side in the view "real"."""
COLUMNS = 8
"""Pictures of each class in the view "classes"."""
ROWS = 16
"""Most classes in one sample of the view "classes"."""
PAIRS = 8
"""Walks in the view "walk", each between two latents."""
STEPS = 13
"""Pictures of a walk. 12 has many divisors, so panels of most widths show both ends."""
POINT_STEPS = 64
"""Points of a walk in the plane."""
NEIGHBOURS = 24
"""Fakes in the view "nearest"."""


class Sampler:
    """Draws samples from a fixed noise, with a random generator that training does not use.

    ``noise`` holds the latents that are shown, ``chosen`` the indices of the reals beside them;
    ``renew`` draws others. ``total`` is the size of the data set where ``dataset`` is a part of it.
    """

    def __init__(
        self,
        dataset: Dataset,
        latent: Latent,
        device: torch.device,
        seed: int,
        total: int | None = None,
    ) -> None:
        self.random = torch.Generator(device).manual_seed(seed)
        self._latent = latent
        self._dataset = dataset
        self._total = total or len(dataset.samples)
        self._device = device
        self._plane = dataset.samples.dim() == 2
        self.noise, self.chosen = self._fixed()

    @property
    def views(self) -> tuple[ViewName, ...]:
        """The views that exist for these data and networks, the default one first."""
        if self._plane:
            return ("samples", "walk")
        rest: tuple[ViewName, ...] = ("samples", "real", "walk", "nearest")
        return ("classes", *rest) if self._latent.labels else rest

    @property
    def reals(self) -> int:
        """How many real samples can be shown."""
        return len(self._dataset.samples)

    def renew(self) -> None:
        """Draw another fixed noise and choose other real samples."""
        self.noise, self.chosen = self._fixed()

    def look(
        self,
        generator: nn.Module,
        step: int,
        view: View = DEFAULT_VIEW,
        averaged: nn.Module | None = None,
    ) -> Sample:
        """A sample of the chosen view, or of the default one where it does not exist here.

        Without an average (``averaged`` None) it shows ``generator``'s samples and says so in its
        note. The networks' training mode is restored.
        """
        name = view.name if view.name in self.views else self.views[0]
        painter = view.painter if name == "samples" or view.painter == "raw" else "averaged"
        note = ""
        if averaged is None and painter != "raw":
            painter, note = "raw", "no average: ema is 0"
        available = View(name, painter, view.first)
        modules = [generator] if painter != "averaged" else []
        modules += [averaged] if painter != "raw" and averaged is not None else []
        training = [module.training for module in modules]
        for module in modules:
            module.eval()
        with torch.no_grad():
            sample = self._draw(step, available, modules)
        for module, was in zip(modules, training, strict=True):
            module.train(was)
        notes = [text for text in (note, sample.note) if text]
        return replace(sample, note="; ".join(notes))

    def picture(self, generator: nn.Module, step: int) -> Sample:
        """A sample for a picture file: the default view, with up to ``PICTURES`` classes."""
        training = generator.training
        generator.eval()
        with torch.no_grad():
            sample = self._draw(step, View(self.views[0]), [generator], PICTURES)
        generator.train(training)
        return sample

    def _draw(self, step: int, view: View, painters: list[nn.Module], rows: int = ROWS) -> Sample:
        match view.name:
            case "classes":
                return self._classes(step, view, painters[0], rows)
            case "real":
                real = self._dataset.samples[self.chosen]
                labels = self._labels(len(real))
                if self._dataset.labels is not None and labels and not self._latent.codes:
                    labels = [self._dataset.labels[self.chosen].to(self._device)]
                fakes = self._fakes(painters[0], self.noise[: len(real)], *labels)
                return self._sample(step, view, fakes, beside=_images(real))
            case "walk":
                return self._walk(step, view, painters[0])
            case "nearest":
                labels = self._labels(NEIGHBOURS)
                fakes = self._fakes(painters[0], self.noise[:NEIGHBOURS], *labels)
                return self._nearest(step, view, fakes)
        labels = self._labels(len(self.noise))
        first, *second = [self._fakes(module, self.noise, *labels) for module in painters]
        beside = self._host(second[0]) if second else None
        return self._sample(step, view, first, beside=beside)

    def _classes(self, step: int, view: View, painter: nn.Module, most: int) -> Sample:
        labels = self._latent.labels
        first = min(max(0, view.first), labels - 1)
        rows = torch.arange(first, min(first + most, labels), device=self._device)
        across = COLUMNS if len(rows) <= ROWS else COLUMNS // 2
        noise = self.noise[:across].repeat(len(rows), 1)
        fakes = self._fakes(painter, noise, rows.repeat_interleave(across))
        return self._sample(
            step,
            replace(view, first=first),
            fakes,
            across=across,
            labels=tuple(self._class_name(row) for row in rows.tolist()),
            rows=labels,
        )

    def _walk(self, step: int, view: View, painter: nn.Module) -> Sample:
        steps = POINT_STEPS if self._plane else STEPS
        ends = self.noise[: 2 * PAIRS].view(PAIRS, 2, -1)
        path = self._latent.path(ends[:, 0], ends[:, 1], steps)
        walk_labels = [column[:PAIRS].repeat_interleave(steps) for column in self._labels(PAIRS)]
        fakes = self._fakes(painter, path.flatten(0, 1), *walk_labels)
        labels = tuple(
            self._class_name(row) for column in walk_labels for row in column[::steps].tolist()
        )
        return self._sample(step, view, fakes, across=steps, labels=labels, rows=PAIRS)

    def _nearest(self, step: int, view: View, fakes: Tensor) -> Sample:
        pictures = self._dataset.samples
        near = nearest(as_bytes(fakes), pictures, self._device)
        count = f"{len(pictures):,}"
        if len(pictures) < self._total:
            count += f" looked at, of {self._total:,}"
        return self._sample(
            step,
            view,
            fakes,
            beside=_images(pictures[near.places]),
            distances=near.distances.float().numpy(),
            note=f"nearest of {count}",
        )

    def _sample(self, step: int, view: View, fakes: Tensor, **fields: Any) -> Sample:
        if self._plane:
            real = self._dataset.samples[:POINTS].numpy()
            return Sample(step, points=self._host(fakes), real_points=real, view=view, **fields)
        return Sample(step, images=self._host(fakes), view=view, **fields)

    def _fakes(self, painter: nn.Module, noise: Tensor, *labels: Tensor) -> Tensor:
        fakes: Tensor = painter(noise, *labels)
        return fakes

    def _host(self, fakes: Tensor) -> NDArray[Any]:
        return fakes.float().cpu().numpy() if self._plane else _images(as_bytes(fakes))

    def _labels(self, count: int) -> list[Tensor]:
        """The labels of the fixed latents, all labels in turn; empty where G takes none."""
        if not self._latent.labels:
            return []
        return [torch.arange(count, device=self._device) % self._latent.labels]

    def _class_name(self, label: int) -> str:
        classes = () if self._latent.codes else self._dataset.classes
        return clean(classes[label], 40) if label < len(classes) else str(label)

    def _fixed(self) -> tuple[Tensor, Tensor]:
        noise = self._latent.draw(POINTS if self._plane else PICTURES, self.random)
        count = len(self._dataset.samples)
        chosen = torch.randint(
            count, (min(HALF, count),), generator=self.random, device=self._device
        )
        return noise, chosen.cpu()


def _images(pixels: Tensor) -> NDArray[np.uint8]:
    """uint8 (n, c, h, w) as (n, h, w, c) in host memory."""
    images: NDArray[np.uint8] = pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return images


PICTURE_STEPS = 250
"""Steps between two automatic sample pictures of the run directory."""
PICTURE_SECONDS = 10.0
"""Least time between two of them, so that a fast run does not fill the disk."""
NEAREST_PER_S = 0.2
"""Most samples a second of the view "nearest", each of which reads the whole data set."""
VIEW_SHARE = 0.05
"""Largest share of the time that drawing samples for watchers may take from training."""

_NEVER = float("-inf")


class SampleViews:
    """Decides when the sampler draws: for picture files, and for whoever watches.

    ``trouble`` says why the newest sample could not be drawn, "" where it could.
    """

    def __init__(
        self,
        board: Board,
        directory: RunDirectory,
        progress: Progress,
        networks: Networks,
        sampler: Sampler,
    ) -> None:
        self.trouble = ""
        self._board = board
        self._directory = directory
        self._progress = progress
        self._networks = networks
        self._sampler = sampler
        self._picture_step = -1
        self._picture_at = _NEVER
        self._sample_at = _NEVER
        self._sample_seconds = 0.0
        self._shown: tuple[View, bool] | None = None

    def save_picture(self) -> None:
        """Write the sample picture of this step, once."""
        step = self._progress.step
        if self._picture_step != step:
            self._picture_step, self._picture_at = step, time.perf_counter()
            sample = self._try(lambda: self._sampler.picture(self._networks.generator, step))
            if sample is not None:
                self._directory.sample(sample, self._progress.branch)

    def save_picture_if_due(self) -> None:
        """Write it where ``PICTURE_STEPS`` and ``PICTURE_SECONDS`` have passed."""
        due = self._progress.step % PICTURE_STEPS == 0
        if due and time.perf_counter() - self._picture_at >= PICTURE_SECONDS:
            self.save_picture()

    def save_all(self) -> None:
        """Write it, and the view that watchers chose, if that is another one."""
        self.save_picture()
        sample = self._draw()
        if sample is not None and sample.view != View(self._sampler.views[0]):
            self._directory.sample(sample, self._progress.branch, sample.view)

    def renew_noise(self) -> None:
        """Draw another fixed noise, which the next sample and picture show."""
        self._sampler.renew()
        self.forget()

    def forget(self) -> None:
        """Forget what was drawn at this step: noise or networks are no longer the same."""
        self._picture_step = -1
        self.renew()

    def renew(self) -> None:
        """Draw at the next occasion, however recent the last sample is."""
        self._sample_at = _NEVER

    def newest(self, before: Sample | None) -> Sample | None:
        """The sample that watchers see now: a new one where one is due, else ``before``."""
        rate, now = self._board.samples_per_s, time.perf_counter()
        choice = (self._board.view, self._progress.controls.ema > 0)
        if choice != self._shown:
            self.renew()
        stale = self._sample_at == _NEVER or before is None or before.step != self._progress.step
        if before is not None and before.view.name == "nearest":
            rate = min(rate, NEAREST_PER_S)
        if rate and self._progress.state == "running":
            rate = min(rate, VIEW_SHARE / max(self._sample_seconds, 1e-6))
        if not rate or not stale or now - self._sample_at < 0.9 / rate:
            return before
        self._sample_at, self._shown = now, choice
        sample = self._draw()
        self._sample_seconds = time.perf_counter() - now
        return before if sample is None else sample

    def _draw(self) -> Sample | None:
        """The view that watchers chose; None where it cannot be drawn."""
        networks = self._networks
        averaged = networks.averaged if self._progress.controls.ema else None
        step, view = self._progress.step, self._board.view
        return self._try(lambda: self._sampler.look(networks.generator, step, view, averaged))

    def _try(self, draw: Callable[[], Sample]) -> Sample | None:
        """A sample; None, with the reason in ``trouble``, where drawing fails: the run goes on."""
        try:
            sample = draw()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a view, the run is not
            if is_of_memory(error):
                free_memory(self._networks.device)
            self.trouble = f"the samples cannot be shown: {type(error).__name__}: {clean(error)}"
            return None
        self.trouble = ""
        return sample


class Networks(Protocol):
    """The networks that samples are drawn from."""

    generator: nn.Module

    @property
    def averaged(self) -> nn.Module:
        """The averaged G."""

    @property
    def device(self) -> torch.device:
        """Where both live."""
