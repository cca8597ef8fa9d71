"""Curves of what is measured now and then: diversity, and the distance to the data."""

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
    """A chart of some measures; subclasses say which."""

    title = ""
    what = ""
    guide: float | None = None

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._plotter = Plotter()

    def measures(self, found: Diagnosis) -> list[str]:
        """The names of those to draw, of which there may be none."""
        raise NotImplementedError

    def known(self, found: Diagnosis) -> bool:
        """Whether any of them can be measured on this data."""
        return bool(self.measures(found))

    def head(self, found: Diagnosis, names: Sequence[str]) -> tuple[str, str]:
        """The title, and a note beside it."""
        return self.title, ""

    def inputs(self, frame: Frame) -> tuple[Hashable, ...]:
        """The diagnosis, the stretch of steps, and the marks."""
        return (*super().inputs(frame), frame.span, len(frame.marks))

    def draw(self, frame: Frame, width: int, height: int) -> Cells:
        """The chart over the steps that all other charts show."""
        found = frame.snapshot.diagnosis
        names = [name for name in self.measures(found) if name in found.series]
        if not names:
            cells = Cells(height, width)
            cells.title(self.title)
            why = "" if self.known(found) else f"{self.what}: cannot be measured on this data"
            say(cells, missing(frame.snapshot, self.what, why))
            return cells
        columns = plot_columns(width, frame.glyphs)
        axis = frame.history.envelope("elapsed", columns, frame.span)
        found_of = [found.series[name] for name in names[: len(_COLORS)]]
        newest = [found.readings.get(name, _NOTHING).value for name in names]
        letters = _letters(names)
        title, note = self.head(found, names)
        chart = Chart(
            title,
            [
                ChartLine(letter, letter, color, value)
                for letter, color, value in zip(letters, _COLORS, newest, strict=False)
            ],
            envelope_of(found_of, columns, axis),
            guides=() if self.guide is None else ((self.guide, palette.FAINT),),
            marks=frame.marks,
            note=note,
            glyphs=frame.glyphs,
        )
        return self._plotter.draw(chart, width, height)


_NOTHING = Reading(float("nan"), 0)


def _letters(names: Sequence[str]) -> list[str]:
    """A letter for each: of its last word the first that no other has."""
    taken: list[str] = []
    for name in names:
        word = name.split("_")[-1].upper()
        taken.append(next((letter for letter in word if letter not in taken), "*"))
    return taken


class DiversityCurve(Curve):
    """Diversity in % of the data's, however it is measured."""

    title, what, guide = "Diversity", "diversity", 100.0

    def measures(self, found: Diagnosis) -> list[str]:
        """All that are called so, or are Vendi scores."""
        return [
            name
            for name, measure in found.measures.items()
            if measure.unit == "%" and ("diversity" in name or "vendi" in name)
        ][: len(_COLORS)]

    def head(self, found: Diagnosis, names: Sequence[str]) -> tuple[str, str]:
        """Which letter is which."""
        words = (name.split("_")[-1] for name in names)
        pairs = zip(_letters(names), words, strict=True)
        return self.title, "% of real  " + "  ".join(f"{a} {b}" for a, b in pairs)


class DistanceCurve(Curve):
    """How far G is from the data: FID, or on points the KL of their modes."""

    title, what = "Distance to the data", "distance"

    def measures(self, found: Diagnosis) -> list[str]:
        """The first there is."""
        ranked = [n for word in ("fid", "kid", "mode_kl") for n in found.measures if word in n]
        return sorted(ranked, key=lambda name: name not in found.series)[:1]

    def head(self, found: Diagnosis, names: Sequence[str]) -> tuple[str, str]:
        """What it is called."""
        measure = found.measures[names[0]]
        return f"{measure.title[:1].upper()}{measure.title[1:]}", f"{measure.unit}  0: as the data"
