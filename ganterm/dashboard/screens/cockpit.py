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
from ganterm.dashboard.panels.events import EventsPanel
from ganterm.dashboard.panels.panel import Panel
from ganterm.dashboard.panels.samples import SamplesPanel
from ganterm.dashboard.panels.status import StatusPanel
from ganterm.dashboard.terminal import LEAST_SIZE

CSS = """
CockpitScreen { background: $background; }
#status { height: 1; }
#banner { height: 2; }
#notice { display: none; height: 1fr; content-align: center middle; text-align: center; }
#body { height: 1fr; layout: grid; grid-size: 2 3; grid-gutter: 0 1;
        grid-columns: 36 1fr; grid-rows: 1fr 3 1; }
#charts { layout: grid; grid-size: 1; grid-rows: 1fr; grid-gutter: 0 1; height: 100%; }
#samples { height: 100%; }
#controls, #events { column-span: 2; height: 100%; }
.extra { display: none; }

.small #samples { padding: 0 0 0 1; }

.medium #status, .large #status { height: 2; }
.medium #body { grid-columns: 1fr 60; grid-rows: 1fr 3 5; }
.medium #samples, .large #samples { row-span: 2; }
.medium #controls, .large #controls { row-span: 2; column-span: 1; }
.medium #events, .large #events { column-span: 1; }
.large #body { grid-columns: 1fr 86; grid-rows: 1fr 2 6; }
.large #charts { grid-size: 2; }
.large .extra { display: block; }

.tiny #body, .tiny #status, .tiny #banner { display: none; }
.tiny #notice { display: block; }

.ascii QuitScreen > Vertical, .ascii HelpScreen > VerticalScroll { border: ascii $primary; }
.ascii HelpScreen > VerticalScroll { scrollbar-size: 0 0; }
.ascii PromptScreen > Vertical { border-top: ascii $primary; }
"""
"""The layouts, for the app: a screen's own rules do not see classes of the screen itself."""

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
    """Charts left, samples right, controls and events below; the class names the layout."""

    def __init__(self) -> None:
        super().__init__()
        self._panels: list[Panel] = []

    def compose(self) -> ComposeResult:
        """Every panel, once; what has no room is hidden by its class."""
        yield StatusPanel(id="status")
        yield BannerPanel(id="banner")
        with Container(id="body"):
            with Container(id="charts"):
                yield LossChart(id="losses")
                yield ScoreChart(id="scores", classes="extra")
                yield AccuracyChart(id="accuracy")
                yield DiversityChart(id="diversity", classes="extra")
                yield GradientChart(id="gradients")
                yield WeightChart(id="weights", classes="extra")
            yield SamplesPanel(id="samples")
            yield ControlsPanel(id="controls")
            yield EventsPanel(id="events")
        yield Static("Too small to show anything.\nTraining goes on.", id="notice")

    def on_mount(self) -> None:
        """Find the panels, which stay the same ones."""
        self._panels = list(self.query(Panel))

    def on_resize(self, event: events.Resize) -> None:
        """Choose the layout for the room there is."""
        fitting = layout(event.size.width, event.size.height)
        for name in LAYOUTS:
            self.set_class(name == fitting, name)

    def show(self, frame: Frame, samples: bool) -> None:
        """Hand a frame to every panel that is seen; ``samples`` where there is a new picture."""
        for panel in self._panels:
            seen = panel.display or isinstance(panel, BannerPanel)
            if seen and (samples or not isinstance(panel, SamplesPanel)):
                panel.show(frame)
