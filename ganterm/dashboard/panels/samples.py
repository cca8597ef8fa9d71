"""What is seen of G: pictures in the view asked for, or points over the real ones."""

from __future__ import annotations

import math
from collections.abc import Callable

from textual.geometry import Region
from textual.strip import Strip

from ganterm.core.findings import Surface
from ganterm.core.snapshot import Sample, Snapshot, ViewName
from ganterm.core.text import clean
from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.draw.numbers import short
from ganterm.dashboard.draw.scatter import draw_scatter
from ganterm.dashboard.draw.tiles import (
    ENOUGH_PAIRS,
    draw_grid,
    draw_pairs,
    draw_table,
    fit_pairs,
    fit_table,
    fit_walk,
    label_width,
)
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.palette import heading, style
from ganterm.dashboard.panels.panel import Panel
from ganterm.dashboard.terminal.overlay import Placed

_LEAST_COLUMNS, _LEAST_ROWS = 30, 10
"""Cells that a picture gets where there are as many, however little it may cost."""

TITLES: dict[ViewName, str] = {
    "samples": "Samples",
    "classes": "Classes",
    "real": "Real and fake",
    "walk": "Walk",
    "nearest": "Nearest",
}


class SamplesPanel(Panel):
    """The sample picture; drawn anew only when there is a new one.

    ``rows_shown``: how many rows of the last table it had room for. ``in_cells``: draw pictures in
    characters, whatever the terminal can show. ``composed`` is called when Textual paints cells of
    the panel, and so over what lay there.
    """

    rows_shown = 1
    in_cells = False
    composed: Callable[[], None] = staticmethod(lambda: None)
    _awaits_composing = False

    def draw(self, frame: Frame, width: int, height: int) -> Cells:
        """A title row, then the picture, in the middle of what is left."""
        self._awaits_composing = True
        whole = Cells(height, width)
        sample = frame.snapshot.sample
        if sample is None:
            whole.title("Samples")
            return whole
        _title(whole, frame, sample)
        if height < 3:
            return whole
        glyphs = frame.glyphs.cells if self.in_cells else frame.glyphs
        size = frame.cost.picture
        room = _part(width, size, _LEAST_COLUMNS), _part(height - 1, size, _LEAST_ROWS)
        body = self._body(frame.snapshot, sample, glyphs, *room)
        rows, columns = body.size
        body = body if rows < height and columns <= width else body.cut(height - 1, width)
        rows, columns = body.size
        whole.inset(body, 1 + (height - 1 - rows) // 2, (width - columns) // 2)
        return whole

    def inputs(self, frame: Frame) -> object:
        """The frame, and what pictures are made of."""
        return frame, self.in_cells

    def turn_to(self, in_cells: bool) -> None:
        """Draw the newest frame again, where that is another way."""
        if in_cells != self.in_cells:
            self.in_cells = in_cells
            if self._frame is not None:
                self.show(self._frame)

    def _paint(self, before: Cells, cells: Cells) -> bool:
        # Where pictures in pixels come, go or move, all cells must be sent, which clear the old.
        places = [[inlay.place for inlay in grid.inlays] for grid in (before, cells)]
        self._awaits_composing = places[0] != places[1] or not super()._paint(before, cells)
        return not self._awaits_composing

    def placed(self) -> list[Placed]:
        """The pictures in pixels and where on the screen they lie; none that has no room there."""
        left, top, width, height = self.content_region
        columns, rows = self.app.size
        # On the last row of the screen, a picture might scroll it.
        fits = left + width <= columns and top + height < rows and self.is_on_screen
        cells = self._cells
        if cells is None or cells.size != (height, width) or self._awaits_composing or not fits:
            return []
        return [Placed(inlay, top + inlay.row, left + inlay.column) for inlay in cells.inlays]

    def render_lines(self, crop: Region) -> list[Strip]:
        """The rows of a part of the panel."""
        self._awaits_composing = False
        self.composed()
        return super().render_lines(crop)

    def _body(
        self, snapshot: Snapshot, sample: Sample, glyphs: Glyphs, width: int, height: int
    ) -> Cells:
        told = [clean(sample.note)] if sample.note else []
        if sample.points is not None:
            surface = snapshot.diagnosis.surface if glyphs.pictures != "ascii" else None
            if surface is not None:
                told.append(_ground_words(surface, width))
            body = _clouds(sample, surface, glyphs, width, height - bool(told))
        elif sample.images is None:
            return Cells(0, 0)
        elif sample.distances is not None:
            body, order = _neighbours(sample, glyphs, width, height - 1)
            told = [f"fake {order} {clean(sample.note)}".rstrip()]
        elif sample.beside is not None:
            body = _halves(sample, glyphs, width, height - bool(told))
        elif sample.across:
            room = height - bool(told)
            body, shown = _rows(sample, glyphs, width, room)
            self.rows_shown = max(1, shown)
            if sample.view.name == "classes" and shown < sample.rows:
                if not told:
                    body, shown = _rows(sample, glyphs, width, height - 1)
                    self.rows_shown = max(1, shown)
                first = sample.view.first
                last = min(first + shown, sample.rows)
                told.append(f"{first + 1} to {last} of {sample.rows} classes   pgup pgdn")
        else:
            body = draw_grid(sample.images, width, height - bool(told), glyphs)
        if not told:
            return body
        rows, columns = body.size
        captioned = Cells(min(height, rows + 1), width)
        text = "; ".join(told)
        captioned.write(0, max(0, (width - len(text)) // 2), text, style(palette.DIM))
        captioned.inset(body.cut(height - 1, width), 1, (width - min(columns, width)) // 2)
        return captioned


def _part(room: int, share: float, least: int) -> int:
    return max(min(room, least), round(room * share))


def _title(cells: Cells, frame: Frame, sample: Sample) -> None:
    view, width = sample.view, cells.size[1]
    name = TITLES[view.name or "samples"]
    cells.title(name)
    asked = frame.view.name
    if asked and asked != view.name:
        wish = f" {frame.glyphs.arrow} {TITLES[asked]}"
        cells.write(0, len(name), wish, heading(palette.DIM))
        return
    color = palette.DIM if view.painter == "raw" else palette.G
    cells.write(0, len(name) + 1, view.painter, heading(color))
    column = len(name) + len(view.painter) + 3
    cells.write(0, column, f"step {short(sample.step)}", heading(palette.DIM))
    room = width - column - 11
    diversity = frame.snapshot.scalars["diversity"]
    if math.isfinite(diversity):
        told = f"diversity {diversity:4.0f} % of real"
        told = told if len(told) <= room else told.replace(" of real", "")
        told = told if len(told) <= room else told.replace("diversity ", "div")
        if len(told) <= room:
            cells.write(0, width - len(told), told, heading(palette.CHANGE))


def _halves(sample: Sample, glyphs: Glyphs, width: int, height: int) -> Cells:
    """Two grids beside each other, each under its name."""
    assert sample.images is not None and sample.beside is not None
    pictures = [(sample.images, "raw", palette.FAKE), (sample.beside, "averaged", palette.FAKE)]
    if sample.view.name == "real":
        pictures = [(sample.beside, "real", palette.REAL), (sample.images, "fake", palette.FAKE)]
    half = (width - 2) // 2
    cells = Cells(height, width)
    for place, (images, name, color) in enumerate(pictures):
        body = draw_grid(images, half, height - 1, glyphs, ENOUGH_PAIRS).cut(height - 1, half)
        # Towards the middle, so that equals stand near each other.
        left = half - body.size[1] if place == 0 else width - half
        cells.write(0, left, f"{name:^{body.size[1]}}", style(color, bold=True))
        cells.inset(body, 1, left)
    return cells


def _rows(sample: Sample, glyphs: Glyphs, width: int, height: int) -> tuple[Cells, int]:
    """A table, and how many rows of it there is room for."""
    assert sample.images is not None
    native, count = sample.images.shape[2], len(sample.images) // sample.across
    labels = tuple(clean(label, 40) for label in sample.labels)
    if sample.view.name == "walk":
        across, room = sample.across, width - label_width(labels)
        table = fit_walk(width, height, native, count, across, glyphs)
        beside = fit_walk(room, height, native, count, across, glyphs)
        if beside.across == table.across:
            table = beside
        else:
            labels = ()
    else:
        label = label_width(labels)
        table = fit_table(width, height, native, count, sample.across, label, glyphs)
    return draw_table(sample.images, sample.across, labels, table, glyphs), table.rows


def _neighbours(sample: Sample, glyphs: Glyphs, width: int, height: int) -> tuple[Cells, str]:
    """Pairs with their distances, and how one stands to the other."""
    assert sample.images is not None and sample.beside is not None
    assert sample.distances is not None
    pairs = fit_pairs(width, height, sample.images.shape[2], len(sample.images), glyphs)
    words = [f"{distance:.2f}" for distance in sample.distances.tolist()]
    cells = draw_pairs(sample.images, sample.beside, words, pairs, glyphs)
    return cells, "over" if pairs.stacked else "|"


def _ground_words(surface: Surface, width: int) -> str:
    """What the colours behind the points mean, and as of when."""
    at = f"at {surface.step:,}"
    long = f"behind: D's score, green real, amber fake, {at}"
    return long if len(long) <= width else f"D: green real, amber fake, {at}"


def _clouds(
    sample: Sample, surface: Surface | None, glyphs: Glyphs, width: int, height: int
) -> Cells:
    assert sample.points is not None and sample.real_points is not None
    clouds = [("", sample.points)]
    if sample.beside is not None:
        clouds = [("raw", sample.points), ("averaged", sample.beside)]
    cells = Cells(height, width)
    room = (width - 2 * (len(clouds) - 1)) // len(clouds)
    for place, (name, points) in enumerate(clouds):
        left, top = place * (width - room), bool(name)
        if name:
            cells.write(0, left, f"{name:^{room}}", style(palette.FAKE, bold=True))
        cloud = draw_scatter(sample.real_points, points, room, height - top, glyphs, surface)
        cells.inset(cloud, top, left)
    return cells
