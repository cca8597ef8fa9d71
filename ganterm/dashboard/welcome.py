"""The welcome screen: choose what to train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ganterm.dashboard import palette
from ganterm.dashboard.base import TerminalApp
from ganterm.dashboard.line import Line
from ganterm.dashboard.terminal import Colors
from ganterm.text import clean


@dataclass(frozen=True)
class Choice:
    """A preset as the list shows it."""

    name: str
    title: str
    about: str
    data: str
    time: str


class Welcome(TerminalApp[str]):
    """Returns the name of the chosen preset, None where the user leaves."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { align: center middle; background: $background; }
    Vertical { width: 96; max-width: 96%; height: auto; max-height: 96vh; }
    Static { height: auto; margin: 0 1 1 1; }
    OptionList { height: auto; max-height: 70vh; background: $surface; border: none; padding: 1; }
    #about { height: 2; margin: 1 1 0 1; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("q", "quit", "leave"),
        ("escape", "quit", "leave"),
        ("ctrl+c", "quit", "leave"),
    ]

    def __init__(
        self,
        choices: Sequence[Choice],
        line: Line | None = None,
        colors: Colors = "truecolor",
    ) -> None:
        super().__init__(line, colors)
        self._choices = choices

    def compose(self) -> ComposeResult:
        """A heading, a line for each preset, and below what the one under the cursor is about."""
        with Vertical():
            heading = Text("ganterm", style=f"bold {palette.D}")
            heading.append("   what shall be trained?   (enter trains, q leaves)", palette.DIM)
            yield Static(heading, markup=False)
            options = (Option(_shown(choice), id=choice.name) for choice in self._choices)
            yield OptionList(*options, markup=False)
            yield Static(id="about", markup=False)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Say more of the preset under the cursor."""
        choice = self._choices[event.option_index]
        about = f"{clean(choice.about, 500)} Data: {clean(choice.data, 40)}."
        self.query_one("#about", Static).update(about)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Leave with the choice."""
        self.exit(event.option.id)


def _shown(choice: Choice) -> Text:
    text = Text(f"{clean(choice.name, 60):<21}", style="bold", no_wrap=True, overflow="ellipsis")
    text.append(f"{clean(choice.time, 20):>9}  ", style=f"not bold {palette.DIM}")
    text.append(clean(choice.title), style="not bold")
    return text
