"""The `:` prompt: sets any control by name, completes names and explains errors."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import shorten
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from ganterm.core.controls import KNOBS, ControlError, Controls, Value, parse_assignment
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.losses import controls_with, in_use

COMPLETIONS = [
    text
    for knob in KNOBS.values()
    for text in (knob.name, *(f"{knob.name} {choice}" for choice in knob.choices))
]


class _Line(Input):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "cursor_right_to_end", "complete", show=False)
    ]

    def action_cursor_right_to_end(self) -> None:
        """Take the completion that is shown."""
        self.cursor_position = len(self.value)
        self.action_cursor_right()


class PromptScreen(ModalScreen[tuple[str, Value] | None]):
    """Returns the name and the checked value of a control, or None where the user cancels."""

    DEFAULT_CSS = """
    PromptScreen { align: center bottom; background: $background 0%; }
    PromptScreen > Vertical {
        height: 5; background: $panel; border-top: solid $primary; padding: 0 1;
    }
    PromptScreen Input { border: none; height: 1; padding: 0; background: $panel; }
    PromptScreen Input:focus { border: none; }
    PromptScreen Static { height: 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("escape", "dismiss(None)", "cancel")]

    def __init__(self, controls: Controls, glyphs: Glyphs) -> None:
        super().__init__()
        self._controls = controls
        self._glyphs = glyphs

    def compose(self) -> ComposeResult:
        """A heading, the line to type in, and below it the control's help or the error."""
        with Vertical():
            yield Static(
                "Set a control, for example:  lr_d 1e-4   (tab completes, esc cancels)",
                id="how",
                markup=False,
            )
            yield _Line(
                placeholder="name value",
                restrict="[ -~]*",
                suggester=SuggestFromList(COMPLETIONS, case_sensitive=True),
                id="line",
            )
            yield Static(id="answer", markup=False)

    def on_mount(self) -> None:
        """Give the heading one row, and list all names below the line."""
        self.query_one("#how", Static).styles.height = 1
        self._tell_names(KNOBS)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show the named control's help and value, or the names that begin with the text."""
        name = event.value.strip().replace("=", " ").partition(" ")[0]
        if name in KNOBS:
            knob = KNOBS[name]
            now = knob.show(self._controls.value(name))
            unused = "" if in_use(self._controls, name) else f" Not used by {self._controls.loss}."
            self._tell(Text(f"{knob.help} Now {now}; {knob.range}.{unused}", style="dim"))
        else:
            self._tell_names([knob for knob in KNOBS if knob.startswith(name)] or KNOBS)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Close with the name and value, or show the error and stay open."""
        if not event.value.strip():
            self.dismiss(None)
            return
        try:
            name, value = parse_assignment(event.value)
            controls_with(self._controls, name, value)
            self.dismiss((name, value))
        except ControlError as error:
            self._tell(Text(str(error), style="bold red"))

    def _tell_names(self, names: Iterable[str]) -> None:
        """As many names as the two rows below the line hold, wherever they are broken."""
        longest = max(map(len, KNOBS)) + 1
        room = 2 * (self.app.size.width - 2) - longest
        text = shorten(", ".join(names), room, placeholder=f" {self._glyphs.ellipsis}")
        self._tell(Text(text, style="dim"))

    def _tell(self, text: Text) -> None:
        self.query_one("#answer", Static).update(text)
