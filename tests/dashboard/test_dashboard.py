"""The dashboard through Textual's Pilot, fed by a board instead of a trainer: no torch here."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.geometry import Spacing
from textual.pilot import Pilot
from textual.strip import Strip
from textual.widget import Widget

from ganterm.core.controls import KNOBS, Controls
from ganterm.core.errors import UserError
from ganterm.core.events import ChangeEvent, CheckpointEvent, RefusedEvent, StartEvent
from ganterm.core.findings import Alarm
from ganterm.core.metrics import METRICS
from ganterm.core.snapshot import (
    Command,
    Failure,
    Link,
    NewNoise,
    OneStep,
    Painter,
    Pause,
    Rates,
    RunInfo,
    Sample,
    SaveCheckpoint,
    SaveSamples,
    SetControl,
    State,
    Stop,
    Unpause,
    View,
    ViewName,
)
from ganterm.dashboard.app import Dashboard
from ganterm.dashboard.budget import LEVELS, PICTURES, Budget, Cost
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.keys import ACTIONS
from ganterm.dashboard.panels.charts import LossChart
from ganterm.dashboard.panels.controls import listed
from ganterm.dashboard.panels.events import EventsPanel
from ganterm.dashboard.panels.panel import Panel
from ganterm.dashboard.panels.samples import SamplesPanel
from ganterm.dashboard.screens.cockpit import CockpitScreen
from ganterm.dashboard.screens.help import HelpScreen
from ganterm.dashboard.screens.prompt import PromptScreen
from ganterm.dashboard.screens.quit import QuitScreen
from ganterm.losses import choices_of, controls_with
from ganterm.session.board import Board

SIZES = [(80, 24), (120, 36), (200, 60)]
TIME = "2026-01-01T00:00:00+00:00"


def running(step: int = 1234, state: State = "running", **known: Any) -> Board:
    """A board as a trainer leaves it in the midst of a run."""
    board = Board()
    random = np.random.default_rng(0)
    rows = random.random((step, len(METRICS))).astype(np.float32)
    board.recording.append(rows)
    info = RunInfo(
        name="r", preset="mnist_mlp", data="mnist10k", device="cpu, 1 thread", batch_size=64
    )
    images = random.integers(0, 255, (64, 28, 28, 1), dtype=np.uint8)
    board.snapshot = replace(
        board.snapshot,
        state=state,
        step=step,
        info=info,
        scalars=dict(zip(METRICS, rows[-1].tolist(), strict=True)),
        sample=Sample(step, images=images),
        rates=Rates(321.0, 20_544.0),
        **known,
    )
    board.pin(StartEvent())
    return board


@asynccontextmanager
async def shown(
    board: Board, size: tuple[int, int] = (120, 36), glyphs: Glyphs | None = None
) -> AsyncIterator[tuple[Dashboard, Pilot[int]]]:
    app = Dashboard(board, glyphs)
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.05)
        app.tick()
        await pilot.pause(0.05)
        yield app, pilot


def screen_text(app: Dashboard) -> str:
    _, height = app.size
    lines = app.screen._compositor.render_strips()
    assert len(lines) == height
    return "\n".join(strip.text for strip in lines)


def notices(app: Dashboard) -> str:
    return "\n".join(notice.message for notice in app._notifications)


def obey(board: Board) -> None:
    """Do with set commands what a trainer does."""
    for command in board.commands:
        assert isinstance(command, SetControl)
        controls = controls_with(board.snapshot.controls, command.name, command.value)
        board.snapshot = replace(board.snapshot, controls=controls)
    board.commands.clear()


KEYS = [
    (key, knob.name, direction)
    for knob in KNOBS.values()
    if knob.keys
    for key, direction in zip(knob.keys, (-1, 1), strict=True)
]


@pytest.mark.parametrize(("key", "name", "direction"), KEYS)
async def test_every_control_key_asks_for_the_next_value(
    key: str, name: str, direction: int
) -> None:
    board = running(controls=Controls(k=5, l=5))
    async with shown(board) as (_, pilot):
        await pilot.press(key)
    controls = board.snapshot.controls
    expected = KNOBS[name].nudge(controls.value(name), direction, choices_of(controls, name))
    assert list(board.commands) == [SetControl(name, expected, "key")]


async def test_quick_presses_add_up_and_the_panel_shows_what_was_asked() -> None:
    board = running()
    async with shown(board) as (app, pilot):
        await pilot.press("K", "K", "K")
        app.tick()
        await pilot.pause()
        assert [c.value for c in board.commands] == [2, 3, 4]
        assert "k    1→4" in screen_text(app)
        obey(board)
        app.tick()
        await pilot.pause()
        assert "→4" not in screen_text(app)
        await pilot.press("k")
        assert list(board.commands) == [SetControl("k", 3, "key")]


async def test_a_refusal_takes_the_wish_back() -> None:
    board = running()
    async with shown(board) as (app, pilot):
        await pilot.press("K")
        board.pin(RefusedEvent(step=5, key="k", to="2", reason="k: no"))
        app.tick()
        await pilot.pause()
        assert "→2" not in screen_text(app)
        assert "refused: k: no" in screen_text(app)


@pytest.mark.parametrize(
    ("key", "state", "command"),
    [
        ("space", "running", Pause()),
        ("space", "paused", Unpause()),
        ("full_stop", "paused", OneStep()),
        ("r", "running", NewNoise()),
        ("s", "running", SaveSamples()),
        ("w", "running", SaveCheckpoint()),
    ],
)
async def test_keys_that_command_the_trainer(key: str, state: State, command: Command) -> None:
    board = running(state=state)
    async with shown(board) as (_, pilot):
        await pilot.press(key)
    assert list(board.commands) == [command]


async def test_the_prompt_sets_refuses_and_completes() -> None:
    board = running()
    async with shown(board) as (app, pilot):
        await pilot.press("colon", *"lr_d 1e-4", "enter")
        await pilot.pause()
        assert board.commands.pop() == SetControl("lr_d", 1e-4, "prompt")
        await pilot.press("colon", *"k 1000", "enter")
        await pilot.pause()
        assert isinstance(app.screen, PromptScreen), "a refusal keeps the line"
        assert "k: 1000 is not a whole number from 1 to 100" in screen_text(app)
        await pilot.press("escape")
        await pilot.press("colon", *"instance_n")
        await pilot.pause(0.3)
        await pilot.press("tab", *" 0.2", "enter")
        await pilot.pause()
        assert board.commands.pop() == SetControl("instance_noise", 0.2, "prompt")
        await pilot.press("colon", "enter")
        await pilot.pause()
        assert not isinstance(app.screen, PromptScreen)
        assert not board.commands


async def test_help_is_made_from_the_controls_and_the_keys() -> None:
    async with shown(running(), (120, 100)) as (app, pilot):
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        told = screen_text(app)
        assert all(name in told for name in KNOBS)
        assert all(does in told for _, _, _, does in ACTIONS)
        await pilot.press("escape")
        await pilot.pause()
        assert not isinstance(app.screen, HelpScreen)


async def test_every_action_and_control_is_in_the_palette() -> None:
    board = running()
    async with shown(board) as (app, pilot):
        titles = [command.title for command in app.get_system_commands(app.screen)]
        actions = {does[0].upper() + does[1:] for _, _, _, does in ACTIONS}
        assert actions <= set(titles)
        assert {f"{name} up" for name in KNOBS} <= set(titles)
        assert "loss hinge" in titles
        nudge = next(c for c in app.get_system_commands(app.screen) if c.title == "clip up")
        app.call_later(nudge.callback)
        await pilot.pause()
    assert list(board.commands) == [SetControl("clip", 0.0125, "key")]


async def test_quit_asks_then_stops_and_leaves_once_all_is_saved() -> None:
    board = running()
    async with shown(board) as (app, pilot):
        await pilot.press("q")
        await pilot.pause()
        assert isinstance(app.screen, QuitScreen)
        await pilot.press("escape")
        assert not board.commands
        await pilot.press("ctrl+q", "enter")
        await pilot.pause()
        assert isinstance(board.commands.pop(), Stop)
        app.tick()
        assert app.return_value is None, "the trainer has not saved yet"
        board.snapshot = replace(board.snapshot, state="stopped")
        app.tick()
        assert app.return_value == 0


async def test_ctrl_c_asks_then_stops_then_leaves_now() -> None:
    board = running()
    async with shown(board) as (app, pilot):
        await pilot.press("ctrl+c")
        await pilot.pause()
        assert isinstance(app.screen, QuitScreen)
        assert not board.commands
        await pilot.press("ctrl+c")
        await pilot.pause()
        assert isinstance(board.commands.pop(), Stop)
        await pilot.press("ctrl+c")
        await pilot.pause()
        assert app.leaving_now
        assert app.return_value == 130


async def test_a_run_of_this_process_can_be_left_training() -> None:
    board = running()
    async with shown(board) as (app, pilot):
        await pilot.press("q", "l")
        await pilot.pause()
        assert app.return_value == 0 and app.left_training
    assert not board.commands and board.samples_per_s == 0
    assert [kind for kind, _ in board.notes] == ["attach", "detach"]


@pytest.mark.parametrize(
    ("keys", "code"), [(("q", "enter"), 0), (("q", "l"), 0), (("ctrl+c", "ctrl+c"), 130)]
)
async def test_an_attached_dashboard_leaves_and_the_run_goes_on(
    keys: tuple[str, ...], code: int
) -> None:
    board = running()
    board.link = Link("attached")
    async with shown(board) as (app, pilot):
        assert "attached" in screen_text(app).splitlines()[0]
        await pilot.press(*keys)
        await pilot.pause()
        assert app.return_value == code and app.left_training
    assert not board.commands


async def test_a_silent_trainer_is_told_and_asked_nothing() -> None:
    board = running()
    board.link = Link("stale", age=8.4)
    async with shown(board) as (app, pilot):
        text = screen_text(app)
        assert "stale 8 s" in text.splitlines()[0] and "no sign of life" in text
        await pilot.press("K")
        await pilot.press("q", "s")
        await pilot.pause()
        assert app.return_value is None and "silent" in notices(app)
        board.link = Link("ended")
        app.tick()
        await pilot.pause(0.1)
        assert "ended" in screen_text(app).splitlines()[0]
    assert not board.commands


@pytest.mark.parametrize(("state", "code"), [("finished", 0), ("failed", 1)])
async def test_an_ended_run_stays_on_screen_until_q(state: State, code: int) -> None:
    board = running(state=state)
    async with shown(board) as (app, pilot):
        app.tick()
        assert app.return_value is None
        await pilot.press("q")
        assert app.return_value == code


async def test_a_users_mistake_ends_the_dashboard_with_2() -> None:
    board = running(state="failed", failure=Failure("device cuda: none", mistake=True))
    async with shown(board) as (app, _):
        assert app.return_value == 2


@pytest.mark.parametrize("size", SIZES)
async def test_the_four_and_the_controls_are_on_the_first_screen(size: tuple[int, int]) -> None:
    async with shown(running(), size) as (app, _):
        told = screen_text(app)
        for word in ("Losses", "D accuracy", "Gradient norm", "Samples", "diversity"):
            assert word in told
        assert "mnist_mlp" in told and "1,234" in told and "321 step/s" in told
        assert "non_saturating" in told
        assert "2.00e-4" in told
        assert all(key in told for key in ("k/K", "l/L", "d/D", "g/G", "o/O", "quit"))
        assert "training starts" in told
        for panel in app.screen.query("#status, #overview Panel").results(Panel):
            if panel.display:
                assert panel.size.height > 0
                assert app.screen.region.contains_region(panel.region)


async def test_a_large_terminal_uses_its_room() -> None:
    async with shown(running(), (200, 60)) as (app, _):
        told = screen_text(app)
        assert all(word in told for word in ("Diversity", "D scores", "Weight norm", "Events"))


def raised(message: str) -> Alarm:
    return Alarm("name", "Title", message, since=10, raised=10)


async def test_alarms_and_failures_cannot_be_missed() -> None:
    board = running(alarms=(raised("step 10: D loss was not finite"),), state="paused")
    async with shown(board, (80, 24)) as (app, pilot):
        assert "■ ALARM Title: step 10: D loss was not finite" in screen_text(app)
        board.snapshot = replace(board.snapshot, alarms=(), state="running")
        app.tick()
        await pilot.pause()
        assert "not finite" not in screen_text(app)
        failure = Failure("out of memory")
        board.snapshot = replace(board.snapshot, state="failed", failure=failure)
        app.tick()
        await pilot.pause()
        assert "failed: out of memory" in screen_text(app)
        assert "Losses" in screen_text(app), "the curves stay"


async def test_loading_shows_what_and_how_far() -> None:
    board = Board()
    board.snapshot = replace(board.snapshot, doing="downloading train-images", progress=0.25)
    async with shown(board, (80, 24)) as (app, _):
        assert "downloading train-images" in screen_text(app)
        assert "25%" in screen_text(app)


async def test_resizing_at_any_moment_and_a_terminal_too_small() -> None:
    async with shown(running()) as (app, pilot):
        for size in ((200, 60), (40, 10), (1, 1), (80, 24), (61, 21), (300, 20), (120, 36)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.05)
            app.tick()
            await pilot.pause()
            if size == (40, 10):
                assert "Training goes on" in screen_text(app)
        assert "Losses" in screen_text(app)


async def test_pure_ascii_shows_no_other_character() -> None:
    board = running(alarms=(raised("something"),), controls=Controls(k=7))
    board.pin(ChangeEvent(step=7, key="k", before=1, after=7, by="key"))
    glyphs = Glyphs(unicode=False, pictures="ascii")
    for size in SIZES:
        async with shown(board, size, glyphs) as (app, pilot):
            assert screen_text(app).isascii()
            for key in ("question_mark", "q", "colon"):
                await pilot.press(key)
                await pilot.pause()
                assert screen_text(app).isascii(), key
                await pilot.press("escape")


async def test_marks_of_changes_are_on_every_chart() -> None:
    board = running()
    board.pin(ChangeEvent(step=600, key="lr_d", before=1e-3, after=2e-3, by="key"))
    async with shown(board) as (app, _):
        charts = [app.screen.query_one(f"#{name}") for name in ("losses", "accuracy", "gradients")]
        rows = [chart.render_line(1).text for chart in charts]
        assert len({row.index("d") for row in rows}) == 1
        assert "lr D 1.00e-3 → 2.00e-3" in screen_text(app)


async def test_wgan_shows_one_ranking_line() -> None:
    async with shown(running(controls=Controls(loss="wgan"))) as (app, _):
        assert "P(real>fake)" in screen_text(app)


def looks(strips: list[Strip]) -> list[list[tuple[object, ...]]]:
    """Each cell's character, the colour behind it, and, where it is no blank, its own."""
    return [
        [
            (c, s.style.bgcolor, (s.style.color, s.style.bold) if c != " " else None)
            for s in row
            for c in s.text
        ]
        for row in strips
    ]


