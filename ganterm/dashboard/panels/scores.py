"""The histograms of D's scores."""

from __future__ import annotations

from collections.abc import Hashable

from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.histogram import draw_scores
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.palette import heading
from ganterm.dashboard.panels.diagnosed import DiagnosedPanel, at_step, missing, say
from ganterm.losses import LOSSES


class ScoresPanel(DiagnosedPanel):
    """How far D can tell reals from fakes: two hills apart, or one over the other."""

    def inputs(self, frame: Frame) -> tuple[Hashable, ...]:
        """The diagnosis, and the loss, which has the threshold."""
        return (*super().inputs(frame), frame.snapshot.controls.loss)

    def draw(self, frame: Frame, width: int, height: int) -> Cells:
        """A legend in the title, the histograms below."""
        cells = Cells(height, width)
        cells.title("D scores")
        scores = frame.snapshot.diagnosis.scores
        if scores is None:
            say(cells, missing(frame.snapshot, "D's scores"))
            return cells
        held_out = "•" if frame.glyphs.unicode else "o"
        parts = [("R real", palette.REAL), ("F fake", palette.FAKE)]
        parts += [] if scores.held_out is None else [(f"{held_out} held out", palette.TEXT)]
        column = 10
        for text, color in parts:
            if column + len(text) <= width:
                cells.write(0, column, text, heading(color))
                column += len(text) + 2
        if height > 2:
            threshold = LOSSES[frame.snapshot.controls.loss].threshold
            drawn = draw_scores(scores, threshold, width, height - 1, frame.glyphs)
            cells.inset(drawn, 1, 0)
        at_step(cells, scores.step, column)
        return cells
