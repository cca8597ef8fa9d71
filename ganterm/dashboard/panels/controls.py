"""The live controls: what is in force, what was asked for, and the keys that change it."""

from __future__ import annotations

from collections.abc import Sequence

from ganterm.core.controls import KNOBS, Controls, Knob
from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.palette import heading, style
from ganterm.dashboard.panels.panel import Panel
from ganterm.losses import in_use

HINTS = (
    ("space", "pause"),
    (".", "step"),
    (":", "set"),
    ("v", "view"),
    ("e", "average"),
    ("2", "diagnosis"),
    ("!", "alarms"),
    ("r", "noise"),
    ("s", "save"),
    ("z", "zoom"),
    ("?", "help"),
    ("q", "quit"),
)
_BACK = ("1", "overview")
"""What stands for the key that leads to diagnosis, where that is shown already."""
_DROPPED_FIRST = "r!zs.ve"
"""Hints that go, in this order, where not all have room."""
_DEFAULTS = Controls()
_LEFT = 32
_COLUMN = 26


def listed(controls: Controls, room: int) -> tuple[list[Knob], int]:
    """The controls without a key that ``room`` slots show, and how many more there are.

    First the loss's own, then those that any loss reads, then others that are not as by default.
    Where not all fit, what is not as by default goes before what is; a slot is left to say how
    many are missing. The order never depends on a value, so that nothing jumps when one is turned.
    """
    others = [knob for knob in KNOBS.values() if not knob.keys]

    def changed(knob: Knob) -> bool:
        return controls.value(knob.name) != _DEFAULTS.value(knob.name)

    own = [k for k in others if not k.for_all_losses and in_use(controls, k.name)]
    common = [k for k in others if k.for_all_losses and in_use(controls, k.name)]
    rest = [k for k in others if not in_use(controls, k.name) and changed(k)]
    candidates = [*own, *common, *rest]
    if len(others) > room:
        room -= 1
    ranked = [*own, *filter(changed, common), *(k for k in common if not changed(k)), *rest]
    chosen = {knob.name for knob in ranked[: max(0, room)]}
    shown = [knob for knob in candidates if knob.name in chosen]
    return shown, len(others) - len(shown)


class ControlsPanel(Panel):
    """Compact on a few rows, or one control a row where there is room.

    The one of class "compact" stands below diagnosis, and names the way back.
    """

    @property
    def hints(self) -> list[tuple[str, str]]:
        """The other keys, and what each does."""
        back = self.has_class("compact")
        return [_BACK if back and key == "2" else (key, does) for key, does in HINTS]

    def inputs(self, frame: Frame) -> object:
        """Values in force and asked for."""
        return frame.snapshot.controls, dict(frame.asked), frame.glyphs

    def draw(self, frame: Frame, width: int, height: int) -> Cells:
        """The keyed controls, then the others, then the keys that do the rest."""
        cells = Cells(height, width)
        keyed = [knob for knob in KNOBS.values() if knob.keys]
        if height < len(keyed) + 2:
            self._compact(cells, frame, keyed)
            _hints(cells, self.hints, 1)
        else:
            hint_rows = 1 if _width(HINTS) <= width else 2
            self._rows(cells, frame, keyed, max(len(keyed), height - 1 - hint_rows))
            _hints(cells, self.hints, hint_rows)
        return cells

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

    def _rows(self, cells: Cells, frame: Frame, keyed: list[Knob], rows: int) -> None:
        width, controls = cells.size[1], frame.snapshot.controls
        cells.title("Controls")
        for row, knob in enumerate(keyed, 1):
            assert knob.keys
            cells.write(row, 0, f"{knob.keys[0]}/{knob.keys[1]}", style(palette.D))
            cells.write(row, 5, knob.label, style(palette.DIM))
            self._value(cells, frame, knob, row, 10, _LEFT - 1)
        columns = (width - _LEFT + 1) // _COLUMN
        if not columns:
            return
        cells.write(0, _LEFT, "others, set with :", heading(palette.DIM))
        shown, more = listed(controls, columns * rows)
        for place, knob in enumerate(shown):
            left, row = _LEFT + place // rows * _COLUMN, 1 + place % rows
            color = palette.DIM if in_use(controls, knob.name) else palette.FAINT
            cells.write(row, left, knob.label, style(color))
            self._value(cells, frame, knob, row, left + 16, left + _COLUMN - 1)
        if more:
            left, row = _LEFT + len(shown) // rows * _COLUMN, 1 + len(shown) % rows
            told = f"{frame.glyphs.ellipsis} {more} more: ? or :"
            cells.write(row, left, told, style(palette.DIM))

    def _value(
        self, cells: Cells, frame: Frame, knob: Knob, row: int, column: int, limit: int
    ) -> None:
        """The value in force, and dim behind an arrow the one asked for."""
        controls = frame.snapshot.controls
        value = controls.value(knob.name)
        shown = knob.show(value)[: max(0, limit - column)]
        used = in_use(controls, knob.name)
        color = palette.TEXT if used else palette.FAINT
        cells.write(row, column, shown, style(color, bold=used and bool(knob.keys)))
        asked = frame.asked.get(knob.name, value)
        if asked != value:
            text = frame.glyphs.arrow + knob.show(asked)
            start = column + len(shown)
            cells.write(row, start, text[: max(0, limit - start)], style(palette.DIM))


def _width(hints: Sequence[tuple[str, str]]) -> int:
    return sum(len(key) + len(does) + 3 for key, does in hints) - 2


def _hints(cells: Cells, hints: list[tuple[str, str]], rows: int) -> None:
    """The other keys on the last rows; the least important go where there is no room."""
    height, width = cells.size
    for dropped in _DROPPED_FIRST:
        half = -(-len(hints) // rows)
        lines = [hints[start : start + half] for start in range(0, len(hints), half)]
        if all(_width(line) <= width for line in lines):
            break
        hints = [hint for hint in hints if hint[0] != dropped]
    for row, line in enumerate(lines, height - rows):
        column = 0
        for key, does in line:
            cells.write(row, column, key, style(palette.D))
            cells.write(row, column + len(key) + 1, does, style(palette.DIM))
            column += len(key) + len(does) + 3