@pytest.mark.parametrize(("size", "no_color"), [((80, 24), True), ((120, 36), False)])
async def test_what_is_kept_from_frame_to_frame_is_what_would_be_drawn_afresh(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], no_color: bool
) -> None:
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    board = running(controls=Controls(k=3))
    random = np.random.default_rng(1)
    change = ChangeEvent(key="k", before=3, after=4, by="key")
    happenings = [
        lambda app: app.action_nudge("k", 1),
        lambda app: board.pin(change.placed(board.snapshot.step, 0, TIME)),
        lambda app: obey(board),
        lambda app: app.action_zoom(),
        lambda app: app.use_glyphs(Glyphs(bool(random.integers(2)))),
        lambda app: setattr(board, "snapshot", replace(board.snapshot, alarms=(raised("x"),))),
        lambda app: setattr(board, "snapshot", replace(board.snapshot, alarms=())),
        lambda app: board.recording.append(random.random((99, len(METRICS)), np.float32)),
        lambda app: None,
    ]
    async with shown(board, size) as (app, pilot):
        for happening in random.permutation(np.repeat(np.arange(len(happenings)), 2)).tolist():
            happenings[happening](app)
            step = board.snapshot.step + 10
            images = random.integers(0, 255, (64, 28, 28, 1), dtype=np.uint8)
            board.snapshot = replace(board.snapshot, step=step, sample=Sample(step, images=images))
            app.tick()
            app._show_anew()
            await pilot.pause()
            for panel in app.screen.query(Panel):
                if not panel.display or not panel.size or panel._frame is None:
                    continue
                afresh = panel.draw(panel._frame, *panel.size).strips()
                shown_now = [panel.render_line(y) for y in range(panel.size.height)]
                assert looks(shown_now) == looks(afresh), panel.id
                whole = panel.outer_size.region
                by_textual = Widget.render_lines(panel, whole)
                assert looks(panel.render_lines(whole)) == looks(by_textual), panel.id
                part = whole.shrink(Spacing(0, 3, 1, 2))
                assert looks(panel.render_lines(part)) == looks(Widget.render_lines(panel, part))


