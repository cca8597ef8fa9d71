"""Pictures in character cells: half blocks, quadrants, or letters by brightness."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from rich.style import Style

from ganterm.dashboard.draw.cells import Cells, Inlay
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.palette import SURFACE, style

ENOUGH = 16
"""Samples that should be visible before single ones are drawn larger."""
_GREYS = 16
"""Grey levels of a picture. Textual caches 1,024 pairs of colours, and more greys cost more bytes
on the link."""
_LEVELS = 6
"""Brightness levels of each channel of a picture in colour, as in the 256-colour cube."""
_RAMP = np.array(list(" .:-=+*#%@"))
"""Letters from dark to bright."""
# The index is the sum of the lit quarters: 1 and 2 in the upper row, 4 and 8 in the lower row.
_QUADRANTS = np.array(list(" ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"))


@dataclass(frozen=True)
class Grid:
    """A layout of ``across`` x ``down`` samples of ``dots`` x ``dots`` dots each."""

    across: int
    down: int
    dots: int

    @property
    def count(self) -> int:
        """The number of samples in the layout."""
        return self.across * self.down


def fit(
    columns: int, rows: int, native: int, most: int, glyphs: Glyphs, enough: int = ENOUGH
) -> Grid:
    """The layout with the largest samples of which ``enough`` fit on ``columns`` x ``rows`` cells.

    ``native``: a sample's width in pixels. ``most``: the number of samples there are.
    """
    dots_across, dots_down = columns * glyphs.dots[0], rows * glyphs.dots[1]

    def room(size: int) -> tuple[int, int]:
        return dots_across // size, dots_down // size

    sizes = glyphs.sizes(native)
    across, down = room(sizes[-1])
    enough = min(enough, most, max(1, across * down))
    size = next((s for s in sizes if room(s)[0] * room(s)[1] >= enough), sizes[-1])
    across, down = (max(1, n) for n in room(size))
    return Grid(min(across, most), min(down, -(-most // across)), size)


def resized(images: NDArray[np.uint8], size: int, glyphs: Glyphs) -> NDArray[np.float32]:
    """Pictures (n, h, w, c) resized to a width of ``size`` dots.

    Each new pixel is the average of the area that it covers.
    """
    shape = glyphs.shape(size, images.shape[2])
    if shape == images.shape[1:3]:
        return images.astype(np.float32)
    down, across = _averaging(images.shape[1], shape[0]), _averaging(images.shape[2], shape[1])
    rows = np.tensordot(images.astype(np.float32), down, axes=(1, 1))
    both = np.tensordot(rows, across, axes=(1, 1))
    return np.ascontiguousarray(both.transpose(0, 2, 3, 1))


@cache
def _averaging(source: int, target: int) -> NDArray[np.float32]:
    """The matrix (target, source) that averages the source pixels each target pixel covers."""
    edges = np.linspace(0, source, target + 1)
    starts, ends = edges[:-1, None], edges[1:, None]
    pixels = np.arange(source)[None, :]
    covered = np.clip(np.minimum(ends, pixels + 1) - np.maximum(starts, pixels), 0, None)
    shares: NDArray[np.float32] = (covered / covered.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def mosaic(images: NDArray[np.uint8], grid: Grid, glyphs: Glyphs) -> NDArray[np.float32]:
    """The first samples side by side as one picture (height, width, c); empty places are black."""
    samples = resized(images[: grid.count], grid.dots, glyphs)
    _, height, width, channels = samples.shape
    places = np.zeros((grid.count, height, width, channels), np.float32)
    places[: len(samples)] = samples
    tiles = places.reshape(grid.down, grid.across, height, width, channels)
    return tiles.transpose(0, 2, 1, 3, 4).reshape(grid.down * height, grid.across * width, channels)


def draw_picture(picture: NDArray[np.float32], glyphs: Glyphs, scale: int = 1) -> Cells:
    """A picture (height, width, 1 or 3) of values 0..255 as cells.

    In characters a cell has two rows of pixels, and with quadrants also two columns. Real pixels
    are enlarged ``scale`` times.
    """
    if glyphs.pixels:
        height, width, _ = picture.shape
        cells = Cells(glyphs.rows(scale * height), glyphs.columns(scale * width))
        cells.inlays.append(Inlay(0, 0, picture.astype(np.uint8), scale))
        return cells
    if len(picture) % 2:
        picture = np.concatenate([picture, np.full_like(picture[:1], np.nan)])
    if glyphs.pictures == "ascii":
        return _letters(picture)
    return _quadrants(picture) if glyphs.pictures == "quadrant" else _half_blocks(picture)


def _letters(picture: NDArray[np.float32]) -> Cells:
    brightness = picture.mean(axis=2)
    upper, lower = brightness[0::2], brightness[1::2]
    upper, lower = np.where(np.isnan(upper), lower, upper), np.where(np.isnan(lower), upper, lower)
    cells = np.nan_to_num(upper + lower) / 2
    levels = np.clip(cells / 256 * len(_RAMP), 0, len(_RAMP) - 1).astype(int)
    return Cells.of(_RAMP[levels], np.zeros(levels.shape, np.intp), [style()])


def _half_blocks(picture: NDArray[np.float32]) -> Cells:
    return _blocks(
        np.full((len(picture) // 2, picture.shape[1]), "▀"), picture[0::2], picture[1::2]
    )


def _quadrants(picture: NDArray[np.float32]) -> Cells:
    """Cells of four pixels in two colours. The pixels above the middle of the channel that varies
    most are drawn in the front colour."""
    if picture.shape[1] % 2:
        picture = np.concatenate([picture, np.full_like(picture[:, :1], np.nan)], axis=1)
    height, width, channels = picture.shape
    quarters = picture.reshape(height // 2, 2, width // 2, 2, channels)
    quarters = quarters.transpose(0, 2, 1, 3, 4).reshape(height // 2, width // 2, 4, channels)
    ground = np.isnan(quarters[..., 0])
    values = np.nan_to_num(quarters)
    low, high = values.min(axis=2), values.max(axis=2)
    strongest = (high - low).argmax(axis=2)[..., None]
    middle = np.take_along_axis(low + high, strongest, axis=2) / 2
    lit = np.greater(np.take_along_axis(values, strongest[..., None], axis=3)[..., 0], middle)
    # Where a picture ends within a cell, the background is the second colour.
    ends_here = np.any(ground, axis=2, keepdims=True)
    lit = np.where(ends_here, ~ground, lit)
    count = lit.sum(axis=2)[..., None]
    front = (values * lit[..., None]).sum(axis=2) / np.maximum(count, 1)
    behind = (values * ~lit[..., None]).sum(axis=2) / np.maximum(4 - count, 1)
    behind = np.where(ends_here, np.nan, behind)
    front = np.where(count, front, behind)
    return _blocks(_QUADRANTS[lit @ np.array([1, 2, 4, 8])], front, behind)


def _blocks(
    chars: NDArray[np.str_], front: NDArray[np.float32], behind: NDArray[np.float32]
) -> Cells:
    """Characters (rows, columns) in two colours each, (rows, columns, c), reduced to few levels."""
    levels = _GREYS if front.shape[2] == 1 else _LEVELS
    count = levels ** front.shape[2]
    fore, back = _codes(front, levels), _codes(behind, levels)
    pairs = fore * (count + 1) + back
    distinct, indices = np.unique(pairs, return_inverse=True)
    styles = [_pair(*divmod(pair, count + 1), levels) for pair in distinct.tolist()]
    return Cells.of(np.where(fore == back, " ", chars), indices.reshape(pairs.shape), styles)


def _codes(pixels: NDArray[np.float32], levels: int) -> NDArray[np.intp]:
    """A number for each colour; the background, where a pixel is NaN, has the greatest."""
    steps = np.round(np.nan_to_num(pixels) * ((levels - 1) / 255)).clip(0, levels - 1)
    steps = steps.astype(np.intp)
    codes = steps[:, :, 0]
    for channel in range(1, steps.shape[2]):
        codes = codes * levels + steps[:, :, channel]
    return np.where(np.isnan(pixels[:, :, 0]), levels ** steps.shape[2], codes)


@cache
def _pair(front: int, behind: int, levels: int) -> Style:
    """The style of a cell with two colours, given by their numbers."""
    return Style(color=_color(front, levels), bgcolor=_color(behind, levels))


def _color(code: int, levels: int) -> str:
    if code == (levels if levels == _GREYS else levels**3):
        return SURFACE
    if levels == _GREYS:
        value = round(code * 255 / (levels - 1))
        return f"#{value:02x}{value:02x}{value:02x}"
    red, rest = divmod(code, levels * levels)
    green, blue = divmod(rest, levels)
    return "#" + "".join(f"{round(c * 255 / (levels - 1)):02x}" for c in (red, green, blue))
