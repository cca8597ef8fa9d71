"""Which pictures a convolutional family can make: those that double up from a small side."""

from __future__ import annotations

STARTS = (4, 7)
"""Sides in pixels that doublings start from: 4 leads to 32 and 64, 7 to 28."""


def doublings(family: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """The start side (4 or 7) of square pictures (channels, side, side), and how often it doubles.

    ValueError, worded for the user, for samples that are not pictures or have another side.
    """
    side = picture_side(family, shape)
    start, times = side, 0
    while start % 2 == 0 and start not in STARTS:
        start, times = start // 2, times + 1
    if start not in STARTS or not times:
        raise ValueError(
            f"{family} makes pictures whose side halves down to 4 or 7 (28, 32, 64 ...), "
            f"not of {side} x {side} pixels"
        )
    return start, times


def picture_side(family: str, shape: tuple[int, ...], allowed: tuple[int, ...] = ()) -> int:
    """The side of square pictures, one of ``allowed`` unless that is empty; else ValueError."""
    if len(shape) != 3:
        numbers = " x ".join(map(str, shape))
        raise ValueError(
            f"{family} makes pictures, and a sample here is {numbers} numbers; try mlp"
        )
    _, height, width = shape
    if height != width or (allowed and width not in allowed):
        right = " or ".join(f"{side} x {side}" for side in allowed) or "square"
        raise ValueError(f"{family} makes {right} pictures, not {height} x {width}")
    return width