async def test_an_unchanged_run_costs_no_drawing() -> None:
    board = running(state="paused")
    async with shown(board) as (app, pilot):
        drawn: list[int] = []
        for panel in app.screen.query(Panel):
            inner = panel.draw
            panel.draw = lambda *args, inner=inner: drawn.append(1) or inner(*args)  # type: ignore[method-assign, func-returns-value]
        for _ in range(8):
            app.tick()
        await pilot.pause()
        assert not drawn


async def test_zoom_and_screenshot(tmp_path: Any) -> None:
    board = running(step=5000)
    info = replace(board.snapshot.info, directory=str(tmp_path))
    board.snapshot = replace(board.snapshot, info=info)
    async with shown(board) as (app, pilot):
        assert screen_text(app).split("Gradient norm")[1].count(" 1 ") >= 1
        await pilot.press("z")
        await pilot.pause(0.1)
        app.tick()
        await pilot.pause()
        assert "3,001" in screen_text(app), "the newest 2,000 begin here"
        await pilot.press("p")
        await pilot.pause()
        files = list(tmp_path.glob("*.svg"))
        assert [file.name for file in files] == ["screenshot_0000005000.svg"]
        assert "Gradient" in files[0].read_text()


def test_the_budget_slows_down_when_over_and_comes_back() -> None:
    budget = Budget()
    assert budget.rates == (4.0, 2.0)
    budget.adjust(0.20, 10_000, late=False)
    assert budget.rates == LEVELS[1]
    budget.adjust(0.01, 150_000, late=False)
    assert budget.rates == LEVELS[2]
    budget.adjust(0.01, 1_000, late=True)
    assert budget.rates == LEVELS[3]
    for _ in range(20):
        budget.adjust(0.5, 0, late=True)
    assert budget.rates == LEVELS[-1]
    for _ in range(20):
        budget.adjust(0.001, 100, late=False)
    assert budget.rates == LEVELS[0]
    budget.adjust(0.025, 90_000, late=False)
    assert budget.rates == LEVELS[0], "within the budget, but not by much: nothing changes"


