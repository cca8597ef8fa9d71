"""When a frame is due: as often as the budget allows, and only where there is something new."""

from __future__ import annotations

from ganterm.core.snapshot import ENDED, Sample, Snapshot
from ganterm.dashboard.budget import Budget
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.terminal.line import Line


class Pace:
    """Fed once a tick; remembers what the last frame showed. ``line`` is None in tests."""

    def __init__(self, line: Line | None) -> None:
        self.budget = Budget()
        self._line = line
        self._shown: tuple[object, ...] = ()
        self._sample_shown: Sample | None = None

    @property
    def behind(self) -> bool:
        """Whether the terminal has not read yet what was drawn before."""
        return self._line is not None and self._line.behind

    def tick(self, snapshot: Snapshot) -> None:
        """Count a tick."""
        line = self._line
        judged = snapshot.state != "loading" and not (line is not None and line.stalled)
        self.budget.tick(line.sent if line is not None else 0, judged, self.behind)

    def due(self, frame: Frame) -> tuple[bool, bool]:
        """Whether to draw this frame now, and whether the samples are to be drawn with it."""
        charts_per_s, samples_per_s = self.budget.rates
        snapshot = frame.snapshot
        sample, shown = snapshot.sample, self._sample_shown
        turned = sample is None or shown is None or sample.view != shown.view
        samples_due = self.budget.due(samples_per_s) or snapshot.state in ENDED
        fresh = (sample is not shown and (samples_due or turned)) or not self._shown
        changed = fresh or _inputs(frame) != self._shown
        return self.budget.due(charts_per_s) and changed, fresh

    def drawn(self, frame: Frame, fresh: bool) -> None:
        """Remember what is on the screen now."""
        self._shown = _inputs(frame)
        if fresh:
            self._sample_shown = frame.snapshot.sample

    def forget(self) -> None:
        """What was drawn has not been seen: the next frame is due whatever it shows."""
        self._shown = ()


def _inputs(frame: Frame) -> tuple[object, ...]:
    link = frame.link
    told = (link.state, int(link.age) if link.state == "stale" else 0, link.trouble)
    count = len(frame.events)
    return (frame.snapshot, count, dict(frame.asked), frame.span, frame.view, frame.cost, told)
