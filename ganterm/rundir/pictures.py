"""Sample pictures as PNG files."""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganterm.core.snapshot import Sample

_POINTS_SIZE = 384
"""Width and height of a scatter, in pixels."""
_GAP = 4
"""Pixels between two pictures side by side."""
_GREY = 90
"""Brightness (0..255) of that gap."""
_REAL = (90, 98, 110)
_FAKE = (255, 180, 84)


def sample_png(sample: Sample) -> bytes:
    """The sample as a PNG: pictures in a grid, points as a scatter over the real ones.

    ``beside`` is drawn at the right. In the view "nearest", each of its pictures is drawn below the
    sample that it belongs to.
    """
    pixels = _scatters(sample) if sample.images is None else _grids(sample, sample.images)
    if pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _grids(sample: Sample, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if sample.beside is None:
        return _grid(images, sample.across)
    if sample.distances is not None:
        return _grid(np.concatenate([images, sample.beside], axis=1), sample.across)
    return _side_by_side([_grid(images, sample.across), _grid(sample.beside, sample.across)])


def _grid(images: NDArray[np.uint8], across: int) -> NDArray[np.uint8]:
    """Pictures (n, h, w, c) with gaps of two pixels; ``across`` 0 gives a nearly square grid."""
    count, height, width, channels = images.shape
    across = across or math.ceil(math.sqrt(count * height / width))
    down = math.ceil(count / across)
    grid = np.zeros((down * (height + 2) - 2, across * (width + 2) - 2, channels), np.uint8)
    for place, image in enumerate(images):
        y, x = (place // across) * (height + 2), (place % across) * (width + 2)
        grid[y : y + height, x : x + width] = image
    return grid


def _scatters(sample: Sample) -> NDArray[np.uint8]:
    assert sample.points is not None and sample.real_points is not None
    clouds = [sample.points]
    if sample.beside is not None:
        clouds.append(sample.beside)
    return _side_by_side([_scatter(points, sample.real_points) for points in clouds])


def _scatter(points: NDArray[np.float32], real: NDArray[np.float32]) -> NDArray[np.uint8]:
    picture = np.zeros((_POINTS_SIZE, _POINTS_SIZE, 3), np.uint8)
    reach = 1.4 * max(float(np.abs(real).max()), 1e-6)
    for cloud, colour in ((real, _REAL), (points, _FAKE)):
        places = np.round((cloud / reach + 1) / 2 * (_POINTS_SIZE - 1))
        inside = np.all((places >= 0) & (places < _POINTS_SIZE), axis=1)
        x, y = places[inside].astype(int).T
        picture[_POINTS_SIZE - 1 - y, x] = colour
    return picture


def _side_by_side(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    gap = np.full((len(pictures[0]), _GAP, pictures[0].shape[2]), _GREY, np.uint8)
    joined = [part for picture in pictures for part in (gap, picture)]
    return np.concatenate(joined[1:], axis=1)
