"""The events: every change, pause, alarm and save with its step, newest last."""

from __future__ import annotations

from rich.style import Style

from ganterm.core import events as journal
from ganterm.core.controls import KNOBS
from ganterm.core.events import Event
from ganterm.core.text import clean
from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.palette import style
from ganterm.dashboard.panels.panel import Panel

_UNSEEN = (journal.AttachEvent, journal.DetachEvent)


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
        newest = [event for event in frame.events if not isinstance(event, _UNSEEN)][-rows:]
        for row, event in enumerate(newest, titled):
            step = f"{event.step:>9,}"
            cells.write(row, 0, step, style(palette.DIM))
            text, look = describe(event, frame.glyphs)
            text = frame.glyphs.cut(text, width - len(step) - 2)
            cells.write(row, len(step) + 2, text, look)
        return cells


def describe(event: Event, glyphs: Glyphs) -> tuple[str, Style]:
    """An event in words, and how it looks."""
    match event:
        case journal.ChangeEvent():
            knob = KNOBS[event.key]
            source = "" if event.by == "key" else f"  ({clean(event.by, 20)})"
            change = f"{knob.show(event.before)} {glyphs.arrow} {knob.show(event.after)}"
            return f"{knob.label} {change}{source}", style(palette.CHANGE)
        case journal.RefusedEvent():
            return f"refused: {clean(event.reason)}", style(palette.ALARM)
        case journal.AlarmEvent():
            return _alarm(event)
        case journal.ErrorEvent():
            return f"error: {clean(event.message)}", style(palette.ALARM, bold=True)
        case journal.NoteEvent():
            return clean(event.text), style(palette.DIM)
        case journal.WarningEvent():
            return clean(event.text), style(palette.G)
        case journal.DataEvent():
            return _data(event)
        case journal.CheckpointEvent():
            best = "" if event.cfid is None else f", the best so far: cFID {event.cfid:.4g}"
            return f"checkpoint {clean(event.path)}{best}", style(palette.DIM)
        case journal.ResumeEvent():
            return _resume(event), style(palette.GOOD)
        case journal.RewindEvent():
            return _rewind(event, glyphs), style(palette.GOOD)
    return _state(event)


def _state(event: Event) -> tuple[str, Style]:
    """What the run does from now on."""
    match event:
        case journal.StartEvent():
            return "training starts", style(palette.DIM)
        case journal.PauseEvent():
            cause = "" if event.cause is None else f": {clean(event.cause)}"
            return f"paused{cause}", style(palette.G)
        case journal.UnpauseEvent():
            return "goes on", style(palette.GOOD)
        case journal.StopEvent():
            saved = f", saved in {clean(event.saved)}" if event.saved else ""
            return f"{clean(event.reason)}{saved}", style(palette.TEXT)
    return event.kind, style(palette.DIM)


def _data(event: journal.DataEvent) -> tuple[str, Style]:
    """A remark about the data, or how many files are not used, why, and the first of them."""
    if event.text is not None:
        return clean(event.text, 400), style(palette.TEXT)
    files = event.files or ()
    count = f"{len(files):,} picture{'s' if len(files) != 1 else ''}"
    return f"{count} {clean(event.why)}: {clean(files[0])}", style(palette.ALARM)


def _resume(event: journal.ResumeEvent) -> str:
    """The checkpoint that a run goes on from, and what differs from then."""
    instead = ", the newest healthy one" if event.passed_over else ""
    differs = f"; not bit-exact: {clean(', '.join(event.differs))}" if event.differs else ""
    return f"goes on from {clean(event.checkpoint)}{instead}{differs}"


def _rewind(event: journal.RewindEvent, glyphs: Glyphs) -> str:
    """Where a run goes back to, and which controls change with it."""
    changes = (
        f"{KNOBS[knob].label} {KNOBS[knob].show(ends['from'])} {glyphs.arrow} "
        f"{KNOBS[knob].show(ends['to'])}"
        for knob, ends in event.changed.items()
    )
    return ", ".join([f"back from step {event.from_step:,} to {clean(event.checkpoint)}", *changes])


def _alarm(event: journal.AlarmEvent) -> tuple[str, Style]:
    """An alarm in short; its figures and remedies are in the list of alarms."""
    warning = event.severity == "warning"
    name = f"{'warning' if warning else 'ALARM'} {clean(event.title or event.name, 40)}"
    if not event.raised:
        return f"{name} cleared", style(palette.GOOD)
    color = palette.G if warning else palette.ALARM
    return f"{name}: {clean(event.message)}", style(color, bold=not warning)
