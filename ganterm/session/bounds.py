"""Sizes and ranges of what a trainer of another process sends, so that it can be drawn. No torch.

``wire`` checks types; these functions check values. A figure may be NaN or infinite, because
networks do diverge.
"""

from __future__ import annotations

import math
from collections.abc import Sized
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ganterm.core.findings import Diagnosis, Modes, ModeTrail, Scores, Surface
from ganterm.core.limits import MOST_STEPS
from ganterm.core.snapshot import VIEWS, Sample, Snapshot
from ganterm.session.wire import WireError

# Each bound is far above what ganterm itself sends, and low enough that a screen can draw it.
MOST_PICTURES = 4096
MOST_PIXELS = 2048
"""Pixels along one side of a picture."""
MOST_POINTS = 1 << 17
MOST_MODES = 1 << 16
MOST_BINS = 4096
MOST_READINGS = 1024
"""Measures of one diagnosis."""
MOST_LAYERS = 4096
MOST_ALARMS = 256
MOST_REMEDIES = 32
MOST_EVIDENCE = 256
"""Figures behind one alarm."""
_MOST_WHOLE = 1 << 62
"""Largest count. Sums of a few of them still fit into 64 bits."""
_MOST_SHARE = 1.001
"""Largest share; rounding may put it a little above 1."""


def check_snapshot(snapshot: Snapshot) -> None:
    """WireError, which names the field, where a value of a snapshot is impossible.

    Its sample and diagnosis have checks of their own.
    """
    info, counters = snapshot.info, snapshot.counters
    _whole("step", snapshot.step, MOST_STEPS)
    _whole("branch", snapshot.branch, MOST_STEPS)
    _whole("memory_bytes", snapshot.memory_bytes)
    _share("progress", snapshot.progress)
    for name in ("threads", "batch_size", "parameters_g", "parameters_d"):
        _whole(f"info.{name}", getattr(info, name))
    for name in ("diagnose_every", "events_before"):
        _whole(f"info.{name}", getattr(info, name), MOST_STEPS)
    if info.steps is not None and not 1 <= info.steps <= MOST_STEPS:
        raise WireError(f"info.steps: not from 1 to {MOST_STEPS:,}")
    if not 1 <= len(info.views) <= len(VIEWS):
        raise WireError(f"info.views: not 1 to {len(VIEWS)} of them")
    for name in ("d_updates", "g_updates", "samples_seen"):
        _whole(f"counters.{name}", getattr(counters, name))
    _positive("counters.elapsed", counters.elapsed)
    _positive("rates.steps_per_s", snapshot.rates.steps_per_s)
    _positive("rates.images_per_s", snapshot.rates.images_per_s)
    _count("alarms", snapshot.alarms, MOST_ALARMS)
    for alarm in snapshot.alarms:
        _whole("alarms.since", alarm.since, MOST_STEPS)
        _whole("alarms.raised", alarm.raised, MOST_STEPS)
        _count("alarms.remedies", alarm.remedies, MOST_REMEDIES)
        _count("alarms.evidence", alarm.evidence, MOST_EVIDENCE)
        try:
            msgspec.json.encode(alarm.evidence)
        except TypeError:
            raise WireError("alarms.evidence: an array, which none has") from None


def check_sample(sample: Sample | None) -> None:
    """WireError, which names the field, where a sample cannot be drawn."""
    if sample is None:
        return
    _whole("step", sample.step, MOST_STEPS)
    _whole("view.first", sample.view.first, MOST_MODES)
    _whole("rows", sample.rows, MOST_MODES)
    _whole("across", sample.across, MOST_PICTURES)
    _count("labels", sample.labels, MOST_PICTURES)
    if (sample.images is None) == (sample.points is None):
        raise WireError("images: either these or points are needed")
    if sample.images is not None:
        _pictures("images", sample.images)
        if sample.beside is not None:
            _pictures("beside", sample.beside)
    else:
        for name in ("points", "real_points", "beside"):
            points = getattr(sample, name)
            if points is not None or name == "real_points":
                _points(name, points)
    if sample.distances is not None:
        pairs = len(sample.images) if sample.images is not None else 0
        if sample.distances.shape != (pairs,) or sample.beside is None:
            raise WireError("distances: not one a picture with another beside it")