@given(st.floats(0, 0.2), st.floats(0, 0.3), st.floats(0, 3e5), st.floats(0, 5e5))
def test_the_budget_settles_whatever_frames_and_pictures_cost(
    chart_share: float, picture_share: float, chart_bytes: float, picture_bytes: float
) -> None:
    budget, levels = Budget(), []
    for _ in range(30):
        charts, samples = budget.rates
        pictures = samples * budget.cost.picture**2
        share = charts * chart_share + pictures * picture_share
        budget.adjust(share, charts * chart_bytes + pictures * picture_bytes, late=False)
        levels.append(budget.cost.level)
    assert len(set(levels[10:])) == 1


def test_a_smaller_picture_takes_the_middle_of_its_room() -> None:
    panel = SamplesPanel()
    sizes = []
    for level, share in enumerate(PICTURES):
        frame = Frame(running().snapshot, Board().history, cost=Cost(level=level))
        cells = panel.draw(frame, 86, 41)
        ink = np.argwhere(cells.chars[1:] != " ")
        (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0)
        assert abs(top - (39 - bottom)) <= 2 and abs(left - (85 - right)) <= 2
        assert bottom - top < max(10, 40 * share) and right - left < max(30, 86 * share)
        sizes.append(bottom - top)
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] < sizes[0]


