"""The main screen: every panel, laid out for the room there is."""

from __future__ import annotations

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


class CockpitScreen(Screen[None]):
    """Charts left, samples right, controls and events below; classes come from the app's sizes."""

    DEFAULT_CSS = """
    CockpitScreen { background: $background; layers: base; }
    #status { height: 1; background: $panel; }
    #banner { height: 2; background: $background; }
    #small { display: none; height: 1fr; content-align: center middle; text-align: center; }
    #body { height: 1fr; layout: grid; grid-size: 2 3; grid-columns: 36 1fr;
            grid-rows: 1fr 3 1; grid-gutter: 0; }
    #charts { layout: grid; grid-size: 1; grid-rows: 1fr; height: 100%; }
    #samples { height: 100%; }
    #controls, #events { column-span: 2; height: 100%; }
    #controls { background: $panel; }
    #events { background: $background; }
    .more { display: none; }

    .-normal.-tall #status, .-wide.-tall #status,
    .-normal.-high #status, .-wide.-high #status { height: 2; }
    .-normal.-tall #body, .-wide.-tall #body, .-normal.-high #body, .-wide.-high #body {
        grid-columns: 1fr 58; grid-rows: 1fr 3 5; grid-gutter: 0 1; }
    .-normal.-tall #samples, .-wide.-tall #samples,
    .-normal.-high #samples, .-wide.-high #samples { row-span: 2; }
    .-normal.-tall #controls, .-wide.-tall #controls,
    .-normal.-high #controls, .-wide.-high #controls { row-span: 2; column-span: 1; }
    .-normal.-tall #events, .-wide.-tall #events,
    .-normal.-high #events, .-wide.-high #events { column-span: 1; }
    .-normal.-high #diversity { display: block; }
    .-wide.-tall #charts, .-wide.-high #charts { grid-size: 2; grid-gutter: 0 1; }
    .-wide.-tall .more, .-wide.-high .more { display: block; }
    .-wide.-high #body { grid-columns: 1fr 86; grid-rows: 1fr 1 7; }

    .-tiny #body, .-tiny #status, .-tiny #banner,
    .-flat #body, .-flat #status, .-flat #banner { display: none; }
    .-tiny #small, .-flat #small { display: block; }
    """

    def compose(self) -> ComposeResult:
        """Every panel, once; what has no room is hidden by its class."""
        yield StatusPanel(id="status")
        yield BannerPanel(id="banner")
        with Container(id="body"):
            with Container(id="charts"):
                yield LossChart(id="losses")
                yield ScoreChart(id="scores", classes="more")
                yield AccuracyChart(id="accuracy")
                yield DiversityChart(id="diversity", classes="more")
                yield GradientChart(id="gradients")
                yield WeightChart(id="weights", classes="more")
            yield SamplesPanel(id="samples")
            yield ControlsPanel(id="controls")
            yield EventsPanel(id="events")
        yield Static("Too small to show anything.\nTraining goes on.", id="small")

    def show(self, frame: Frame, samples: bool) -> None:
        """Hand a frame to every panel that is seen; ``samples`` where there is a new picture."""
        for panel in self.query(Panel):
            seen = panel.display or isinstance(panel, BannerPanel)
            if seen and (samples or not isinstance(panel, SamplesPanel)):
                panel.show(frame)
