"""The status line: the run, its progress and speed, and what watching costs."""

from __future__ import annotations

from itertools import accumulate

from rich.style import Style

from ganterm.core.snapshot import Link, State
from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.numbers import clock, short, size
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.palette import style
from ganterm.dashboard.panels.panel import Panel

_COLORS: dict[State, str] = {
    "loading": palette.DIM,
    "running": palette.GOOD,
    "paused": palette.G,
    "finished": palette.D,
    "stopped": palette.DIM,
    "failed": palette.ALARM,
}


class StatusPanel(Panel):
    """One line on a small terminal, two on a larger one."""

    def draw(self, frame: Frame, width: int, height: int) -> Cells:
        """The most important parts first; parts without room are left out."""
        cells = Cells(height, width)
        snapshot, info = frame.snapshot, frame.snapshot.info
        sign = frame.glyphs.states[snapshot.state]
        left = [
            (info.preset, style(palette.TEXT, bold=True)),
            (f"{sign} {snapshot.state}", style(_COLORS[snapshot.state], bold=True)),
        ]
        left += _link(frame.link)
        points = snapshot.sample is not None and snapshot.sample.points is not None
        goal = f"/{short(info.steps)}" if info.steps else ""
        progress = [
            f"step {snapshot.step:>7,}{goal}",
            f"{snapshot.rates.steps_per_s:5.0f} step/s",
            f"{clock(snapshot.counters.elapsed)}",
        ]
        if info.steps and snapshot.rates.steps_per_s > 0 and snapshot.state == "running":
            remaining = (info.steps - snapshot.step) / snapshot.rates.steps_per_s
            progress.append(f"ETA {clock(remaining)}")
        more = [
            f"{short(snapshot.rates.images_per_s):>5} {'points' if points else 'images'}/s",
            f"{short(info.samples)} of {info.data} x {info.batch_size}",
            info.device,
            f"{size(snapshot.memory_bytes)} used",
            f"seed {info.seed}",
            f"run {info.name}",
        ]
        cost = str(frame.cost)
        if height == 1:
            self._line(cells, 0, left, [*progress, *more[:3]], cost)
        else:
            self._line(cells, 0, left, [*progress, more[0]], cost)
            self._line(
                cells,
                1,
                [],
                more[1:],
                f"G {short(info.parameters_g)} D {short(info.parameters_d)} weights"
                if info.parameters_g
                else "",
            )
        return cells

    def _line(
        self,
        cells: Cells,
        row: int,
        left: list[tuple[str, Style]],
        parts: list[str],
        right: str,
    ) -> None:
        width = cells.size[1]
        column = 0
        for text, look in left:
            cells.write(row, column, text, look)
            column += len(text) + 2
        room = width - len(right) - 1 - column
        # Only the first parts that fit are written.
        ends = accumulate(len(part) + 2 for part in parts)
        fitting = sum(end - 2 <= room for end in ends)
        text = "  ".join(parts[:fitting])
        cells.write(row, column, text, style(palette.DIM if row else palette.TEXT))
        cells.write(row, width - len(right), right, style(palette.DIM))


def _link(link: Link) -> list[tuple[str, Style]]:
    """The state of the connection to a run in another process; nothing for one in this process."""
    match link.state:
        case "here":
            return []
        case "stale":
            return [(f"stale {link.age:.0f} s", style(palette.ALARM, bold=True))]
        case "ended":
            return [("ended", style(palette.DIM, bold=True))]
    return [("read-only" if link.readonly else "attached", style(palette.D))]
