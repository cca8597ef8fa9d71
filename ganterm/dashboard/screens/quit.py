"""The way out, asked first: nobody ends a night's training by a slip of a finger."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static


class QuitScreen(ModalScreen[bool]):
    """Returns True for stop and save."""

    DEFAULT_CSS = """
    QuitScreen { align: center middle; background: $background 60%; }
    QuitScreen > Vertical {
        width: 52; height: auto; background: $panel; border: round $primary; padding: 1 2;
    }
    QuitScreen Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("enter", "dismiss(True)", "stop and save"),
        ("s", "dismiss(True)", "stop and save"),
        ("escape", "dismiss(False)", "cancel"),
        ("c", "dismiss(False)", "cancel"),
        ("q", "dismiss(False)", "cancel"),
    ]

    def compose(self) -> ComposeResult:
        """The question, and a key for each answer."""
        lines = Text()
        lines.append("End this run?\n\n", style="bold")
        for keys, does in (
            ("enter, s", "stop and save"),
            ("esc, c", "go on training"),
            ("ctrl+c", "stop and save; twice: leave now"),
        ):
            lines.append(f"{keys:>9}", style="bold #5cc8ff")
            lines.append(f"  {does}\n")
        lines.rstrip()
        with Vertical():
            yield Static(lines)
