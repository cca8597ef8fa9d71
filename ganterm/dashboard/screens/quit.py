"""The quit dialog. It asks before a run ends, so that one stray key does not stop training."""

from __future__ import annotations

from typing import ClassVar, Literal

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

Answer = Literal["stop", "leave", "cancel"]


class QuitScreen(ModalScreen[Answer]):
    """Returns what to do with the run. ``attached``: the run trains in another process."""

    DEFAULT_CSS = """
    QuitScreen { align: center middle; background: $background 60%; }
    QuitScreen > Vertical {
        width: 58; height: auto; background: $panel; border: round $primary; padding: 1 2;
    }
    QuitScreen Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter", "first", "the first answer"),
        ("s", "dismiss('stop')", "stop and save"),
        ("l", "dismiss('leave')", "leave it training"),
        ("escape", "dismiss('cancel')", "cancel"),
        ("c", "dismiss('cancel')", "cancel"),
        ("q", "dismiss('cancel')", "cancel"),
    ]

    def __init__(self, attached: bool = False) -> None:
        super().__init__()
        self._attached = attached

    def action_first(self) -> None:
        """Leave a run of another process; stop and save a run of this process."""
        self.dismiss("leave" if self._attached else "stop")

    def compose(self) -> ComposeResult:
        """The question, and a key for each answer."""
        if self._attached:
            answers = [
                ("enter, l", "leave it training"),
                ("s", "stop and save"),
                ("esc, c", "cancel"),
                ("ctrl+c", "leave it training"),
            ]
        else:
            answers = [
                ("enter, s", "stop and save"),
                ("l", "leave it training in the background"),
                ("esc, c", "cancel"),
                ("ctrl+c", "stop and save; twice: leave now"),
            ]
        lines = Text()
        lines.append("Leave this run?\n\n" if self._attached else "End this run?\n\n", style="bold")
        for keys, does in answers:
            lines.append(f"{keys:>9}", style="bold #5cc8ff")
            lines.append(f"  {does}\n")
        lines.rstrip()
        with Vertical():
            yield Static(lines, markup=False)
