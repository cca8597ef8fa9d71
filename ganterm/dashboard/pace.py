"""When a frame is due: as often as the budget allows, and only if something has changed."""

from __future__ import annotations

from ganterm.core.snapshot import ENDED, Sample, Snapshot
from ganterm.dashboard.budget import Budget
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.terminal.line import Line


class Pace:
    """Decides at each tick whether to draw; remembers what the last frame showed.

    ``line`` is None where the app has no terminal of ours, as in tests.
    """

    def __init__(self, line: Line | None) -> None:
        self.budget = Budget()
        self._line = line
        self._shown: tuple[object, ...] = ()
        self._sample_shown: Sample | None = None

    @property
    def behind(self) -> bool:
        """Whether the terminal has not read the last frame yet."""
        return self._line is not None and self._line.behind

    def tick(self, snapshot: Snapshot) -> None:
        """Count a tick."""
        line = self._line
        counts = snapshot.state != "loading" and not (line is not None and line.stalled)
        self.budget.tick(line.sent if line is not None else 0, counts, self.behind)

    def due(self, frame: Frame) -> tuple[bool, bool]:
        """Whether to draw this frame now, and whether to draw the samples with it."""
        charts_per_s, samples_per_s = self.budget.rates
        snapshot = frame.snapshot
        sample, shown = snapshot.sample, self._sample_shown
        new_view = sample is None or shown is None or sample.view != shown.view
        samples_due = self.budget.due(samples_per_s) or snapshot.state in ENDED
        fresh = (sample is not shown and (samples_due or new_view)) or not self._shown
        changed = fresh or _inputs(frame) != self._shown
        return self.budget.due(charts_per_s) and changed, fresh

    def remember(self, frame: Frame, fresh: bool) -> None:
        """Remember that this frame is on the screen now."""
        self._shown = _inputs(frame)
        if fresh:
            self._sample_shown = frame.snapshot.sample

    def forget(self) -> None:
        """Make the next frame due whatever it shows, because the last one was lost."""
        self._shown = ()


def _inputs(frame: Frame) -> tuple[object, ...]:
    """All that the panels draw from; while it is equal, the screen stays as it is."""
    return (
        frame.snapshot,
        len(frame.events),
        dict(frame.asked),
        frame.span,
        frame.view,
        frame.cost,
        frame.link.state,
        int(frame.link.age) if frame.link.state == "stale" else 0,
        frame.link.trouble,
    )
