"""Numbers as the screen prints them: short, and of nearly constant width, so that nothing jumps."""

from __future__ import annotations

import math


def short(value: float) -> str:
    """A count with at most four digits and a letter: 950, 12.3k, 4.56M."""
    if not math.isfinite(value):
        return "-"
    for limit, divisor, letter in ((1e4, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M")):
        if abs(value) < limit - 0.5 * divisor:
            scaled = value / divisor
            if not letter:
                return f"{scaled:,.0f}"
            digits = 2 if abs(scaled) < 10 else 1 if abs(scaled) < 100 else 0
            return f"{scaled:.{digits}f}{letter}"
    return f"{value / 1e9:.2f}G"


def measured(value: float) -> str:
    """A measured value in at most seven characters: 0.0123, 1.386, 42.10, 1.2e+05."""
    if not math.isfinite(value):
        return "-"
    size = abs(value)
    if size >= 99_999.5 or 0 < size < 0.0005:
        return f"{value:.1e}"
    digits = 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0
    return f"{value:.{digits}f}"


def reading(value: float) -> str:
    """A measured value; a whole number, such as a count, is shown without decimal places."""
    if math.isfinite(value) and value == int(value) and abs(value) < 9_999_999:
        return f"{value:,.0f}"
    return measured(value)


def tick(value: float) -> str:
    """An axis label in at most five characters."""
    size = abs(value)
    if value == 0:
        return "0"
    if size >= 10_000 or size < 0.01:
        mantissa, exponent = f"{value:.0e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.4g}"[:5].rstrip(".")


def clock(seconds: float) -> str:
    """A time as h:mm:ss, with the days before it as in 2d 03:04:05."""
    whole = int(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    start = f"{days}d {hours:02d}" if days else f"{hours}"
    return f"{start}:{minutes:02d}:{rest:02d}"


def size(count: float) -> str:
    """A number of bytes in units of 1024: 512 B, 14.2 KB, 1.3 GB."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 999.5 or unit == "GB":
            digits = 0 if unit == "B" or count >= 99.95 else 1
            return f"{count:.{digits}f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")
