"""The keys: what each of them does, and how Textual is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from textual.app import SystemCommand
from textual.binding import Binding, BindingType

from ganterm.core.controls import KNOBS
from ganterm.core.snapshot import VIEWS, ViewName

ACTIONS: tuple[tuple[str, str, str, str], ...] = (
    ("space", "space", "pause", "pause, or go on"),
    ("full_stop", ".", "one_step", "pause, then one step at a time"),
    ("colon", ":", "prompt", "set any control by name"),
    ("v", "v", "view(1)", "samples: next view (classes, real, walk, nearest)"),
    ("V", "V", "view(-1)", "samples: the view before"),
    ("e", "e", "painter", "samples: raw generator, averaged one, both"),
    (
        "pagedown",
        "pgdn",
        "page(1)",
        "samples: more classes; diagnosis: more readings",
    ),
    ("pageup", "pgup", "page(-1)", "samples: the classes before; diagnosis: the readings before"),
    ("r", "r", "new_noise", "fresh fixed noise for the sample picture"),
    ("w", "w", "checkpoint", "write a checkpoint"),
    ("s", "s", "save_samples", "save a PNG of the samples in the run directory"),
    ("p", "p", "picture", "save a screenshot (SVG) in the run directory"),
    ("z", "z", "zoom", "charts: whole run, newest 2,000 rows, newest 200"),
    ("1", "1", "body('overview')", "the overview"),
    ("2", "2", "body('diagnosis')", "diagnosis in full: scores, modes, layers, readings"),
    ("exclamation_mark", "!", "alarms", "alarms: their figures, what to try, and the past ones"),
    ("U", "U", "rewind", "after an alarm: back to the newest healthy checkpoint"),
    ("R", "R", "restart", "after a failure: go on; where data are away: try now"),
    ("question_mark", "?", "help", "this help"),
    ("q,ctrl+q", "q", "quit", "end the run, or leave it in the background; asked first"),
)
"""Textual's key, the key as shown, the action, and what it does."""

ALSO = (
    ("ctrl+p", "command palette"),
    ("ctrl+c", "end the run; asks first"),
    ("ctrl+z", "suspend, where this process does not train"),
)
"""Further keys for the help screen, and what they do."""

ALWAYS = ("interrupt", "suspend_process", "command_palette")
"""Actions whose keys work while a dialog is open."""


def bindings() -> list[BindingType]:
    """Every key of a control, then every action's."""
    made = [
        Binding(key, f"nudge('{knob.name}', {direction})", f"{knob.label} {way}", show=False)
        for knob in KNOBS.values()
        if knob.keys
        for key, direction, way in zip(knob.keys, (-1, 1), ("down", "up"), strict=True)
    ]
    made += [Binding(key, action, does, show=False) for key, _, action, does in ACTIONS]
    made.append(Binding("ctrl+c", "interrupt", "stop", show=False))
    made.append(Binding("ctrl+z", "suspend_process", "suspend", show=False))
    # The app itself handles a priority key before it looks at the next key. Other keys wait in the
    # screen's queue, where a dialog that a later key opens would swallow them.
    return [replace(binding, priority=True) for binding in made]


def action_of(shown: str) -> str | None:
    """The action of a key as it is shown, a control's aside; None where there is none."""
    return {shown: action for _, shown, action, _ in ACTIONS}.get(shown)


# The command palette's entries: every action, and every control up, down and by value.


def commands(run: Callable[[str], Any], views: Iterable[ViewName]) -> Iterator[SystemCommand]:
    """What ``run`` can be told to do, for a run that has these views."""
    for _, shown, action, does in ACTIONS:
        told = f"{does[0].upper()}{does[1:]}"
        yield SystemCommand(told, f"key {shown}", partial(run, action))
    for name in views:
        yield SystemCommand(f"View {name}", VIEWS[name], partial(run, f"see('{name}')"))
    for knob in KNOBS.values():
        keys = knob.keys or ("", "")
        for direction, way, key in ((-1, "down", keys[0]), (1, "up", keys[1])):
            told = f"{knob.help} key {key}" if key else knob.help
            nudge = partial(run, f"nudge('{knob.name}', {direction})")
            yield SystemCommand(f"{knob.name} {way}", told, nudge)
        for choice in knob.choices:
            choose = partial(run, f"choose('{knob.name}', '{choice}')")
            yield SystemCommand(f"{knob.name} {choice}", knob.help, choose)
