"""What can be seen of G, looked at between two iterations without touching the training."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

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
from ganterm.training.game import Game
from ganterm.training.progress import Standing

PICTURES = 64
POINTS = 1000
HALF = 32
"""Real pictures, and fakes beside them."""
COLUMNS = 8
"""Pictures of each class."""
ROWS = 16
"""Classes made for one look; a file has up to PICTURES of them."""
PAIRS = 8
STEPS = 13
"""Pictures of a walk: many of their numbers fit evenly, so that any panel shows both ends."""
POINT_STEPS = 64
NEIGHBOURS = 24


class Sampler:
    """Holds the fixed noise; its generator is its own, so looking draws nothing from training.

    ``noise``: the latents that are shown, and ``chosen``: the places of the reals beside them; one
    pair for as long as ``renew`` draws no other. ``total``: how many samples the data set has where
    ``dataset`` holds but a part of them.
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
        self.noise, self.chosen = self._drawn()

    @property
    def views(self) -> tuple[ViewName, ...]:
        """What can be seen here, what is seen by default first."""
        if self._plane:
            return ("samples", "walk")
        rest: tuple[ViewName, ...] = ("samples", "real", "walk", "nearest")
        return ("classes", *rest) if self._latent.labels else rest

    @property
    def reals(self) -> int:
        """How many real samples there are to show."""
        return len(self._dataset.samples)

    def renew(self) -> None:
        """Draw another fixed noise, and other real samples."""
        self.noise, self.chosen = self._drawn()

    def look(
        self,
        generator: nn.Module,
        step: int,
        view: View = DEFAULT_VIEW,
        averaged: nn.Module | None = None,
    ) -> Sample:
        """What ``view`` wants, or the nearest to it that there is; the networks stay as they were.

        ``averaged`` None where there is no average: then ``generator``'s are shown, and a note.
        """
        name = view.name if view.name in self.views else self.views[0]
        painter = view.painter if name == "samples" or view.painter == "raw" else "averaged"
        note = ""
        if averaged is None and painter != "raw":
            painter, note = "raw", "no average: ema is 0"
        seen = View(name, painter, view.first)
        modules = [generator] if painter != "averaged" else []
        modules += [averaged] if painter != "raw" and averaged is not None else []
        training = [module.training for module in modules]
        for module in modules:
            module.eval()
        with torch.no_grad():
            sample = self._seen(step, seen, modules)
        for module, was in zip(modules, training, strict=True):
            module.train(was)
        notes = [told for told in (note, sample.note) if told]
        return replace(sample, note="; ".join(notes))

    def picture(self, generator: nn.Module, step: int) -> Sample:
        """What the picture files show: the default view, with as many classes as there is room."""
        training = generator.training
        generator.eval()
        with torch.no_grad():
            sample = self._seen(step, View(self.views[0]), [generator], PICTURES)
        generator.train(training)
        return sample

    def _seen(self, step: int, view: View, painters: list[nn.Module], rows: int = ROWS) -> Sample:
        match view.name:
            case "classes":
                return self._classes(step, view, painters[0], rows)
            case "real":
                real = self._dataset.samples[self.chosen]
                told = self._labels(len(real))
                if self._dataset.labels is not None and told and not self._latent.codes:
                    told = [self._dataset.labels[self.chosen].to(self._device)]
                fakes = self._made(painters[0], self.noise[: len(real)], *told)
                return self._sample(step, view, fakes, beside=_images(real))
            case "walk":
                return self._walk(step, view, painters[0])
            case "nearest":
                told = self._labels(NEIGHBOURS)
                fakes = self._made(painters[0], self.noise[:NEIGHBOURS], *told)
                return self._nearest(step, view, fakes)
        told = self._labels(len(self.noise))
        made = [self._made(module, self.noise, *told) for module in painters]
        beside = self._host(made[1]) if len(made) > 1 else None
        return self._sample(step, view, made[0], beside=beside)

    def _classes(self, step: int, view: View, painter: nn.Module, most: int) -> Sample:
        labels = self._latent.labels
        first = min(max(0, view.first), labels - 1)
        rows = torch.arange(first, min(first + most, labels), device=self._device)
        across = COLUMNS if len(rows) <= ROWS else COLUMNS // 2
        noise = self.noise[:across].repeat(len(rows), 1)
        made = self._made(painter, noise, rows.repeat_interleave(across))
        return self._sample(
            step,
            replace(view, first=first),
            made,
            across=across,
            labels=tuple(self._named(row) for row in rows.tolist()),
            rows=labels,
        )

    def _walk(self, step: int, view: View, painter: nn.Module) -> Sample:
        steps = POINT_STEPS if self._plane else STEPS
        ends = self.noise[: 2 * PAIRS].view(PAIRS, 2, -1)
        path = self._latent.path(ends[:, 0], ends[:, 1], steps)
        told = [column[:PAIRS].repeat_interleave(steps) for column in self._labels(PAIRS)]
        made = self._made(painter, path.flatten(0, 1), *told)
        labels = tuple(self._named(row) for column in told for row in column[::steps].tolist())
        return self._sample(step, view, made, across=steps, labels=labels, rows=PAIRS)

    def _nearest(self, step: int, view: View, fakes: Tensor) -> Sample:
        pictures = self._dataset.samples
        near = nearest(as_bytes(fakes), pictures, self._device)
        looked_at = f"{len(pictures):,}"
        if len(pictures) < self._total:
            looked_at += f" looked at, of {self._total:,}"
        return self._sample(
            step,
            view,
            fakes,
            beside=_images(pictures[near.places]),
            distances=near.distances.float().numpy(),
            note=f"nearest of {looked_at}",
        )

    def _sample(self, step: int, view: View, made: Tensor, **known: Any) -> Sample:
        if self._plane:
            real = self._dataset.samples[:POINTS].numpy()
            return Sample(step, points=self._host(made), real_points=real, view=view, **known)
        return Sample(step, images=self._host(made), view=view, **known)

    def _made(self, painter: nn.Module, noise: Tensor, *labels: Tensor) -> Tensor:
        made: Tensor = painter(noise, *labels)
        return made

    def _host(self, made: Tensor) -> NDArray[Any]:
        return made.float().cpu().numpy() if self._plane else _images(as_bytes(made))

    def _labels(self, count: int) -> list[Tensor]:
        """The label of each of the fixed noises, in turn; nothing where G is told none."""
        if not self._latent.labels:
            return []
        return [torch.arange(count, device=self._device) % self._latent.labels]

    def _named(self, label: int) -> str:
        classes = () if self._latent.codes else self._dataset.classes
        return clean(classes[label], 40) if label < len(classes) else str(label)

    def _drawn(self) -> tuple[Tensor, Tensor]:
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