def test_the_budget_does_not_judge_a_time_in_which_it_slept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    budget = Budget()
    for _ in range(6):
        clock[0] += 5
        budget.tick(bytes_sent=10**9)
    assert budget.rates == LEVELS[0]


async def test_two_quick_presses_of_space_are_on_and_off() -> None:
    board = running(state="paused")
    async with shown(board) as (_, pilot):
        await pilot.press("space", "space")
    assert list(board.commands) == [Unpause(), Pause()]


async def test_three_quick_ctrl_c_leave_now() -> None:
    board = running()
    async with shown(board) as (app, pilot):
        await pilot.press("ctrl+c", "ctrl+c", "ctrl+c")
        await pilot.pause()
        assert app.leaving_now
        assert len(board.commands) == 1


async def test_keys_after_the_end_say_so_and_do_nothing() -> None:
    board = running(state="finished")
    async with shown(board) as (app, pilot):
        await pilot.press("K", "space", "s", "colon")
        await pilot.pause()
        assert not board.commands
        assert not isinstance(app.screen, PromptScreen)
        assert "→" not in screen_text(app)


async def test_changes_in_one_column_all_keep_their_sign() -> None:
    board = running()
    for key in ("k", "loss", "lr_g"):
        board.pin(ChangeEvent(step=600, key=key, before=1, after=1, by="key"))
    async with shown(board) as (app, _):
        losses = app.screen.query_one("#losses")
        column = losses.render_line(1).text.index("k")
        assert [losses.render_line(row).text[column] for row in (1, 2, 3)] == ["k", "o", "g"]


