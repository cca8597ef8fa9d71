"""Which pictures a convolutional family can make: from a small start side by doublings."""

from __future__ import annotations

STARTS = (4, 7)


def doublings(family: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """The start side (4 or 7) of square pictures (channels, side, side), and how often it doubles.

    ValueError, in words for the user, for samples that are no pictures or of another side.
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
    """The side of square pictures, one of ``allowed`` if any are named; ValueError otherwise."""
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
