"""Pictures in character cells: half blocks, quadrants, or a ramp of letters."""

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
"""Samples that should be seen before single ones are drawn larger."""
# Textual's cache holds 1,024 colour pairs, and each grey more costs bytes on the link.
_GREYS = 16
_LEVELS = 6  # Brightness levels per colour channel, as in the 256-colour cube.
_RAMP = np.array(list(" .:-=+*#%@"))
# By the quarters that are lit: 1 upper left, 2 upper right, 4 lower left, 8 lower right.
_QUADRANTS = np.array(list(" ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"))


@dataclass(frozen=True)
class Grid:
    """How samples are laid out: ``across`` x ``down`` of ``dots`` x ``dots``."""

    across: int
    down: int
    dots: int

    @property
    def count(self) -> int:
        """How many samples are shown."""
        return self.across * self.down


def fit(
    columns: int, rows: int, native: int, most: int, glyphs: Glyphs, enough: int = ENOUGH
) -> Grid:
    """The largest samples of which ``enough`` fit into ``columns`` x ``rows`` cells."""
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
    """Pictures (n, h, w, c) as they are drawn where they take ``size`` dots, of square pixels.

    Each pixel is the average of the area that it covers.
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
    """The first samples side by side as one picture (height, width, c). Missing ones are black."""
    shown = resized(images[: grid.count], grid.dots, glyphs)
    _, tall, broad, channels = shown.shape
    whole = np.zeros((grid.count, tall, broad, channels), np.float32)
    whole[: len(shown)] = shown
    tiles = whole.reshape(grid.down, grid.across, tall, broad, channels)
    return tiles.transpose(0, 2, 1, 3, 4).reshape(grid.down * tall, grid.across * broad, channels)


def draw_picture(picture: NDArray[np.float32], glyphs: Glyphs, scale: int = 1) -> Cells:
    """A picture (height, width, 1 or 3) of values 0..255, two pixel rows to a cell row.

    Quadrants have two pixels across a cell. Real pixels are enlarged ``scale`` times.
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
    """Which of a cell's four pixels are drawn in front: those above the middle of its strongest
    channel."""
    if picture.shape[1] % 2:
        picture = np.concatenate([picture, np.full_like(picture[:, :1], np.nan)], axis=1)
    height, width, channels = picture.shape
    quarters = picture.reshape(height // 2, 2, width // 2, 2, channels)
    quarters = quarters.transpose(0, 2, 1, 3, 4).reshape(height // 2, width // 2, 4, channels)
    ground = np.isnan(quarters[..., 0])
    known = np.nan_to_num(quarters)
    low, high = known.min(axis=2), known.max(axis=2)
    strongest = (high - low).argmax(axis=2)[..., None]
    middle = np.take_along_axis(low + high, strongest, axis=2) / 2
    lit = np.greater(np.take_along_axis(known, strongest[..., None], axis=3)[..., 0], middle)
    # Where a picture ends within a cell, the ground is the second colour.
    ends_here = np.any(ground, axis=2, keepdims=True)
    lit = np.where(ends_here, ~ground, lit)
    count = lit.sum(axis=2)[..., None]
    front = (known * lit[..., None]).sum(axis=2) / np.maximum(count, 1)
    behind = (known * ~lit[..., None]).sum(axis=2) / np.maximum(4 - count, 1)
    behind = np.where(ends_here, np.nan, behind)
    front = np.where(count, front, behind)
    return _blocks(_QUADRANTS[lit @ np.array([1, 2, 4, 8])], front, behind)


def _blocks(
    chars: NDArray[np.str_], front: NDArray[np.float32], behind: NDArray[np.float32]
) -> Cells:
    """Characters (rows, columns) in colours (rows, columns, c), no more of them than are cheap."""
    levels = _GREYS if front.shape[2] == 1 else _LEVELS
    count = levels ** front.shape[2]
    fore, back = _codes(front, levels), _codes(behind, levels)
    pairs = fore * (count + 1) + back
    known, indices = np.unique(pairs, return_inverse=True)
    styles = [_pair(*divmod(pair, count + 1), levels) for pair in known.tolist()]
    return Cells.of(np.where(fore == back, " ", chars), indices.reshape(pairs.shape), styles)


def _codes(pixels: NDArray[np.float32], levels: int) -> NDArray[np.intp]:
    """A number for each colour, the greatest for the ground."""
    steps = np.round(np.nan_to_num(pixels) * ((levels - 1) / 255)).clip(0, levels - 1)
    steps = steps.astype(np.intp)
    codes = steps[:, :, 0]
    for channel in range(1, steps.shape[2]):
        codes = codes * levels + steps[:, :, channel]
    return np.where(np.isnan(pixels[:, :, 0]), levels ** steps.shape[2], codes)


@cache
def _pair(front: int, behind: int, levels: int) -> Style:
    """The style of a cell of two colours."""
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