ALL_VIEWS: tuple[ViewName, ...] = ("classes", "samples", "real", "walk", "nearest")


def viewed(
    name: ViewName, painter: Painter = "raw", classes: int = 10, points: bool = False
) -> Sample:
    """What a trainer makes of a wish."""
    random = np.random.default_rng(0)
    view, known = View(name, painter), {}
    count = {"classes": 8 * min(16, classes), "walk": 8 * 13, "nearest": 24, "real": 32}
    images = random.integers(0, 255, (count.get(name, 64), 28, 28, 1), dtype=np.uint8)
    if name == "classes":
        labels = tuple(f"class {i}" for i in range(min(16, classes)))
        known = {"across": 8, "rows": classes, "labels": labels}
    elif name == "walk":
        known = {"across": 13, "rows": 8, "labels": tuple("01234567")}
    elif name == "nearest":
        known = {"distances": np.arange(24, dtype=np.float32), "note": "nearest of 10,000"}
    if name in ("real", "nearest") or painter == "both":
        known["beside"] = images
    if points:
        cloud = random.normal(size=(50, 2)).astype(np.float32)
        beside = cloud if painter == "both" else None
        return Sample(9, points=cloud, real_points=cloud, view=view, beside=beside)
    return Sample(9, images=images, view=view, **known)


def with_views(views: tuple[ViewName, ...] = ALL_VIEWS, **known: Any) -> Board:
    board = running(**known)
    info = replace(board.snapshot.info, views=views)
    board.snapshot = replace(board.snapshot, info=info)
    return board


async def test_v_goes_round_the_views_that_the_run_has() -> None:
    board = with_views(("samples", "walk"))
    async with shown(board) as (app, pilot):
        assert board.view == View()
        await pilot.press("v")
        assert board.view.name == "walk"
        assert "Samples → Walk" in screen_text(app), "what was asked for, until it is there"
        board.snapshot = replace(board.snapshot, sample=viewed("walk"))
        app.tick()
        await pilot.pause()
        assert "Walk raw" in screen_text(app) and "→" not in screen_text(app)
        await pilot.press("v")
        assert board.view.name == "samples"
        await pilot.press("V")
        assert board.view.name == "walk"
    board = with_views()
    async with shown(board) as (_, pilot):
        await pilot.press("V")
        assert board.view.name == "nearest", "the first is what was seen so far"


async def test_e_goes_from_raw_to_averaged_and_to_both_where_both_can_be() -> None:
    board = with_views(("samples", "walk"))
    async with shown(board) as (_, pilot):
        asked = []
        for key in "eeeeevee":
            await pilot.press(key)
            asked.append((board.view.name, board.view.painter))
    assert asked == [
        ("", "averaged"),
        ("", "both"),
        ("", "raw"),
        ("", "averaged"),
        ("", "both"),
        ("walk", "averaged"),
        ("walk", "raw"),
        ("walk", "averaged"),
    ]


