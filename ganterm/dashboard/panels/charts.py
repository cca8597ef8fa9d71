"""The charts. Each is a small class that says which lines, which scale and which guides."""

from __future__ import annotations

from dataclasses import dataclass

from ganterm.dashboard import palette
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.chart import Chart, ChartLine, Plotter, plot_columns
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.panels.panel import Panel
from ganterm.losses import LOSSES


@dataclass(frozen=True)
class MetricLine:
    """A metric as a chart's line."""

    metric: str
    letter: str
    label: str
    color: str


class ChartPanel(Panel):
    """A chart of some series; subclasses say what stands beside the lines."""

    title = ""
    series: tuple[MetricLine, ...] = ()
    log_scale = False
    fixed: tuple[float, float] | None = None

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._plotter = Plotter()

    def shown(self, frame: Frame) -> tuple[MetricLine, ...]:
        """The lines to draw."""
        return self.series

    def guides(self, frame: Frame) -> list[tuple[float, str]]:
        """Values, each with a colour, at which a horizontal line stands."""
        return []

    def note(self, frame: Frame) -> str:
        """A few words beside the title, where there is room."""
        return ""

    def draw(self, frame: Frame, width: int, height: int) -> Cells:
        """The chart over the whole run, or its newest part."""
        shown = self.shown(frame)
        columns = plot_columns(width, frame.glyphs)
        chart = Chart(
            self.title,
            [
                ChartLine(one.letter, one.label, one.color, frame.snapshot.scalars[one.metric])
                for one in shown
            ],
            frame.history.envelope([one.metric for one in shown], columns, frame.span),
            self.fixed,
            self.log_scale,
            self.guides(frame),
            frame.marks,
            self.note(frame),
            frame.glyphs,
        )
        return self._plotter.draw(chart, width, height)


class LossChart(ChartPanel):
    """D and G losses, with the loss's equilibrium as guide lines.

    Where D is an autoencoder, its convergence measure M stands beside them.
    """

    title = "Losses"
    series = (MetricLine("d_loss", "D", "D", palette.D), MetricLine("g_loss", "G", "G", palette.G))
    convergence = MetricLine("convergence", "M", "M", palette.CHANGE)

    def shown(self, frame: Frame) -> tuple[MetricLine, ...]:
        """Both losses, and M where it is measured."""
        of_errors = LOSSES[frame.snapshot.controls.loss].d_kind == "autoencoder"
        return (*self.series, self.convergence) if of_errors else self.series

    def guides(self, frame: Frame) -> list[tuple[float, str]]:
        """Where D and G would stand if fakes could not be told from reals."""
        controls = frame.snapshot.controls
        d, g = LOSSES[controls.loss].equilibrium(controls)
        both = ((d, palette.D), (g, palette.G))
        return [(value, palette.BANDS[color]) for value, color in both if value is not None]

    def note(self, frame: Frame) -> str:
        """The loss in force."""
        return LOSSES[frame.snapshot.controls.loss].title


class AccuracyChart(ChartPanel):
    """D's accuracy on real and on fake samples."""

    title = "D accuracy"
    fixed = (0.0, 1.0)
    both = (
        MetricLine("d_acc_real", "R", "real", palette.REAL),
        MetricLine("d_acc_fake", "F", "fake", palette.FAKE),
    )
    ranking = (MetricLine("d_auc", "A", "P(real>fake)", palette.D),)

    def shown(self, frame: Frame) -> tuple[MetricLine, ...]:
        """One line, the ranking rate, where the loss has no threshold."""
        return (
            self.both
            if LOSSES[frame.snapshot.controls.loss].threshold is not None
            else (self.ranking)
        )

    def guides(self, frame: Frame) -> list[tuple[float, str]]:
        """Chance."""
        return [(0.5, palette.FAINT)]


class GradientChart(ChartPanel):
    """Gradient norms of D and G, on a log scale."""

    title = "Gradient norm"
    log_scale = True
    series = (
        MetricLine("grad_norm_d", "D", "D", palette.D),
        MetricLine("grad_norm_g", "G", "G", palette.G),
    )

    def note(self, frame: Frame) -> str:
        """The scale."""
        return "log"


class DiversityChart(ChartPanel):
    """How different the fakes are from each other, in % of the reals."""

    title = "Diversity"
    series = (MetricLine("diversity", "%", "%", palette.CHANGE),)

    def guides(self, frame: Frame) -> list[tuple[float, str]]:
        """As diverse as the data."""
        return [(100.0, palette.FAINT)]

    def note(self, frame: Frame) -> str:
        """What 100 means."""
        return "% of real data"


class ScoreChart(ChartPanel):
    """D's mean raw scores of real and fake samples."""

    title = "D scores"
    series = (
        MetricLine("score_real", "R", "real", palette.REAL),
        MetricLine("score_fake", "F", "fake", palette.FAKE),
    )

    def note(self, frame: Frame) -> str:
        """What is averaged."""
        return "batch mean"


class WeightChart(ChartPanel):
    """Weight norms of D and G."""

    title = "Weight norm"
    series = (
        MetricLine("weight_norm_d", "D", "D", palette.D),
        MetricLine("weight_norm_g", "G", "G", palette.G),
    )
