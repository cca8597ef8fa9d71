"""Curves of the readings over the run: diversity, and the distance to the data."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from ganterm.core.findings import Diagnosis, Reading
from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.chart import Chart, ChartLine, Plotter, plot_columns
from ganterm.dashboard.draw.sparse import envelope_of
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.panels.diagnosed import DiagnosedPanel, missing, say

_COLORS = (palette.CHANGE, palette.D, palette.G)


class Curve(DiagnosedPanel):
    """A chart of some measures, which subclasses choose.

    ``what`` names them in a sentence on why they are missing; ``guide`` is a horizontal line.
    """

    title = ""
    what = ""
    guide: float | None = None

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._plotter = Plotter()

    def measures(self, diagnosis: Diagnosis) -> list[str]:
        """The names of the measures to draw; [] where none can be measured on this data."""
        raise NotImplementedError

    def head(self, diagnosis: Diagnosis, names: Sequence[str]) -> tuple[str, str]:
        """The title, and a note beside it."""
        return self.title, ""

    def inputs(self, frame: Frame) -> tuple[Hashable, ...]:
        """The diagnosis, the steps that the charts cover, and the marks."""
        return (*super().inputs(frame), frame.span, len(frame.marks))

    def draw(self, frame: Frame, width: int, height: int) -> Cells:
        """The chart over the same steps as all other charts."""
        diagnosis = frame.snapshot.diagnosis
        measures = self.measures(diagnosis)
        names = [name for name in measures if name in diagnosis.series]
        if not names:
            cells = Cells(height, width)
            cells.title(self.title)
            why = "" if measures else f"{self.what}: cannot be measured on this data"
            say(cells, missing(frame.snapshot, self.what, why))
            return cells
        columns = plot_columns(width, frame.glyphs)
        axis = frame.history.envelope("elapsed", columns, frame.span)
        series = [diagnosis.series[name] for name in names[: len(_COLORS)]]
        newest = [diagnosis.readings.get(name, _NO_READING).value for name in names]
        letters = _letters(names)
        title, note = self.head(diagnosis, names)
        chart = Chart(
            title,
            [
                ChartLine(letter, letter, color, value)
                for letter, color, value in zip(letters, _COLORS, newest, strict=False)
            ],
            envelope_of(series, columns, axis),
            guides=() if self.guide is None else ((self.guide, palette.FAINT),),
            marks=frame.marks,
            note=note,
            glyphs=frame.glyphs,
        )
        return self._plotter.draw(chart, width, height)


_NO_READING = Reading(float("nan"), 0)


def _letters(names: Sequence[str]) -> list[str]:
    """A letter for each name: the first of its last word that no earlier name has, else "*"."""
    letters: list[str] = []
    for name in names:
        word = name.split("_")[-1].upper()
        letters.append(next((letter for letter in word if letter not in letters), "*"))
    return letters


class DiversityCurve(Curve):
    """All measures of diversity, in % of that of the data."""

    title, what, guide = "Diversity", "diversity", 100.0

    def measures(self, diagnosis: Diagnosis) -> list[str]:
        """The measures called diversity and the Vendi score."""
        return [
            name
            for name, measure in diagnosis.measures.items()
            if measure.unit == "%" and ("diversity" in name or "vendi" in name)
        ][: len(_COLORS)]

    def head(self, diagnosis: Diagnosis, names: Sequence[str]) -> tuple[str, str]:
        """The title, and the meaning of each letter."""
        words = (name.split("_")[-1] for name in names)
        pairs = zip(_letters(names), words, strict=True)
        return self.title, "% of real  " + "  ".join(f"{a} {b}" for a, b in pairs)


class DistanceCurve(Curve):
    """The distance of G's samples to the data: FID or KID, or on points the KL of their modes."""

    title, what = "Distance to the data", "distance"

    def measures(self, diagnosis: Diagnosis) -> list[str]:
        """The first of FID, KID and mode KL, preferring those that have readings."""
        ranked = [n for word in ("fid", "kid", "mode_kl") for n in diagnosis.measures if word in n]
        return sorted(ranked, key=lambda name: name not in diagnosis.series)[:1]

    def head(self, diagnosis: Diagnosis, names: Sequence[str]) -> tuple[str, str]:
        """The measure's title and unit."""
        measure = diagnosis.measures[names[0]]
        return f"{measure.title[:1].upper()}{measure.title[1:]}", f"{measure.unit}  0: as the data"
