"""The events: every change, pause, alarm and save with its step, newest last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.style import Style

from ganterm.core.controls import KNOBS
from ganterm.core.snapshot import Event
from ganterm.core.text import clean
from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.palette import style
from ganterm.dashboard.panels.panel import Panel

_UNSEEN = frozenset({"attach", "detach"})


class EventsPanel(Panel):
    """As many of the newest events as there are rows."""

    def inputs(self, frame: Frame) -> object:
        """The events."""
        return frame.events, frame.glyphs

    def draw(self, frame: Frame, width: int, height: int) -> Cells:
        """A title where there is room for it, then the events."""
        cells = Cells(height, width)
        titled = height >= 4
        if titled:
            cells.title("Events")
        rows = height - titled
        newest = [event for event in frame.events if event.kind not in _UNSEEN][-rows:]
        for row, event in enumerate(newest, titled):
            step = f"{event.step:>9,}"
            cells.write(row, 0, step, style(palette.DIM))
            text, look = describe(event, frame.glyphs)
            text = frame.glyphs.cut(text, width - len(step) - 2)
            cells.write(row, len(step) + 2, text, look)
        return cells


def describe(event: Event, glyphs: Glyphs) -> tuple[str, Style]:
    """An event in words, and how it looks."""
    data = event.data
    match event.kind:
        case "change" | "schedule":
            knob = KNOBS[data["key"]]
            source = "" if data["by"] == "key" else f"  ({clean(data['by'], 20)})"
            change = f"{knob.show(data['from'])} {glyphs.arrow} {knob.show(data['to'])}"
            return f"{knob.label} {change}{source}", style(palette.CHANGE)
        case "refused":
            return f"refused: {clean(data['reason'])}", style(palette.ALARM)
        case "alarm":
            return _alarm(data)
        case "error":
            return f"error: {clean(data['message'])}", style(palette.ALARM, bold=True)
        case "stop":
            saved = f", saved in {clean(data['saved'])}" if data.get("saved") else ""
            return f"{clean(data['reason'])}{saved}", style(palette.TEXT)
        case "note" | "warning":
            return clean(data["text"]), style(palette.DIM if event.kind == "note" else palette.G)
        case "data":
            return _data(data)
        case "start":
            return "training starts", style(palette.DIM)
        case "checkpoint":
            best = f", the best so far: cFID {data['cfid']:.4g}" if "cfid" in data else ""
            return f"checkpoint {clean(data['path'])}{best}", style(palette.DIM)
        case "resume" | "rewind":
            return _beginning(event, glyphs), style(palette.GOOD)
        case "pause":
            return "paused" + (f": {clean(data['cause'])}" if "cause" in data else ""), style(
                palette.G
            )
        case "unpause":
            return "goes on", style(palette.GOOD)
    return event.kind, style(palette.DIM)


def _data(data: Mapping[str, Any]) -> tuple[str, Style]:
    """What is said of the data, or files that could not be used."""
    if "text" in data:
        return clean(data["text"], 400), style(palette.TEXT)
    count = f"{len(data['files']):,} picture{'s' if len(data['files']) != 1 else ''}"
    told = f"{count} {clean(data['why'])}: {clean(data['files'][0])}"
    return told, style(palette.ALARM)


def _beginning(event: Event, glyphs: Glyphs) -> str:
    """From which checkpoint a run goes on, and what is not as it was then or before."""
    data, name = event.data, clean(event.data["checkpoint"])
    if event.kind == "resume":
        instead = ", the newest healthy one" if data.get("passed_over") else ""
        differs = f"; not bit-exact: {clean(', '.join(data['differs']))}" if data["differs"] else ""
        return f"goes on from {name}{instead}{differs}"
    changes = (
        f"{KNOBS[knob].label} {KNOBS[knob].show(ends['from'])} {glyphs.arrow} "
        f"{KNOBS[knob].show(ends['to'])}"
        for knob, ends in data["changed"].items()
    )
    return ", ".join([f"back from step {data['from_step']:,} to {name}", *changes])


def _alarm(data: Mapping[str, Any]) -> tuple[str, Style]:
    """In short: its figures and remedies are in the list of alarms."""
    warning = data.get("severity") == "warning"
    named = clean(data.get("title") or data["name"], 40)
    name = f"{'warning' if warning else 'ALARM'} {named}"
    if data["state"] != "raised":
        return f"{name} cleared", style(palette.GOOD)
    color = palette.G if warning else palette.ALARM
    return f"{name}: {clean(data['message'])}", style(color, bold=not warning)
