"""The help screen, made from the controls and the bindings themselves."""

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
    ("D accuracy", "R on real, F on fake; dashed: chance. Both at 1 for long: D is winning"),
    ("Gradient norm", "of the whole network, log scale"),
    ("Diversity", "mean distance between fakes in % of that between reals; falling: collapse"),
    ("", "in diagnosis: P of pixels, F of features in a fixed network, V the Vendi score"),
    ("Marks", "k l o d g on a chart: that control was changed there; * another one"),
    ("", "! an alarm was raised there; a tick, or +, says that one was cleared"),
    ("", "U the run went back to there; what came after is an older branch on the disk"),
    ("Light", "of diagnosis: healthy, watch (a warning), ALARM; by the alarms that are raised"),
    ("", "too early to tell: no collapse could be raised yet; watching: modes are not found"),
    ("Modes", "bar to its middle: as often as in the data; marked: not found; red: lost"),
    ("", "on the strip, of modes that share a row, the scarcest is shown"),
    ("UI", "share of one core the dashboard takes, and bytes a second to the terminal"),
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
            limits = "" if knob.choices else f", {knob.low:g} to {knob.high:g}"
            unused = "" if in_use(self._controls, knob.name) else ", not in use"
            told = Text(knob.help)
            told.append(f" Now {now}{limits}{unused}.", palette.DIM)
            rows.append((f"{keys:<4}{knob.name}", told))
        return _table("Controls: lower case lowers, upper case raises", rows)


def _table(title: str, rows: Iterable[tuple[str, str | Text]]) -> Group:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, expand=True)
    table.add_column(width=21, no_wrap=True)
    table.add_column(ratio=1)
    for left, right in rows:
        table.add_row(Text(left, style=_KEY), right if isinstance(right, Text) else Text(right))
    return Group(Text(f"\n{title}", style=f"bold {palette.G}"), table)
