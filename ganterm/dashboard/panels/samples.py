"""What G makes of the fixed noise: a mosaic of pictures, or points over the real ones."""

from __future__ import annotations

import math

from rich.segment import Segment
from textual.strip import Strip

from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.numbers import short
from ganterm.dashboard.draw.picture import draw_picture, fit, mosaic
from ganterm.dashboard.draw.scatter import draw_scatter
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.palette import heading, style
from ganterm.dashboard.panels.panel import Panel
from ganterm.session.protocol import Sample


class SamplesPanel(Panel):
    """The sample picture; drawn anew only when there is a new one."""

    def draw(self, frame: Frame, width: int, height: int) -> list[Strip]:
        """A title row, then the picture, in the middle of what is left."""
        sample = frame.snapshot.sample
        title = Cells(1, width)
        title.title("Samples")
        if sample is None:
            return title.strips()
        title.write(0, 8, f"step {short(sample.step)}", heading(palette.DIM))
        diversity = frame.snapshot.scalars["diversity"]
        told = f"diversity {diversity:4.0f} % of real" if math.isfinite(diversity) else ""
        if len(told) + 22 > width:
            told = told.replace(" of real", "")
        title.write(0, width - len(told), told, heading(palette.CHANGE))
        picture = _picture(sample, frame, width, height - 1)
        return [*title.strips(), *_centred(picture, width, height - 1)]


def _picture(sample: Sample, frame: Frame, width: int, height: int) -> list[Strip]:
    if sample.images is not None:
        grid = fit(width, height, sample.images.shape[2], len(sample.images))
        return draw_picture(mosaic(sample.images, grid), frame.glyphs)[:height]
    assert sample.points is not None and sample.real_points is not None
    return draw_scatter(sample.real_points, sample.points, width, height, frame.glyphs)


def _centred(rows: list[Strip], width: int, height: int) -> list[Strip]:
    empty = Strip([Segment(" " * width, style())], width)
    padded = [empty] * ((height - len(rows)) // 2)
    for row in rows:
        left = max(0, (width - row.cell_length) // 2)
        right = max(0, width - left - row.cell_length)
        padded.append(
            Strip([Segment(" " * left, style()), *row, Segment(" " * right, style())], width)
        )
    return padded + [empty] * (height - len(padded))
