"""The command palette's entries: every action, and every control up, down and by value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from textual.app import SystemCommand

from ganterm.controls import KNOBS
from ganterm.dashboard.keys import ACTIONS
from ganterm.session.protocol import VIEWS, ViewName


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