# What can be seen of G: pictures for the run directory, and what watchers asked to look at.

PICTURE_STEPS = 250
PICTURE_SECONDS = 10.0
NEAREST_PER_S = 0.2
"""Looks at nearest pictures a second, at most: each goes through the whole data set."""
LOOK_SHARE = 0.05
"""Share of the time that looking may take from training."""

_AT_ONCE = float("-inf")


class Window:
    """Looks at G through the sampler, no more often than is wanted and can be afforded.

    ``trouble`` says why the last look or picture failed, "" where it did not.
    """

    def __init__(
        self,
        board: Board,
        directory: RunDirectory,
        standing: Standing,
        game: Game,
        sampler: Sampler,
    ) -> None:
        self.trouble = ""
        self._board = board
        self._directory = directory
        self._standing = standing
        self._game = game
        self._sampler = sampler
        self._pictured_step = -1
        self._pictured_at = _AT_ONCE
        self._seen_at = _AT_ONCE
        self._look_seconds = 0.0
        self._answered: tuple[View, bool] | None = None

    def picture(self) -> None:
        """Have the sample picture of this step written, once."""
        step = self._standing.step
        if self._pictured_step != step:
            self._pictured_step, self._pictured_at = step, time.perf_counter()
            sample = self._tried(lambda: self._sampler.picture(self._game.generator, step))
            if sample is not None:
                self._directory.sample(sample, self._standing.branch)

    def picture_now_and_then(self) -> None:
        """The same where it is time for one."""
        due = self._standing.step % PICTURE_STEPS == 0
        if due and time.perf_counter() - self._pictured_at >= PICTURE_SECONDS:
            self.picture()

    def picture_all(self) -> None:
        """The same, and of what a watcher asked to see, if that is something else."""
        self.picture()
        seen = self._look()
        if seen is not None and seen.view != View(self._sampler.views[0]):
            self._directory.sample(seen, self._standing.branch, seen.view)

    def renew_noise(self) -> None:
        """Draw another fixed noise; the next look and picture show it."""
        self._sampler.renew()
        self._pictured_step = -1
        self.renew()

    def go_back(self) -> None:
        """The networks are others now: whatever was seen or pictured of this step is not theirs."""
        self._pictured_step = -1
        self.renew()

    def renew(self) -> None:
        """Look anew at the next occasion, whenever the last look was."""
        self._seen_at = _AT_ONCE

    def seen(self, before: Sample | None) -> Sample | None:
        """What a watcher is to see now: a new look where it is time for one, else ``before``."""
        wanted, clock = self._board.samples_per_s, time.perf_counter()
        wish = (self._board.view, self._standing.controls.ema > 0)
        if wish != self._answered:
            self.renew()
        stale = self._seen_at == _AT_ONCE or before is None or before.step != self._standing.step
        if before is not None and before.view.name == "nearest":
            wanted = min(wanted, NEAREST_PER_S)
        if wanted and self._standing.state == "running":
            wanted = min(wanted, LOOK_SHARE / max(self._look_seconds, 1e-6))
        if not wanted or not stale or clock - self._seen_at < 0.9 / wanted:
            return before
        self._seen_at, self._answered = clock, wish
        seen = self._look()
        self._look_seconds = time.perf_counter() - clock
        return before if seen is None else seen

    def _look(self) -> Sample | None:
        """What a watcher last asked to see; None where that failed."""
        averaged = self._game.average.module if self._standing.controls.ema else None
        step, view = self._standing.step, self._board.view
        return self._tried(lambda: self._sampler.look(self._game.generator, step, view, averaged))

    def _tried(self, look: Callable[[], Sample]) -> Sample | None:
        """What a look gives; where it fails, None and ``trouble``: the run goes on without."""
        try:
            sample = look()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a view, the run is not
            if is_of_memory(error):
                free_memory(self._game.device)
            self.trouble = f"the samples cannot be shown: {type(error).__name__}: {clean(error)}"
            return None
        self.trouble = ""
        return sample
