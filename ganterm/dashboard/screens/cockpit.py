"""The main screen: every panel, laid out for the room there is."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.screen import Screen
from textual.widgets import Static

from ganterm.dashboard.frame import Frame
from ganterm.dashboard.panels.banner import BannerPanel
from ganterm.dashboard.panels.charts import (
    AccuracyChart,
    DiversityChart,
    GradientChart,
    LossChart,
    ScoreChart,
    WeightChart,
)
from ganterm.dashboard.panels.controls import ControlsPanel
from ganterm.dashboard.panels.diagnosis import DiagnosisPanel
from ganterm.dashboard.panels.diversity import DistanceCurve, DiversityCurve
from ganterm.dashboard.panels.events import EventsPanel
from ganterm.dashboard.panels.layers import LayersPanel
from ganterm.dashboard.panels.modes import ModesPanel
from ganterm.dashboard.panels.panel import Panel
from ganterm.dashboard.panels.readings import ReadingsPanel
from ganterm.dashboard.panels.samples import SamplesPanel
from ganterm.dashboard.panels.scores import ScoresPanel
from ganterm.dashboard.panels.status import StatusPanel
from ganterm.dashboard.terminal.capabilities import LEAST_SIZE

CSS = """
CockpitScreen { background: $background; }
#status { height: 1; }
#banner { height: 2; }
#notice { display: none; height: 1fr; content-align: center middle; text-align: center; }
#overview { height: 1fr; layout: grid; grid-size: 2 4; grid-gutter: 0 1;
            grid-columns: 36 1fr; grid-rows: 1fr 2 3 1; }
#charts { layout: grid; grid-size: 1; grid-rows: 1fr; grid-gutter: 0 1; height: 100%;
          row-span: 2; }
#samples, #health { height: 100%; }
#controls, #events { column-span: 2; height: 100%; }
.extra { display: none; }

.small #samples, .small #health { padding: 0 0 0 1; }

.medium #status, .large #status { height: 2; }
.medium #overview { grid-columns: 1fr 60; grid-rows: 1fr 6 3 5; }
.medium #charts { row-span: 1; }
.medium #samples { row-span: 3; }
.medium #controls, .large #controls { row-span: 2; column-span: 1; }
.medium #events { column-span: 1; }
.large #overview { grid-columns: 1fr 86; grid-rows: 1fr 11 2 6; }
.large #charts { grid-size: 2; }
.large #events { row-span: 2; column-span: 1; }
.large .extra { display: block; }

#diagnosis { display: none; height: 1fr; }
.diagnosis #diagnosis { display: block; }
.diagnosis #overview { display: none; }
#findings { height: 1fr; layout: grid; grid-size: 2 3; grid-gutter: 0 1;
            grid-columns: 1fr 1fr; grid-rows: 6fr 7fr 7fr; }
#findings > Panel { height: 100%; }
#modes { row-span: 2; }
#distance { display: none; }
#steering { height: 3; }
.medium #findings { grid-size: 3 6; grid-columns: 34 38 1fr; grid-rows: 6 6 1fr 1fr 1fr 1fr; }
.large #findings { grid-size: 3 6; grid-columns: 1fr; grid-rows: 8 8 1fr 1fr 1fr 1fr; }
.medium #score_histogram, .large #score_histogram { row-span: 2; }
.medium #diversity_curve, .large #diversity_curve { row-span: 2; }
.medium #distance, .large #distance { display: block; row-span: 2; }
.medium #layers, .large #layers { row-span: 4; }
.medium #readings, .large #readings { row-span: 6; }

.tiny #overview, .tiny #diagnosis, .tiny #status, .tiny #banner { display: none; }
.tiny #notice { display: block; }

.ascii QuitScreen > Vertical, .ascii HelpScreen > VerticalScroll { border: ascii $primary; }
.ascii HelpScreen > VerticalScroll { scrollbar-size: 0 0; }
.ascii AlarmsScreen > Vertical { border: ascii $primary; }
.ascii AlarmsScreen OptionList { scrollbar-size: 0 0; }
.ascii PromptScreen > Vertical { border-top: ascii $primary; }
"""
"""The layouts, for the app: a screen's own rules do not see classes of the screen itself."""

BODIES = ("overview", "diagnosis")
LAYOUTS = ("tiny", "small", "medium", "large")


def layout(columns: int, rows: int) -> str:
    """The layout for a terminal of this size."""
    least_columns, least_rows = LEAST_SIZE
    if columns < least_columns or rows < least_rows:
        return "tiny"
    if columns >= 170 and rows >= 46:
        return "large"
    return "medium" if columns >= 110 and rows >= 32 else "small"


class CockpitScreen(Screen[None]):
    """The status line, the banner, and one of two bodies; a class each names body and layout.

    The overview: charts left, samples right, controls and events below. Diagnosis in full: what
    was found in G and D, over the same controls.
    """

    def __init__(self) -> None:
        super().__init__()
        self._panels: dict[str, list[Panel]] = {}
        self.samples = SamplesPanel(id="samples")

    def compose(self) -> ComposeResult:
        """Every panel, once; what has no room is hidden by its class."""
        yield StatusPanel(id="status")
        yield BannerPanel(id="banner")
        with Container(id="overview"):
            with Container(id="charts"):
                yield LossChart(id="losses")
                yield ScoreChart(id="scores", classes="extra")
                yield AccuracyChart(id="accuracy")
                yield DiversityChart(id="diversity", classes="extra")
                yield GradientChart(id="gradients")
                yield WeightChart(id="weights", classes="extra")
            yield self.samples
            yield DiagnosisPanel(id="health")
            yield ControlsPanel(id="controls")
            yield EventsPanel(id="events")
        with Container(id="diagnosis"):
            with Container(id="findings"):
                yield ScoresPanel(id="score_histogram")
                yield ModesPanel(id="modes")
                yield ReadingsPanel(id="readings")
                yield LayersPanel(id="layers")
                yield DiversityCurve(id="diversity_curve")
                yield DistanceCurve(id="distance")
            yield ControlsPanel(id="steering", classes="compact")
        yield Static("Too small to show anything.\nTraining goes on.", id="notice", markup=False)

    def on_mount(self) -> None:
        """Find the panels, which stay the same ones."""
        always = [*self.query(StatusPanel), *self.query(BannerPanel)]
        for body in BODIES:
            self._panels[body] = [*always, *self.query_one(f"#{body}").query(Panel)]

    def on_resize(self, event: events.Resize) -> None:
        """Choose the layout for the room there is."""
        fitting = layout(event.size.width, event.size.height)
        for name in LAYOUTS:
            self.set_class(name == fitting, name)

    def turn_to(self, body: str) -> None:
        """Show the overview, or diagnosis in full."""
        self.set_class(body == "diagnosis", "diagnosis")

    @property
    def body(self) -> str:
        """Which of BODIES is shown."""
        return "diagnosis" if self.has_class("diagnosis") else "overview"

    def show(self, frame: Frame, samples: bool) -> None:
        """Hand a frame to every panel that is seen; ``samples`` where there is a new picture."""
        for panel in self._panels.get(self.body, ()):
            seen = panel.display or isinstance(panel, BannerPanel)
            if seen and (samples or not isinstance(panel, SamplesPanel)):
                panel.show(frame)
        self.app.send()  # type: ignore[attr-defined]
