"""Every panel has its place: a file in panels/ whose panel no layout shows is found here."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace

from ganterm.core.snapshot import Failure
from ganterm.dashboard import panels
from ganterm.dashboard.app import Dashboard
from ganterm.dashboard.demo import DemoSession
from ganterm.dashboard.panels.panel import Panel
from tests.dashboard.test_dashboard import SIZES


def panel_classes() -> set[type[Panel]]:
    """The panels that draw: the classes in panels/ that no other panel there derives from."""
    for module in pkgutil.iter_modules(panels.__path__):
        importlib.import_module(f"{panels.__name__}.{module.name}")
    classes: set[type[Panel]] = set()
    waiting: list[type[Panel]] = [Panel]
    while waiting:
        one = waiting.pop()
        derived = [c for c in one.__subclasses__() if c.__module__.startswith(panels.__name__)]
        waiting += derived
        if not derived:
            classes.add(one)
    return classes


async def test_every_panel_is_seen_in_a_layout() -> None:
    seen: set[type[Panel]] = set()
    for size in SIZES:
        session = DemoSession(500)
        session.snapshot = replace(session.snapshot, failure=Failure("so that the banner is seen"))
        app = Dashboard(session)
        async with app.run_test(size=size) as pilot:
            for key in ("1", "2"):
                await pilot.press(key)
                app.tick()
                await pilot.pause(0.05)
                shown = (p for p in app.screen.query(Panel) if p.is_on_screen and p.size.area)
                seen |= {type(panel) for panel in shown}
    forgotten = sorted(panel.__name__ for panel in panel_classes() - seen)
    assert not forgotten, (
        f"no layout shows {', '.join(forgotten)}: add it to CockpitScreen.compose, and its id to "
        "the grids in CSS, both in ganterm/dashboard/screens/cockpit.py"
    )
