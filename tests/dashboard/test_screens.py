"""Every screen at three sizes against its committed picture.

A picture is text, so that a change is read in the diff: the characters of the screen, then row by
row the styles, each with how many cells it covers, then what each style is. The screens show the
canned session of `ganterm demo` at a fixed step, without the measured cost of the dashboard, and so
look the same on every machine.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from difflib import unified_diff
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from string import ascii_letters
from typing import Any

import pytest
from textual._compositor import LayoutUpdate
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen
from textual.strip import Strip
from textual.widgets import Input

from ganterm.dashboard.app import Dashboard
from ganterm.dashboard.budget import Budget
from ganterm.dashboard.demo import COLLAPSE_AT, DemoSession
from ganterm.dashboard.screens.alarms import AlarmsScreen
from ganterm.dashboard.screens.cockpit import CockpitScreen
from ganterm.dashboard.screens.help import HelpScreen
from ganterm.dashboard.screens.prompt import PromptScreen
from ganterm.dashboard.screens.quit import QuitScreen
from ganterm.dashboard.welcome import Choice, WelcomeApp
from tests.dashboard.test_dashboard import SIZES

PICTURES = Path(__file__).parent / "screens"
MOST_BYTES = 400_000
"""Bytes that all pictures together may take in the repository."""
ACCEPT = "GANTERM_ACCEPT_SCREENS"
"""The environment variable that has the pictures written instead of compared."""
MOST_LINES = 60
"""Lines of the difference that a failure shows."""
HEALTHY_AT = COLLAPSE_AT - 500
SCREENS: dict[str, tuple[int, str, type[Screen[Any]]]] = {
    "healthy": (HEALTHY_AT, "", CockpitScreen),
    "collapse": (COLLAPSE_AT + 50, "", CockpitScreen),
    "diagnosis": (COLLAPSE_AT + 50, "2", CockpitScreen),
    "help": (HEALTHY_AT, "question_mark", HelpScreen),
    "alarms": (COLLAPSE_AT + 50, "exclamation_mark", AlarmsScreen),
    "prompt": (HEALTHY_AT, "colon", PromptScreen),
    "quit": (HEALTHY_AT, "q", QuitScreen),
}
"""The screens of the dashboard: the demo's step, the key that opens each, and its class."""
CHOICES = (
    Choice("ring8-live", "a live run", "Started a minute ago.", "1,234", "attach", "/runs/live"),
    Choice("digits", "an ended run", "Stopped at step 900.", "900", "resume", "/runs/digits"),
    Choice("mnist_mlp", "MLP GAN on MNIST digits", "Recognisable digits.", "1 min"),
    Choice("ring8", "Eight Gaussians on a ring", "A ring of modes.", "20 s"),
)


def picture(app: App[Any]) -> str:
    """The screen as text, with the screens that lie below a dialog."""
    # As Textual's own export_screenshot has it.
    compositor, below = app.screen._compositor, app._background_screens
    update = compositor.render_update(full=True, screen_stack=below, simplify=True)
    assert isinstance(update, LayoutUpdate)
    rows = [Strip.join(list(row)) for row in update.strips]
    names: dict[str, str] = {}
    styles = [_runs(row, names) for row in rows]
    legend = [f"{name} {style}" for name, style in sorted(names.items())]
    return "\n".join([*(row.text.rstrip() for row in rows), *styles, *legend, ""])


def _runs(row: Strip, names: dict[str, str]) -> str:
    """The styles of a row, each with the number of its cells."""
    named = [(_name(str(segment.style), names), segment.cell_length) for segment in row]
    runs = groupby(named, key=itemgetter(0))
    return " ".join(f"{name}{sum(length for _, length in run)}" for name, run in runs)


def _name(style: str, names: dict[str, str]) -> str:
    """Three letters that depend on the style alone, unless another style of the screen has them.

    A style that is new to a screen then changes only the rows where it appears.
    """
    digest = b""
    while True:
        digest = sha256(style.encode() + digest).digest()
        name = "".join(ascii_letters[byte % len(ascii_letters)] for byte in digest[:3])
        if names.setdefault(name, style) == style:
            return name


def compare(app: App[Any], name: str, drawn: str, folder: Path) -> None:
    """Compare with the committed picture, or write it where that was asked for."""
    committed = PICTURES / f"{name}.txt"
    if os.environ.get(ACCEPT):
        committed.parent.mkdir(exist_ok=True)
        committed.write_text(drawn, encoding="utf-8")
        return
    before = committed.read_text(encoding="utf-8") if committed.exists() else ""
    if drawn == before:
        return
    new, svg = folder / committed.name, folder / f"{name}.svg"
    new.write_text(drawn, encoding="utf-8")
    svg.write_text(app.export_screenshot(), encoding="utf-8")
    lines = list(
        unified_diff(
            before.splitlines(), drawn.splitlines(), str(committed), str(new), lineterm="", n=0
        )
    )
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = [f"... and {len(lines) - MOST_LINES} lines more"]
    pytest.fail(
        "\n".join(
            [
                f"The screen {name} does not look as committed.",
                *lines,
                f"The new picture: {new}, and for a browser {svg}.",
                f"If the change is meant, run `{ACCEPT}=1 pytest tests/dashboard/test_screens.py`, "
                "look at what it changes in tests/dashboard/screens, and commit that too.",
            ]
        ),
        pytrace=False,
    )


async def at_rest(app: App[Any], pilot: Pilot[Any], refresh: Callable[[], None]) -> str:
    """The picture, once it stays the same while all is drawn anew."""
    drawn, before = picture(app), ""
    while drawn != before:
        refresh()
        for _ in range(3):
            await pilot.pause()
        drawn, before = picture(app), drawn
    return drawn


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", SCREENS)
async def test_a_screen_looks_as_committed(
    name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The cost is measured, so it differs from machine to machine.
    monkeypatch.setattr(Budget, "tick", lambda *_: None)
    step, key, screen = SCREENS[name]
    session = DemoSession(step)
    session.snapshot = replace(session.snapshot, memory_bytes=512 << 20)
    app = Dashboard(session)
    async with app.run_test(size=size) as pilot:
        await at_rest(app, pilot, app._show_anew)
        await pilot.press(*([key] if key else []))
        assert type(app.screen) is screen
        for field in app.screen.query(Input):
            field.cursor_blink = False
        drawn = await at_rest(app, pilot, app._show_anew)
        compare(app, f"{name}-{size[0]}x{size[1]}", drawn, tmp_path)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_welcome_screen_looks_as_committed(size: tuple[int, int], tmp_path: Path) -> None:
    app = WelcomeApp(CHOICES)
    async with app.run_test(size=size) as pilot:
        drawn = await at_rest(app, pilot, app.refresh)
        compare(app, f"welcome-{size[0]}x{size[1]}", drawn, tmp_path)


def test_no_picture_is_left_over_and_all_are_small() -> None:
    pictures = {path.name: path.stat().st_size for path in PICTURES.iterdir()}
    expected = {
        f"{name}-{columns}x{rows}.txt" for name in (*SCREENS, "welcome") for columns, rows in SIZES
    }
    assert pictures.keys() == expected, "tests/dashboard/screens: delete what no test compares"
    assert sum(pictures.values()) < MOST_BYTES, "keep fewer screens, or smaller ones"
