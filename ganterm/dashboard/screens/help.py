"""The help screen: every key, every control and loss, and how to read the charts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.console import Group
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from ganterm.core.controls import KNOBS, Controls
from ganterm.dashboard import palette
from ganterm.losses import LOSSES, in_use

_KEY = f"bold {palette.D}"
_READING = (
    ("Losses", "bold line: smoothed; faint band: every step; dashed: the loss's equilibrium"),
    ("D accuracy", "R: on reals, F: on fakes; dashed: chance. Both at 1 for long: D is winning"),
    ("Gradient norm", "norm over the whole network, on a log scale"),
    ("Diversity", "mean distance between fakes, in % of that between reals; a collapse lowers it"),
    ("", "in diagnosis: P from pixels, F from features of a fixed network, V: Vendi score"),
    ("Marks", "k l o d g on a chart: this control was changed at that step; *: another control"),
    ("", "!: an alarm was raised; a tick or +: an alarm was cleared"),
    ("", "U: the run was rewound to that step; later steps stay on disk as an older branch"),
    ("Light", "healthy: every check passes; watch: a warning is raised; ALARM: an alarm is raised"),
    ("", "too early to tell: no alarm could be raised yet; watching: some modes are not found"),
    ("Modes", "bar up to its middle: as often as in the data; marked: not found; red: lost"),
    ("", "where several modes share a row of the strip, it shows the scarcest of them"),
    ("UI", "share of one core that the dashboard uses, and bytes per second to the terminal"),
)


class HelpScreen(ModalScreen[None]):
    """Every key, every control, and how to read the charts."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; background: $background 60%; }
    HelpScreen > VerticalScroll {
        width: 96; max-width: 96%; height: 92%; background: $panel; border: round $primary;
        padding: 0 2; scrollbar-size: 1 1; scrollbar-color: $primary; scrollbar-background: $panel;
    }
    HelpScreen Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss", "close"),
        ("question_mark", "dismiss", "close"),
        ("q", "dismiss", "close"),
    ]

    def __init__(self, controls: Controls, keys: Iterable[tuple[str, str]]) -> None:
        super().__init__()
        self._controls = controls
        self._keys = list(keys)

    def compose(self) -> ComposeResult:
        """One table after the other, in a box that scrolls."""
        with VerticalScroll():
            yield Static(Text("Help   (esc closes, arrows scroll)", style="bold"), markup=False)
            yield Static(_table("Keys", self._keys), markup=False)
            yield Static(self._control_table(), markup=False)
            yield Static(_table("Reading the charts", _READING), markup=False)
            losses = [
                (loss.name, f"{loss.help} D accuracy: {loss.accuracy_help}.")
                for loss in LOSSES.values()
            ]
            yield Static(_table("Losses", losses), markup=False)

    def _control_table(self) -> Group:
        rows: list[tuple[str, str | Text]] = []
        for knob in KNOBS.values():
            keys = " ".join(knob.keys) if knob.keys else ":"
            now = knob.show(self._controls.value(knob.name))
            limits = "" if knob.choices else f"; range {knob.low:g} to {knob.high:g}"
            unused = "" if in_use(self._controls, knob.name) else "; not in use"
            text = Text(knob.help)
            text.append(f" Now {now}{limits}{unused}.", palette.DIM)
            rows.append((f"{keys:<4}{knob.name}", text))
        return _table("Controls: lower case lowers, upper case raises", rows)


def _table(title: str, rows: Iterable[tuple[str, str | Text]]) -> Group:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, expand=True)
    table.add_column(width=21, no_wrap=True)
    table.add_column(ratio=1)
    for left, right in rows:
        table.add_row(Text(left, style=_KEY), right if isinstance(right, Text) else Text(right))
    return Group(Text(f"\n{title}", style=f"bold {palette.G}"), table)
