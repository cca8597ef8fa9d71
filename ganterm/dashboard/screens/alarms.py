"""The list of alarms: what is wrong, its figures, what to try, and what was raised before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from ganterm.core.events import AlarmEvent, Event
from ganterm.core.findings import Alarm, Remedy
from ganterm.core.text import clean
from ganterm.dashboard import palette
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.draw.numbers import measured
from ganterm.dashboard.light import COLORS, WORDS, Light, ranked
from ganterm.dashboard.panels.events import describe

_PAST = 100
"""Most past events that the screen lists, the newest first."""
_WIDTH = 104
_FRAME = 6
_STEP = 13
_DIGITS = "123456789"


class AlarmsScreen(ModalScreen[Remedy | None]):
    """Returns the remedy that was chosen, or None.

    It stays as it was when it was opened, so that no digit changes its meaning under a finger.
    """

    DEFAULT_CSS = """
    AlarmsScreen { align: center middle; background: $background 60%; }
    AlarmsScreen > Vertical {
        width: 104; max-width: 96%; height: auto; max-height: 92%; background: $panel;
        border: round $primary; padding: 0 1;
    }
    AlarmsScreen OptionList {
        height: auto; max-height: 80vh; background: $panel; border: none; padding: 0;
        scrollbar-size: 1 1; scrollbar-color: $primary; scrollbar-background: $panel;
    }
    AlarmsScreen OptionList:focus { border: none; background-tint: transparent; }
    AlarmsScreen OptionList:focus > .option-list--option-highlighted {
        background: $background; text-style: none;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape", "dismiss(None)", "close"),
        ("exclamation_mark", "dismiss(None)", "close"),
        ("q", "dismiss(None)", "close"),
        *(Binding(digit, f"choose({digit})", show=False) for digit in _DIGITS),
    ]

    def __init__(
        self, alarms: Sequence[Alarm], events: Sequence[Event], light: Light, glyphs: Glyphs
    ) -> None:
        super().__init__()
        self._alarms = ranked(tuple(alarms))
        self._past = [event for event in events if isinstance(event, AlarmEvent)][-_PAST:]
        self._light = light
        self._glyphs = glyphs
        self._remedies = [remedy for alarm in self._alarms for remedy in alarm.remedies]

    def compose(self) -> ComposeResult:
        """One list; what can be chosen are the remedies."""
        with Vertical():
            yield OptionList(*self._options(), markup=False)

    def on_mount(self) -> None:
        """The first remedy is under the cursor."""
        listed = self.query_one(OptionList)
        listed.focus()
        if self._remedies:
            listed.highlighted = listed.get_option_index("1")

    def action_choose(self, number: int) -> None:
        """Leave with a remedy by its number."""
        if number <= len(self._remedies):
            self.dismiss(self._remedies[number - 1])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Leave with the remedy under the cursor."""
        self.action_choose(int(event.option.id or 0))

    def _options(self) -> list[Option]:
        count, glyphs = len(self._alarms), self._glyphs
        room = min(_WIDTH, 96 * self.app.size.width // 100) - _FRAME
        head = Text("Alarms", style=f"bold {palette.TEXT}")
        keys = "esc closes" if not self._remedies else "a digit, or enter, does it; esc closes"
        head.append(f"   {count or 'none'} raised   ({keys})", f"not bold {palette.DIM}")
        if not count:
            light = f"\n{glyphs.lights[self._light.level]} {self._light.words}"
            head.append(light, f"bold {COLORS[self._light.level]}")
        options = [Option(head, disabled=True)]
        number = 0
        for alarm in self._alarms:
            options.append(Option(_what(alarm, room, glyphs), disabled=True))
            for remedy in alarm.remedies:
                number += 1
                options.append(Option(_try(number, remedy), id=str(number)))
        past = Text("\nBefore now" if count else "\nHistory", style=f"bold {palette.TEXT}")
        if not self._past:
            past.append("   no alarm was raised yet", f"not bold {palette.DIM}")
        for event in reversed(self._past):
            text, look = describe(event, glyphs)
            past.append(f"\n{event.step:>{_STEP - 2},}  ", f"not bold {palette.DIM}")
            color = look.color.name if look.color else palette.TEXT
            past.append(glyphs.cut(text, room - _STEP), f"not bold {color}")
        options.append(Option(past, disabled=True))
        return options


def _what(alarm: Alarm, room: int, glyphs: Glyphs) -> Text:
    color = COLORS[alarm.severity]
    sign, word = glyphs.lights[alarm.severity], WORDS[alarm.severity].rstrip(":")
    text = Text(f"\n{sign} {word} {clean(alarm.title, 60)}", style=f"bold {color}")
    when = f"   since step {alarm.since:,}, raised at {alarm.raised:,}"
    text.append(when, f"not bold {palette.DIM}")
    for said, color in (
        (clean(alarm.message, 600), palette.TEXT),
        (_figures(alarm.evidence), palette.DIM),
    ):
        for line in wrap(said, room - 2):
            text.append(f"\n  {line}", f"not bold {color}")
    if not alarm.remedies:
        text.append("\n  nothing to press", f"not bold {palette.DIM}")
    return text


def _figures(evidence: Mapping[str, Any]) -> str:
    """The evidence on a line: each figure behind its name."""
    return ", ".join(f"{clean(name, 40)} {_figure(value)}" for name, value in evidence.items())


def _figure(value: Any) -> str:
    if isinstance(value, bool | int):
        return str(value) if isinstance(value, bool) else f"{value:,}"
    if isinstance(value, float):
        return measured(value)
    if isinstance(value, list | tuple):
        return " ".join(_figure(part) for part in value[:20])
    return clean(value, 80)


def _try(number: int, remedy: Remedy) -> Text:
    shown = str(number) if number <= len(_DIGITS) else " "
    text = Text(f"  {shown}  ", style=f"bold {palette.D}")
    text.append(f"{clean(remedy.press, 40):<14} ", f"bold {palette.D}")
    text.append(clean(remedy.does, 200), f"not bold {palette.TEXT}")
    return text
