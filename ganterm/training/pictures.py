"""Sample pictures as PNG files."""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganterm.session.protocol import Sample

_POINTS_SIZE = 384
_REAL = (90, 98, 110)
_FAKE = (255, 180, 84)


def sample_png(sample: Sample) -> bytes:
    """The sample as a PNG: pictures in a grid, points as a scatter over the real ones."""
    pixels = _scatter(sample) if sample.images is None else _grid(sample.images)
    if pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _grid(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures (n, h, w, c) side by side in a near-square grid with gaps of two pixels."""
    count, height, width, channels = images.shape
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    grid = np.zeros((down * (height + 2) - 2, across * (width + 2) - 2, channels), np.uint8)
    for place, image in enumerate(images):
        y, x = (place // across) * (height + 2), (place % across) * (width + 2)
        grid[y : y + height, x : x + width] = image
    return grid


def _scatter(sample: Sample) -> NDArray[np.uint8]:
    picture = np.zeros((_POINTS_SIZE, _POINTS_SIZE, 3), np.uint8)
    assert sample.points is not None and sample.real_points is not None
    reach = 1.4 * max(float(np.abs(sample.real_points).max()), 1e-6)
    for points, colour in ((sample.real_points, _REAL), (sample.points, _FAKE)):
        places = np.round((points / reach + 1) / 2 * (_POINTS_SIZE - 1))
        inside = np.all((places >= 0) & (places < _POINTS_SIZE), axis=1)
        x, y = places[inside].astype(int).T
        picture[_POINTS_SIZE - 1 - y, x] = colour
    return picture
