"""The layers of G and D: their gradient norms and their shares of dead units."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from ganterm.core.findings import Layer
from ganterm.core.text import clean
from ganterm.dashboard import palette
from ganterm.dashboard.draw.bars import bar
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.draw.numbers import tick
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.palette import heading, style
from ganterm.dashboard.panels.diagnosed import DiagnosedPanel, missing, say

_TITLE = "Gradients by layer"
_COLORS = {"G": palette.G, "D": palette.D}
_FIGURES = 7
"""Columns for a gradient norm."""
_DEAD = 6
"""Columns for a share of dead units."""
_LEAST_NAME, _MOST_NAME = 6, 22
"""Fewest and most columns for a layer's name."""
_SHORT = {"Linear": "", "BatchNorm": "bn", "ConvTranspose": "up", "Conv": "conv"}
"""Short words for kinds of layers."""
_MANY_DEAD = 0.5
"""Share of dead units from which on it is drawn in the colour of alarms."""


def chosen(layers: Sequence[Layer], rows: int) -> list[Layer]:
    """At most ``rows`` of the layers, at even distances, so that G and D keep their proportion."""
    if len(layers) <= rows:
        return list(layers)
    places = np.linspace(0, len(layers) - 1, max(0, rows)).round().astype(int)
    return [layers[place] for place in places.tolist()]


def decades(layers: Sequence[Layer]) -> tuple[int, int]:
    """The exponents of the powers of ten between which all gradient norms above 0 lie."""
    logs = [
        math.log10(layer.grad_norm)
        for layer in layers
        if math.isfinite(layer.grad_norm) and layer.grad_norm > 0
    ]
    if not logs:
        return -1, 0
    low = math.floor(min(logs))
    return low, max(math.ceil(max(logs)), low + 1)


class LayersPanel(DiagnosedPanel):
    """A bar on a log scale for each layer, in the order of the networks, G's first."""

    def draw(self, frame: Frame, width: int, height: int) -> Cells:
        """All layers, or some at even distances if not all fit."""
        cells = Cells(height, width)
        cells.title(_TITLE)
        layers = frame.snapshot.diagnosis.layers
        if not layers:
            say(cells, missing(frame.snapshot, "the layers' gradients"))
            return cells
        shown = chosen(layers, height - 1)
        low, high = decades(layers)
        dead = any(math.isfinite(layer.dead) for layer in layers)
        parts = [f"log {tick(10.0**low)} to {tick(10.0**high)}"]
        parts += [f"{len(shown)} of {len(layers)}"] if len(shown) < len(layers) else []
        parts += ["dead"] if dead else []
        while parts and len("  ".join(parts)) + len(_TITLE) + 2 > width:
            parts.pop(0)
        note = "  ".join(parts)
        cells.write(0, width - len(note), note, heading(palette.DIM))
        names = [clean(layer.name.removesuffix(".weight"), 60) for layer in shown]
        room = width - 2 - _FIGURES - 1 - (_DEAD if dead else 0)
        name = max(_LEAST_NAME, min(_MOST_NAME, max(map(len, names), default=0), room // 2))
        for row, (layer, text) in enumerate(zip(shown, names, strict=True), 1):
            color = _COLORS[layer.network]
            cells.write(row, 0, layer.network, style(color, bold=True))
            cells.write(row, 2, _fitted(text, name, frame.glyphs), style(palette.DIM))
            left, wide = 3 + name, room - name - 1
            cells.write(row, left, bar(_height(layer, low, high), wide, frame.glyphs), style(color))
            figures = tick(layer.grad_norm) if math.isfinite(layer.grad_norm) else "-"
            cells.write(row, left + wide, f"{figures:>{_FIGURES}}", style(palette.TEXT))
            if dead and math.isfinite(layer.dead):
                many = layer.dead >= _MANY_DEAD
                look = style(palette.ALARM if many else palette.DIM, bold=many)
                cells.write(row, width - _DEAD, f"{100 * layer.dead:4.0f} %", look)
        return cells


def _height(layer: Layer, low: int, high: int) -> float:
    """The bar's length (0..1) on the log scale; any gradient above 0 gives at least 0.02."""
    if not math.isfinite(layer.grad_norm) or layer.grad_norm <= 0:
        return 0.0
    return max(0.02, (math.log10(layer.grad_norm) - low) / (high - low))


def _fitted(name: str, width: int, glyphs: Glyphs) -> str:
    """A layer's name in ``width`` columns: whole if it fits, else a short form of kind and size."""
    if len(name) <= width:
        return name
    _, _, words = name.rpartition(" ") if name.count(" ") < 2 else name.partition(" ")
    for long, short in _SHORT.items():
        words = re.sub(rf"\b{long}[123]d\b|\b{long}\b", short, words).strip()
    return _tail(words, width, glyphs)


def _tail(text: str, room: int, glyphs: Glyphs) -> str:
    """The end of a layer's name, which distinguishes it from its neighbours."""
    if len(text) <= room:
        return text
    return glyphs.ellipsis + text[len(glyphs.ellipsis) - room :]
