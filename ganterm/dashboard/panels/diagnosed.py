"""What the panels of diagnosis have in common: they are drawn when there is a new one."""

from __future__ import annotations

from collections.abc import Hashable
from textwrap import wrap

from ganterm.core.snapshot import Snapshot
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.palette import DIM, heading, style
from ganterm.dashboard.panels.panel import Panel


class DiagnosedPanel(Panel):
    """A panel that is drawn anew only when the diagnosis, or another of its inputs, has changed."""

    def inputs(self, frame: Frame) -> tuple[Hashable, ...]:
        """The diagnosis, whether the run is still loading, and the glyphs."""
        snapshot = frame.snapshot
        return (snapshot.diagnosis, snapshot.state == "loading", frame.glyphs)


def missing(snapshot: Snapshot, what: str, why: str = "") -> str:
    """Why ``what`` is not there: ``why`` where the data are the reason, else it is yet to come."""
    if not snapshot.info.diagnose_every and snapshot.state != "loading":
        return "diagnosis is off (run.diagnosis = 0)"
    if not snapshot.diagnosis.readings and snapshot.info.diagnose_every:
        return f"{what}: first look after {snapshot.info.diagnose_every:,} steps"
    return why or f"{what}: nothing measured yet"


def say(cells: Cells, text: str) -> None:
    """A few words in the middle of an otherwise empty panel, wrapped."""
    height, width = cells.size
    lines = wrap(text, max(1, width - 2))
    top = 1 + max(0, (height - 1 - len(lines)) // 2)
    for row, line in enumerate(lines, top):
        cells.write(row, max(0, (width - len(line)) // 2), line, style(DIM))


def at_step(cells: Cells, step: int, left: int) -> None:
    """The step that was looked at: in the title row behind column ``left``, or else below it."""
    told = f"at {step:,}"
    column = cells.size[1] - len(told)
    row, look = (0, heading(DIM)) if column > left else (1, style(DIM))
    if (cells.chars[row : row + 1, column:] == " ").all():
        cells.write(row, column, told, look)