async def test_views_in_the_palette_are_those_of_the_run_and_others_are_refused() -> None:
    board = with_views(("samples", "walk"))
    async with shown(board) as (app, pilot):
        commands = {c.title: c.callback for c in app.get_system_commands(app.screen)}
        assert "View classes" not in commands
        app.call_later(commands["View walk"])
        await pilot.pause()
        assert board.view.name == "walk"
        app.action_see("nearest")
        await pilot.pause()
        assert board.view.name == "walk"
        assert "no view nearest; it has samples, walk" in notices(app)


async def test_classes_that_do_not_fit_are_counted_and_paged() -> None:
    board = with_views()
    board.snapshot = replace(board.snapshot, sample=viewed("classes", classes=47))
    async with shown(board) as (app, pilot):
        fitting = app.screen.query_one(SamplesPanel).rows_shown
        assert f"1 to {fitting} of 47 classes" in screen_text(app)
        await pilot.press("pagedown")
        assert board.view.first == fitting
        second = replace(viewed("classes", classes=47), view=View("classes", first=fitting))
        board.snapshot = replace(board.snapshot, sample=second)
        await pilot.press("pageup", "pageup")
        assert board.view.first == 0


async def test_a_view_asked_for_after_the_end_is_told_not_to_come() -> None:
    board = with_views(state="finished")
    async with shown(board) as (app, pilot):
        await pilot.press("v", "e")
        assert board.view == View()
        assert "The run is over" in notices(app)


async def test_a_missing_average_is_said_in_the_panel() -> None:
    board = with_views()
    off = replace(viewed("samples"), note="no average: ema is 0")
    board.snapshot = replace(board.snapshot, sample=off)
    async with shown(board, (80, 24)) as (app, _):
        assert "Samples raw" in screen_text(app)
        assert "no average: ema is 0" in screen_text(app)


VIEWED = [
    *((name, "raw", False) for name in ALL_VIEWS),
    ("samples", "both", False),
    ("walk", "averaged", True),
    ("samples", "both", True),
]


@pytest.mark.parametrize(("name", "painter", "points"), VIEWED)
@pytest.mark.parametrize("glyphs", [Glyphs(), Glyphs(unicode=False, pictures="ascii")])
def test_every_view_is_drawn_on_any_room(
    name: ViewName, painter: Painter, points: bool, glyphs: Glyphs
) -> None:
    board = running(step=1)
    snapshot = replace(board.snapshot, sample=viewed(name, painter, points=points))
    frame = Frame(snapshot, board.history, glyphs=glyphs)
    told = {"real": "real", "nearest": "fake", "samples": painter}
    for width, height in [(42, 19), (58, 29), (84, 52), (1, 1), (9, 4), (29, 3), (30, 60)]:
        strips = SamplesPanel().draw(frame, width, height).strips()
        assert [strip.cell_length for strip in strips] == [width] * height
        text = "\n".join(strip.text for strip in strips)
        assert glyphs.unicode or text.isascii()
        if width > 40:
            assert told.get(name, "") in text and painter in text


def test_listed_controls_are_those_that_matter_and_none_is_lost() -> None:
    keyless = [knob.name for knob in KNOBS.values() if not knob.keys]
    wgan = Controls(loss="wgan", balance_rate=0.5)
    shown, more = listed(wgan, 6)
    assert shown[0].name == "clip"
    assert (len(shown), more) == (5, len(keyless) - 5)
    names = [knob.name for knob in listed(wgan, 100)[0]]
    assert names[-1] == "balance_rate", "not read by this loss, but not as by default"
    assert "gamma" not in names
    turned = wgan.with_("ema", 0.5)
    assert "ema" in [knob.name for knob in listed(turned, 4)[0]]
    assert [knob.name for knob in listed(turned, 100)[0]] == names, "nothing jumps"


