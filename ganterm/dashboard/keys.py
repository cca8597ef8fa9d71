"""The keys and the command palette: what each entry does, and Textual's bindings for it."""

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
    ("space", "space", "pause", "pause or continue"),
    ("full_stop", ".", "one_step", "pause; then one step for each press"),
    ("colon", ":", "prompt", "set any control by name"),
    ("v", "v", "view(1)", "samples: next view (classes, real, walk, nearest)"),
    ("V", "V", "view(-1)", "samples: previous view"),
    ("e", "e", "painter", "samples: raw generator, averaged generator, both"),
    ("pagedown", "pgdn", "page(1)", "samples: next classes; diagnosis: next readings"),
    ("pageup", "pgup", "page(-1)", "samples: previous classes; diagnosis: previous readings"),
    ("r", "r", "new_noise", "new fixed noise for the sample picture"),
    ("w", "w", "checkpoint", "write a checkpoint"),
    ("s", "s", "save_samples", "save a PNG of the samples in the run directory"),
    ("p", "p", "picture", "save a screenshot (SVG) in the run directory"),
    ("z", "z", "zoom", "charts: whole run, newest 2,000 rows, newest 200"),
    ("1", "1", "body('overview')", "show the overview"),
    ("2", "2", "body('diagnosis')", "show the full diagnosis: scores, modes, layers, readings"),
    ("exclamation_mark", "!", "alarms", "list the alarms: figures, what to try, earlier alarms"),
    ("U", "U", "rewind", "after an alarm: rewind to the newest healthy checkpoint"),
    ("R", "R", "restart", "after a failure: resume; while data are missing: try again now"),
    ("question_mark", "?", "help", "this help"),
    ("q,ctrl+q", "q", "quit", "end the run or leave it in the background; asks first"),
)
"""Each key in Textual's name and as it is shown, its action, and what the action does."""

ALSO = (
    ("ctrl+p", "command palette"),
    ("ctrl+c", "end the run; asks first"),
    ("ctrl+z", "suspend this program, unless it trains the run itself"),
)
"""Further keys of the help screen, and what they do."""

ALWAYS = ("interrupt", "suspend_process", "command_palette")
"""Actions whose keys work while a dialog is open."""


def bindings() -> list[BindingType]:
    """A binding for every key of a control, then for every action."""
    keys = [
        Binding(key, f"nudge('{knob.name}', {direction})", f"{knob.label} {way}", show=False)
        for knob in KNOBS.values()
        if knob.keys
        for key, direction, way in zip(knob.keys, (-1, 1), ("down", "up"), strict=True)
    ]
    keys += [Binding(key, action, does, show=False) for key, _, action, does in ACTIONS]
    keys.append(Binding("ctrl+c", "interrupt", "stop", show=False))
    keys.append(Binding("ctrl+z", "suspend_process", "suspend", show=False))
    # The app itself handles a priority key before it looks at the next key. Other keys wait in the
    # screen's queue, where a dialog that a later key opens would swallow them.
    return [replace(binding, priority=True) for binding in keys]


def action_of(shown: str) -> str | None:
    """The action of a key, given as it is shown; None for a control's key and an unknown one."""
    return {shown: action for _, shown, action, _ in ACTIONS}.get(shown)


def commands(run: Callable[[str], Any], views: Iterable[ViewName]) -> Iterator[SystemCommand]:
    """The command palette's entries: every action, every view, and every control's changes.

    ``run`` performs an action by its name; ``views`` are those that the run has.
    """
    for _, shown, action, does in ACTIONS:
        title = f"{does[0].upper()}{does[1:]}"
        yield SystemCommand(title, f"key {shown}", partial(run, action))
    for name in views:
        yield SystemCommand(f"View {name}", VIEWS[name], partial(run, f"see('{name}')"))
    for knob in KNOBS.values():
        keys = knob.keys or ("", "")
        for direction, way, key in ((-1, "down", keys[0]), (1, "up", keys[1])):
            text = f"{knob.help} key {key}" if key else knob.help
            nudge = partial(run, f"nudge('{knob.name}', {direction})")
            yield SystemCommand(f"{knob.name} {way}", text, nudge)
        for choice in knob.choices:
            choose = partial(run, f"choose('{knob.name}', '{choice}')")
            yield SystemCommand(f"{knob.name} {choice}", knob.help, choose)
