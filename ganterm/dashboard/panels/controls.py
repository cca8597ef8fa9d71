"""The live controls: what is in force, what was asked for, and the keys that change it."""

from __future__ import annotations

from textual.strip import Strip

from ganterm.controls import KNOBS, Knob
from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.palette import heading, style
from ganterm.dashboard.panels.panel import Panel

HINTS = (
    ("space", "pause"),
    (".", "step"),
    (":", "set"),
    ("r", "noise"),
    ("s", "save"),
    ("z", "zoom"),
    ("?", "help"),
    ("q", "quit"),
)


class ControlsPanel(Panel):
    """Compact on a few rows, or one control a row where there is room."""

    def draw(self, frame: Frame, width: int, height: int) -> list[Strip]:
        """The keyed controls, then the others, then the keys that do the rest."""
        cells = Cells(height, width)
        keyed = [knob for knob in KNOBS.values() if knob.keys]
        others = [knob for knob in KNOBS.values() if not knob.keys]
        if height < len(keyed) + 2:
            self._compact(cells, frame, keyed)
        else:
            self._rows(cells, frame, keyed, others)
        self._hints(cells)
        return cells.strips()

    def _compact(self, cells: Cells, frame: Frame, keyed: list[Knob]) -> None:
        """Numbers side by side, then the loss, whose name says what it is; keys below each."""
        ordered = sorted(keyed, key=lambda knob: bool(knob.choices))
        places = [0, 11, 22, 43, 64, cells.size[1] + 1]
        for knob, place, following in zip(ordered, places, places[1:], strict=False):
            assert knob.keys
            down, up = knob.keys
            label = "" if knob.choices else f"{knob.label} "
            cells.write(0, place, label, style(palette.DIM))
            self._value(cells, frame, knob, 0, place + len(label), following - 1)
            cells.write(1, place, f"{down}/{up}", style(palette.D))
            if knob.choices:
                cells.write(1, place + 4, knob.label, style(palette.DIM))

    def _rows(self, cells: Cells, frame: Frame, keyed: list[Knob], others: list[Knob]) -> None:
        width = cells.size[1]
        cells.title("Controls")
        if width >= 56:
            cells.write(0, 32, "set with :", heading(palette.DIM))
        for row, knob in enumerate(keyed, 1):
            assert knob.keys
            cells.write(row, 0, f"{knob.keys[0]}/{knob.keys[1]}", style(palette.D))
            cells.write(row, 5, knob.label, style(palette.DIM))
            self._value(cells, frame, knob, row, 10, 31)
        for row, knob in enumerate(others, 1):
            if width < 56:
                break
            used = frame.snapshot.controls.in_use(knob.name)
            color = palette.DIM if used else palette.FAINT
            cells.write(row, 32, f"{knob.label:<16}", style(color))
            self._value(cells, frame, knob, row, 49, width)

    def _value(
        self, cells: Cells, frame: Frame, knob: Knob, row: int, column: int, limit: int
    ) -> None:
        """The value in force, and dim behind an arrow the one asked for."""
        controls = frame.snapshot.controls
        value = controls.value(knob.name)
        shown = knob.show(value)[: max(0, limit - column)]
        used = controls.in_use(knob.name)
        color = palette.TEXT if used else palette.FAINT
        cells.write(row, column, shown, style(color, bold=used and bool(knob.keys)))
        asked = frame.asked.get(knob.name, value)
        if asked != value:
            text = frame.glyphs.arrow + knob.show(asked)
            start = column + len(shown)
            cells.write(row, start, text[: max(0, limit - start)], style(palette.DIM))

    def _hints(self, cells: Cells) -> None:
        """The other keys, on the last row or, where that is too short, half of them above it."""
        rows, width = cells.size
        lengths = [len(key) + len(does) + 3 for key, does in HINTS]
        fits = sum(lengths) - 2 <= width
        half = len(HINTS) // 2
        column = 0
        for place, ((key, does), length) in enumerate(zip(HINTS, lengths, strict=True)):
            column = 0 if place == half and not fits else column
            row = rows - 1 if fits or place >= half else rows - 2
            cells.write(row, column, key, style(palette.D))
            cells.write(row, column + len(key) + 1, does, style(palette.DIM))
            column += length