@pytest.mark.parametrize("size", SIZES)
async def test_the_controls_fit_and_the_rest_is_counted(size: tuple[int, int]) -> None:
    async with shown(running(), size) as (app, _):
        told = screen_text(app)
        for hint in ("space pause", ": set", "v view", "e average", "? help", "q quit"):
            assert hint in told
        assert size == (80, 24) or "more: ? or :" in told


async def test_the_help_scrolls_to_every_control_on_a_small_terminal() -> None:
    async with shown(running(), (80, 24)) as (app, pilot):
        await pilot.press("question_mark")
        await pilot.pause()
        seen = ""
        for _ in range(7):
            seen += screen_text(app)
            await pilot.press("pagedown")
            await pilot.pause(0.02)
        assert all(name in seen for name in KNOBS)


@pytest.mark.parametrize(("loss", "measured"), [("began", True), ("hinge", False)])
async def test_an_autoencoding_ds_convergence_measure_stands_beside_the_losses(
    loss: str, measured: bool
) -> None:
    async with shown(running(controls=Controls(loss=loss))) as (app, _):
        losses = app.screen.query_one("#losses")
        head = losses.render_line(0).text
        ends = [losses.render_line(row).text.rstrip()[-2:] for row in range(1, losses.size.height)]
    assert (" M " in head) == measured
    assert any("M" in end for end in ends) == measured


async def test_a_panel_that_fails_says_so_in_its_place_and_the_rest_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> list[Any]:
        raise ZeroDivisionError("nothing\x1b]52;c;eA==\x07 left")

    board = running(step=77)
    async with shown(board) as (app, pilot):
        monkeypatch.setattr(LossChart, "draw", fail)
        monkeypatch.setattr(EventsPanel, "inputs", fail)
        board.snapshot = replace(board.snapshot, step=78)
        for _ in range(3):
            app.tick()
            await pilot.pause(0.3)
        text = screen_text(app)
        assert "losses: error" in text
        assert "ZeroDivisionError: nothing^[]52" in text
        assert "events: error" in text
        assert "step      78" in text
        assert "D accuracy" in text
        assert [data["text"] for kind, data in board.notes if kind == "note"] == [
            f"error in panel {name}: ZeroDivisionError: nothing^[]52;c;eA==^G left"
            for name in ("losses", "events")
        ]
        monkeypatch.undo()
        board.snapshot = replace(board.snapshot, step=79)
        app.tick()
        await pilot.pause(0.3)
        app.tick()
        assert "losses: error" not in screen_text(app)


async def test_an_error_in_a_tick_or_a_key_is_told_once_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such luck")

    board = running()
    async with shown(board) as (app, pilot):
        monkeypatch.setattr(CockpitScreen, "show", fail)
        board.snapshot = replace(board.snapshot, step=500)
        for _ in range(3):
            app.tick()
            await pilot.pause()
        monkeypatch.undo()
        monkeypatch.setattr(Dashboard, "action_zoom", fail)
        await pilot.press("z", "z")
        told = [data["text"] for kind, data in board.notes if kind == "note"]
        assert told == [
            "error in the dashboard: RuntimeError: no such luck",
            "error in action zoom: RuntimeError: no such luck",
        ]
        await pilot.press("space")
        assert list(board.commands) == [Pause()]


async def test_restart_is_for_failed_runs_and_says_why_it_cannot() -> None:
    board = running()
    asked: list[bool] = []

    def again() -> None:
        asked.append(True)
        if len(asked) == 1:
            raise UserError("there is no checkpoint")

    app = Dashboard(board, again=again)
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.press("R")
        assert not asked
        board.pin(CheckpointEvent(step=250, path="x"))
        board.snapshot = replace(board.snapshot, state="failed", failure=Failure("out of memory"))
        app.tick()
        await pilot.pause(0.3)
        assert "R goes on from the newest checkpoint" in screen_text(app)
        await pilot.press("R")
        assert "there is no checkpoint" in notices(app)
        await pilot.press("R")
    assert app.return_value == 0
    assert len(asked) == 2


async def test_ctrl_z_says_that_it_would_stop_the_training() -> None:
    async with shown(running()) as (app, pilot):
        await pilot.press("ctrl+z")
        assert "Ctrl+Z would stop the training" in notices(app)