def check_diagnosis(diagnosis: Diagnosis) -> None:
    """WireError, which names the field, where a diagnosis cannot be drawn."""
    _whole("step", diagnosis.step, MOST_STEPS)
    _positive("cost", diagnosis.cost)
    for name in ("measures", "readings", "series"):
        _count(name, getattr(diagnosis, name), MOST_READINGS)
    for reading in diagnosis.readings.values():
        _whole("readings.step", reading.step, MOST_STEPS)
    for series in diagnosis.series.values():
        _same("series.steps", series.steps.shape, (series.steps.size,))
        _same("series.values", series.values.shape, series.steps.shape)
        _rising("series.steps", series.steps)
    _count("layers", diagnosis.layers, MOST_LAYERS)
    if diagnosis.modes is not None:
        _check_modes(diagnosis.modes)
    if diagnosis.mode_trail is not None:
        _check_trail(diagnosis.mode_trail)
    if diagnosis.scores is not None:
        _check_scores(diagnosis.scores)
    if diagnosis.surface is not None:
        _check_surface(diagnosis.surface)


def _check_modes(modes: Modes) -> None:
    _whole("modes.step", modes.step, MOST_STEPS)
    _whole("modes.samples", modes.samples)
    _count("modes.names", modes.names, MOST_MODES)
    for name in ("shares", "expected", "found"):
        _same(f"modes.{name}", getattr(modes, name).shape, (len(modes.names),))
    _shares("modes.shares", modes.shares)
    _shares("modes.expected", modes.expected)


def _check_trail(trail: ModeTrail) -> None:
    if trail.shares.ndim != 2 or trail.shares.shape[1] > MOST_MODES:
        raise WireError("mode_trail.shares: not a row of shares a step")
    _same("mode_trail.steps", trail.steps.shape, trail.shares.shape[:1])
    _shares("mode_trail.shares", trail.shares)
    _rising("mode_trail.steps", trail.steps)


def _check_scores(scores: Scores) -> None:
    _whole("scores.step", scores.step, MOST_STEPS)
    bins = (scores.edges.size - 1,)
    if scores.edges.ndim != 1 or not 1 <= bins[0] <= MOST_BINS:
        raise WireError(f"scores.edges: not those of 1 to {MOST_BINS:,} bins")
    for name in ("real", "fake", "held_out"):
        counts = getattr(scores, name)
        if counts is not None:
            _same(f"scores.{name}", counts.shape, bins)
            if (counts < 0).any():
                raise WireError(f"scores.{name}: a count below 0")


def _check_surface(surface: Surface) -> None:
    _whole("surface.step", surface.step, MOST_STEPS)
    rows, columns = surface.scores.shape if surface.scores.ndim == 2 else (0, 0)
    if not (1 <= rows <= MOST_PIXELS and 1 <= columns <= MOST_PIXELS):
        raise WireError(f"surface.scores: not 1 to {MOST_PIXELS:,} rows and columns")
    left, right, bottom, top = surface.extent
    if not (math.isfinite(sum(surface.extent)) and left < right and bottom < top):
        raise WireError("surface.extent: not left, right, bottom, top")


def _whole(name: str, value: int, most: int = _MOST_WHOLE) -> None:
    if not 0 <= value <= most:
        raise WireError(f"{name}: not from 0 to {most:,}")


def _share(name: str, value: float | None) -> None:
    if value is not None and not 0 <= value <= 1:
        raise WireError(f"{name}: not from 0 to 1")


def _positive(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise WireError(f"{name}: not a number from 0 on")


def _count(name: str, values: Sized, most: int) -> None:
    if len(values) > most:
        raise WireError(f"{name}: more than {most:,}")


def _same(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if shape != expected:
        raise WireError(f"{name}: of a shape that does not fit the others")


def _shares(name: str, values: NDArray[Any]) -> None:
    # NaN passes: it is a share of no samples at all.
    if ((values < 0) | (values > _MOST_SHARE)).any():
        raise WireError(f"{name}: not from 0 to 1")


def _rising(name: str, steps: NDArray[Any]) -> None:
    if len(steps) and (steps[0] < 0 or steps[-1] > MOST_STEPS or (np.diff(steps) < 0).any()):
        raise WireError(f"{name}: steps that go back")


def _pictures(name: str, images: NDArray[Any]) -> None:
    count, height, width, channels = images.shape if images.ndim == 4 else (0, 0, 0, 0)
    fits = 1 <= count <= MOST_PICTURES and 1 <= height <= MOST_PIXELS and 1 <= width <= MOST_PIXELS
    if not fits or channels not in (1, 3) or images.dtype != np.uint8:
        raise WireError(
            f"{name}: not 1 to {MOST_PICTURES:,} grey or RGB pictures of at most {MOST_PIXELS:,} "
            "pixels a side"
        )


def _points(name: str, points: NDArray[Any] | None) -> None:
    if (
        points is None
        or points.ndim != 2
        or points.shape[1] != 2
        or not 1 <= len(points) <= MOST_POINTS
        or points.dtype != np.float32
    ):
        raise WireError(f"{name}: not 1 to {MOST_POINTS:,} points")
