"""The welcome screen: the user chooses a live run, a recent run or a preset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ganterm.core.text import clean
from ganterm.dashboard import palette
from ganterm.dashboard.terminal.capabilities import Colors
from ganterm.dashboard.terminal.line import Line
from ganterm.dashboard.terminal.terminal_app import TerminalApp

Doing = Literal["attach", "resume", "train"]
HEADINGS: dict[Doing, tuple[str, str]] = {
    "attach": ("Live runs", "watch and steer; they go on when you leave"),
    "resume": ("Recent runs", "resume exactly from the last checkpoint"),
    "train": ("Presets", "train from the start"),
}
"""The heading of each kind of choice, in the order of the list, and what choosing one does."""


@dataclass(frozen=True)
class Choice:
    """A line of the list, with ``name``, ``figure`` (a time or a step) and ``title``.

    ``about``: a sentence that is shown while the line is under the cursor. ``doing``: what
    choosing it does. ``where``: the directory of a run, "" for a preset.
    """

    name: str
    title: str
    about: str
    figure: str
    doing: Doing = "train"
    where: str = ""


class WelcomeApp(TerminalApp[Choice]):
    """Returns the user's choice, or None where the user leaves without one."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { align: center middle; background: $background; }
    Vertical { width: 96; max-width: 100%; height: auto; max-height: 100vh; }
    #head { height: 1; margin: 0 1 1 1; }
    OptionList { height: auto; max-height: 75vh; background: $surface; border: none;
                 padding: 0 1; scrollbar-size-vertical: 1;
                 text-wrap: nowrap; text-overflow: ellipsis; }
    OptionList > .option-list--option-disabled { color: $foreground; }
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
        self._choices = {
            f"choice{number}": choice
            for number, choice in enumerate(
                choice for doing in HEADINGS for choice in choices if choice.doing == doing
            )
        }

    def compose(self) -> ComposeResult:
        """A heading, all choices by kind, and a sentence on the choice under the cursor."""
        with Vertical():
            heading = Text("ganterm", style=f"bold {palette.D}")
            heading.append("   choose what to train   ", palette.TEXT)
            heading.append("enter chooses, q leaves", palette.DIM)
            yield Static(heading, id="head", markup=False)
            yield OptionList(*self._options(), markup=False)
            yield Static(id="about", markup=False)

    def _options(self) -> Iterator[Option]:
        before: Doing | None = None
        for identity, choice in self._choices.items():
            if choice.doing != before:
                if before is not None:
                    yield Option("", disabled=True)
                yield Option(_heading(*HEADINGS[choice.doing]), disabled=True)
                before = choice.doing
            yield Option(_row(choice), id=identity)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Show the sentence on the choice under the cursor."""
        choice = self._choices[event.option.id or ""]
        self.query_one("#about", Static).update(clean(choice.about, 180))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Leave with the choice."""
        self.exit(self._choices[event.option.id or ""])


def _heading(title: str, does: str) -> Text:
    text = Text(title, style=f"bold {palette.CHANGE}", no_wrap=True, overflow="ellipsis")
    text.append(f"   {does}", f"not bold {palette.DIM}")
    return text


def _row(choice: Choice) -> Text:
    name = clean(choice.name, 64)
    width, room = (21, 9) if choice.doing == "train" else (31, 10)
    name = name if len(name) < width else f"{name[: width - 2]}…"
    text = Text(f"{name:<{width}}", style="bold", no_wrap=True, overflow="ellipsis")
    text.append(f"{clean(choice.figure, 12):>{room}}  ", style="not bold dim")
    text.append(clean(choice.title, 80), style="not bold")
    return text
