"""Diagnosis and alarms on the screen, through Textual's Pilot: no torch here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from textual.widgets import OptionList

from ganterm.core.controls import Controls
from ganterm.core.events import AlarmEvent, AlarmState
from ganterm.core.findings import Alarm, Diagnosis, Outlook, Remedy
from ganterm.core.snapshot import Pause, Sample, SetControl, View
from ganterm.dashboard import palette
from ganterm.dashboard.app import Dashboard
from ganterm.dashboard.demo_findings import COLLAPSE, OVERPOWERING, RANGE, diagnosis, modes
from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.draw.looks import LOOKS
from ganterm.dashboard.frame import Frame
from ganterm.dashboard.keys import ACTIONS
from ganterm.dashboard.light import health
from ganterm.dashboard.panels.banner import BannerPanel
from ganterm.dashboard.panels.diagnosis import DiagnosisPanel
from ganterm.dashboard.panels.modes import ModesPanel
from ganterm.dashboard.panels.panel import Panel
from ganterm.dashboard.screens.alarms import AlarmsScreen
from ganterm.session.board import Board
from tests.dashboard.test_dashboard import SIZES, TIME, notices, running, screen_text, shown

ASCII = Glyphs(unicode=False, pictures="ascii")
ALL = (RANGE, COLLAPSE, OVERPOWERING)
HEADINGS = ("D scores", "Modes", "Readings", "Gradients by layer", "Diversity")


def diagnosed(found: Diagnosis | None = None, every: int = 250, **known: Any) -> Board:
    """A board of a run that was looked at."""
    board = running(**known)
    info = replace(board.snapshot.info, diagnose_every=every)
    found = diagnosis() if found is None else found
    outlook = known.get("outlook", Outlook(sure=True))
    board.snapshot = replace(board.snapshot, info=info, diagnosis=found, outlook=outlook)
    return board


def event(alarm: Alarm, state: AlarmState, step: int) -> AlarmEvent:
    """As the trainer logs it."""
    return AlarmEvent.of(alarm, state).placed(step, 0, TIME)


@pytest.mark.parametrize("size", SIZES)
async def test_the_overview_says_health_diversity_and_modes(size: tuple[int, int]) -> None:
    async with shown(diagnosed(diagnosis(lost=2)), size) as (app, _):
        told = screen_text(app)
    assert "healthy" not in told and "watching" in told
    assert "8 of 10 digits" in told
    assert "87 %" in told
    signs = ("8×", "9×") if size == SIZES[0] else ("not found: 8 9",)
    assert all(sign in told for sign in signs)


def reds(cells: Cells) -> str:
    """All that is written in the colour of alarms."""
    rows, columns = cells.size
    looks = [[LOOKS[cells.styles[row, column]] for column in range(columns)] for row in range(rows)]
    marked = [
        cells.chars[row, column]
        for row in range(rows)
        for column in range(columns)
        if (color := looks[row][column].color) is not None and color.name == palette.ALARM
    ]
    return "".join(marked).replace(" ", "")


def counting(app: Dashboard) -> list[Panel]:
    """The panels that count modes."""
    every = app.screen.query(Panel).results(Panel)
    return [panel for panel in every if isinstance(panel, DiagnosisPanel | ModesPanel)]


STATES: dict[str, dict[str, Any]] = {
    "too early to tell": {"outlook": Outlook()},
    "last diagnosed at step 1,200": {"outlook": Outlook(sure=True, late=True)},
    "checking again: mode collapse": {"outlook": Outlook(sure=True, doubt="Mode collapse")},
    "watching: 9 of 10 digits not found": {"outlook": Outlook(sure=True)},
}
SHORT = ("too early", "as of 1,200", "checking", "watching")


@pytest.mark.parametrize("words", STATES)
@pytest.mark.parametrize("size", SIZES)
async def test_no_run_is_called_healthy_that_misses_modes_or_was_not_looked_at(
    size: tuple[int, int], words: str
) -> None:
    found = diagnosis(lost=9)
    board = diagnosed(found, **STATES[words])
    light = health(board.snapshot)
    assert (light.level, light.words) == ("unknown", words)
    async with shown(board, size) as (app, pilot):
        told = screen_text(app)
        assert "healthy" not in told and "lost" not in told
        assert words in told or (size == SIZES[0] and any(short in told for short in SHORT))
        for key in ("1", "2"):
            await pilot.press(key)
            await pilot.pause(0.05)
            drawn = [panel for panel in counting(app) if panel._cells]
            assert drawn
            assert [reds(panel._cells) for panel in drawn] == [""] * len(drawn)
        assert "lost" not in screen_text(app)
        await pilot.press("exclamation_mark")
        await pilot.pause(0.05)
        assert words in screen_text(app)


@pytest.mark.parametrize("lost", [0, 3])
@pytest.mark.parametrize("words", STATES)
async def test_no_words_of_the_light_push_the_diversity_off_a_small_terminal(
    words: str, lost: int
) -> None:
    board = diagnosed(diagnosis(lost=lost), **STATES[words])
    async with shown(board, SIZES[0]) as (app, _):
        panel = app.screen.query_one("#health", DiagnosisPanel)
        assert panel._cells is not None
        row = "".join(panel._cells.chars[0])
    assert f"{10 - lost} of 10 digits" in row
    assert row.rstrip().endswith("div   87 %")


def test_the_light_keeps_its_words_where_the_figures_leave_room() -> None:
    board = diagnosed(diagnosis(), outlook=Outlook())
    for width, words in ((48, "too early to tell  10"), (47, "too early  10")):
        cells = DiagnosisPanel().draw(Frame(board.snapshot, board.history), width, 2)
        assert words in "".join(cells.chars[0]) and "div   87 %" in "".join(cells.chars[0])
    cells = DiagnosisPanel().draw(Frame(board.snapshot, board.history), 36, 2)
    assert "too early to tell  10 of 10 digits" in "".join(cells.chars[0])


@pytest.mark.parametrize("size", SIZES)
async def test_modes_are_called_lost_in_red_once_an_alarm_says_so(size: tuple[int, int]) -> None:
    board = diagnosed(diagnosis(lost=7), alarms=(COLLAPSE,))
    async with shown(board, size) as (app, pilot):
        if size != SIZES[0]:
            assert "lost: 3 4 5" in screen_text(app)
        assert any(reds(panel._cells) for panel in counting(app) if panel._cells)
        board.snapshot = replace(board.snapshot, alarms=())
        app.tick()
        await pilot.pause()
        assert "lost" not in screen_text(app)


async def test_the_light_has_words_for_every_state() -> None:
    def words(found: Diagnosis, every: int, **known: Any) -> tuple[str, str]:
        light = health(diagnosed(found, every, **known).snapshot)
        return light.level, light.words

    nothing = Diagnosis()
    assert words(diagnosis(), 250) == ("healthy", "healthy")
    assert words(nothing, 250) == ("unknown", "first diagnosis after 250 steps")
    assert words(nothing, 0) == ("unknown", "diagnosis is off (run.diagnosis = 0)")
    assert words(nothing, 0, state="loading") == ("unknown", "not yet diagnosed")
    assert words(diagnosis(), 250, alarms=(RANGE,)) == ("warning", "watch: data range")
    assert words(diagnosis(), 250, alarms=ALL) == ("alarm", "ALARM mode collapse")


@pytest.mark.parametrize(
    ("every", "told"), [(0, "run.diagnosis = 0"), (250, "first diagnosis after")]
)
@pytest.mark.parametrize("size", SIZES)
async def test_what_is_missing_is_said(size: tuple[int, int], every: int, told: str) -> None:
    async with shown(diagnosed(Diagnosis(), every), size) as (app, pilot):
        assert told in screen_text(app)
        await pilot.press("2")
        await pilot.pause(0.05)
        flat = " ".join(screen_text(app).split())
        assert all(heading in flat for heading in HEADINGS)
        assert "run.diagnosis" in flat if every == 0 else "250" in flat


async def test_data_without_labels_have_no_modes_and_it_says_so() -> None:
    measures = {k: m for k, m in diagnosis().measures.items() if k != "modes"}
    found = diagnosis(modes=None, mode_trail=None, measures=measures)
    async with shown(diagnosed(found)) as (app, pilot):
        await pilot.press("2")
        await pilot.pause(0.05)
        assert "the data have no labels" in screen_text(app)


@pytest.mark.parametrize("size", SIZES)
async def test_two_leads_to_diagnosis_and_one_back(size: tuple[int, int]) -> None:
    async with shown(diagnosed(diagnosis(lost=3)), size) as (app, pilot):
        assert "2 diagnosis" in screen_text(app)
        await pilot.press("2")
        await pilot.pause(0.05)
        told = screen_text(app)
        assert all(heading in told for heading in HEADINGS)
        assert "7 of 10 digits" in told and "R real" in told and "layers.0" in told
        assert "1 overview" in told and "k/K" in told and "Losses" not in told
        assert ("Classifier-FID" in told) == (size != SIZES[0])
        for panel in app.screen.query("#diagnosis Panel").results(Panel):
            if panel.display:
                assert panel.size.height > 0
                assert app.screen.region.contains_region(panel.region)
        await pilot.press("1")
        await pilot.pause(0.05)
        assert "Losses" in screen_text(app) and "Readings" not in screen_text(app)


async def test_all_keys_steer_from_diagnosis_too() -> None:
    board = diagnosed()
    async with shown(board) as (app, pilot):
        await pilot.press("2", "K", "d", "space")
        app.tick()
        await pilot.pause()
        assert "1→2" in screen_text(app)
        await pilot.press("colon", *"r1 0.5", "enter")
        await pilot.pause()
    assert [type(c) for c in board.commands] == [SetControl, SetControl, Pause, SetControl]
    assert board.commands[-1] == SetControl("r1", 0.5, "prompt")


async def test_no_sample_is_asked_for_while_none_is_seen() -> None:
    board = diagnosed()
    async with shown(board) as (app, pilot):
        assert board.samples_per_s > 0
        await pilot.press("2")
        assert board.samples_per_s == 0
        app.tick()
        assert board.samples_per_s == 0
        await pilot.press("1")
        assert board.samples_per_s > 0


async def test_both_views_are_in_the_palette() -> None:
    async with shown(diagnosed()) as (app, pilot):
        commands = {c.title: c.callback for c in app.get_system_commands(app.screen)}
        does = next(does for key, _, _, does in ACTIONS if key == "2")
        await commands[does[0].upper() + does[1:]]()
        await pilot.pause(0.05)
        assert "Gradients by layer" in screen_text(app)


async def test_diagnosis_survives_any_size() -> None:
    async with shown(diagnosed(diagnosis(lost=3), alarms=ALL)) as (app, pilot):
        await pilot.press("2")
        for size in ((200, 60), (40, 10), (1, 1), (80, 24), (61, 21), (300, 20), (120, 36)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.05)
            app.tick()
            await pilot.pause()
        assert all(heading in screen_text(app) for heading in HEADINGS)


async def test_a_terminal_resized_while_the_other_body_is_shown() -> None:
    async with shown(diagnosed(), (80, 24)) as (app, pilot):
        await pilot.press("2")
        await pilot.resize_terminal(200, 60)
        await pilot.press("1")
        await pilot.pause(0.05)
        assert "Weight norm" in screen_text(app)
        await pilot.press("2")
        await pilot.pause(0.05)
        assert "Classifier-FID" in screen_text(app)


@pytest.mark.parametrize("size", SIZES)
async def test_pure_ascii_and_no_colour(size: tuple[int, int]) -> None:
    board = diagnosed(diagnosis(lost=3), alarms=ALL)
    for state, step in (("raised", 300), ("cleared", 600)):
        board.pin(event(COLLAPSE, state, step))
    async with shown(board, size, ASCII) as (app, pilot):
        for key in ("1", "2", "exclamation_mark"):
            await pilot.press(key)
            await pilot.pause(0.05)
            told = screen_text(app)
            assert told.isascii(), key
        assert "# ALARM Mode collapse" in told


async def test_readings_are_all_on_their_pages() -> None:
    found = diagnosis()
    titles = [measure.title for measure in found.measures.values()]
    async with shown(diagnosed(found), (80, 24)) as (app, pilot):
        await pilot.press("2")
        await pilot.pause(0.05)
        seen, first = set(), screen_text(app).splitlines()[1:]
        for _ in range(8):
            told = screen_text(app)
            seen |= {title for title in titles if title[:12] in told}
            await pilot.press("pagedown")
            await pilot.pause()
        assert seen == set(titles)
        await pilot.press(*["pageup"] * 8)
        await pilot.pause()
        assert screen_text(app).splitlines()[1:] == first


async def test_an_old_reading_says_of_which_step_it_is() -> None:
    async with shown(diagnosed(diagnosis(step=12_250))) as (app, pilot):
        await pilot.press("2")
        await pilot.pause(0.05)
        rows = screen_text(app).splitlines()
    fresh = next(row for row in rows if "Vendi score" in row)
    old = next(row for row in rows if "sign rate" in row)
    assert "at 12" not in fresh and "at 12.0k" in old
    assert any("Readings" in row and "at 12,250" in row for row in rows)


async def test_nothing_is_drawn_twice_for_one_diagnosis() -> None:
    board = diagnosed(alarms=(RANGE,))
    async with shown(board) as (app, pilot):
        await pilot.press("2")
        await pilot.pause(0.05)
        drawn: list[str] = []
        for panel in app.screen.query("#findings Panel").results(Panel):
            inner = panel.draw

            def draw(*args: Any, inner: Any = inner, name: str = panel.id or "") -> Any:
                drawn.append(name)
                return inner(*args)

            panel.draw = draw  # type: ignore[method-assign, assignment]
        for _ in range(3):
            board.snapshot = replace(board.snapshot, step=board.snapshot.step + 1)
            app.tick()
        await pilot.pause()
        assert not drawn
        board.snapshot = replace(board.snapshot, diagnosis=diagnosis(lost=1))
        app.tick()
        await pilot.pause()
        assert len(drawn) == len(set(drawn)) == 6


# Alarms.


async def test_the_gravest_alarm_is_in_the_banner_with_what_to_try() -> None:
    async with shown(diagnosed(alarms=ALL), (200, 60)) as (app, _):
        rows = screen_text(app).splitlines()
    at = next(i for i, row in enumerate(rows) if "■ ALARM Mode collapse: G makes 3" in row)
    assert rows[at].rstrip().endswith("since 700")
    assert "try: k fewer D updates per step · :r1 0.1 a gradient penalty on D" in rows[at + 1]
    assert rows[at + 1].rstrip().endswith("+2 more, ! lists them")


async def test_a_long_message_leaves_room_at_80_columns() -> None:
    long = replace(COLLAPSE, message="G makes nothing but " + "the very same digit " * 30)
    async with shown(diagnosed(alarms=(long,)), (80, 24)) as (app, _):
        rows = screen_text(app).splitlines()
        assert app.screen.query_one(BannerPanel).size.height == 2
    assert rows[1].startswith("  ■ ALARM Mode collapse: G makes nothing but")
    assert "… since 700" in rows[1]
    assert "try: k fewer D updates per step · :r1 0.1" in rows[2] and "! lists it" in rows[2]
    assert "Losses" in rows[3]


async def test_a_warning_is_calmer_than_an_alarm() -> None:
    def ground(alarm: Alarm) -> Any:
        panel = BannerPanel()
        board = diagnosed(alarms=(alarm,))
        first = panel.draw(Frame(board.snapshot, board.history), 80, 2).strips()[0]
        assert first.text.split()[:2] == (["■", "ALARM"] if alarm is COLLAPSE else ["▲", "watch:"])
        return next(iter(first)).style.bgcolor.name

    assert ground(COLLAPSE) != ground(RANGE)


async def test_the_list_has_evidence_all_remedies_and_the_past() -> None:
    board = diagnosed(alarms=ALL)
    for state, step in (("raised", 300), ("cleared", 600), ("raised", 800)):
        board.pin(event(COLLAPSE, state, step))
    async with shown(board, (120, 60)) as (app, pilot):
        await pilot.press("exclamation_mark")
        await pilot.pause(0.05)
        assert isinstance(app.screen, AlarmsScreen)
        told = screen_text(app)
        assert told.index("Mode collapse") < told.index("D overpowers G") < told.index("Data range")
        assert "modes 3, of 10, diversity 31.25, left 1 7 9" in told
        assert all(remedy.does in told for alarm in ALL for remedy in alarm.remedies)
        assert "since step 700, raised at 800" in told
        assert told.index("800  ALARM") < told.index("600  ALARM") < told.index("300  ALARM")
        await pilot.press("exclamation_mark")
        await pilot.pause(0.05)
        assert not isinstance(app.screen, AlarmsScreen) and not board.commands


@pytest.mark.parametrize(
    ("keys", "command"),
    [
        (("1",), SetControl("k", 4, "alarm")),
        (("enter",), SetControl("k", 4, "alarm")),
        (("2",), SetControl("r1", 0.1, "alarm")),
        (("down", "down", "enter"), SetControl("lr_d", 0.00016, "alarm")),
        (("4",), SetControl("loss", "hinge", "alarm")),
        (("6",), Pause()),
        (("9",), None),
        (("escape",), None),
    ],
)
async def test_a_remedy_is_carried_out_by_its_digit_or_enter(
    keys: tuple[str, ...], command: Any
) -> None:
    remedies = (*COLLAPSE.remedies[:3], Remedy(":loss hinge", "another loss"))
    alarms = (replace(COLLAPSE, remedies=remedies), OVERPOWERING)
    board = diagnosed(alarms=alarms, controls=Controls(k=5))
    async with shown(board, (80, 24)) as (_, pilot):
        await pilot.press("exclamation_mark")
        await pilot.pause(0.05)
        await pilot.press(*keys)
        await pilot.pause(0.05)
    assert list(board.commands) == ([] if command is None else [command])


@pytest.mark.parametrize(
    ("press", "told"),
    [(":r1 9999", "r1: 9999 is not"), (":nothing 1", "nothing"), ("F12", "There is no key F12")],
)
async def test_a_remedy_that_cannot_be_is_told(press: str, told: str) -> None:
    board = diagnosed(alarms=(replace(COLLAPSE, remedies=(Remedy(press, "help"),)),))
    async with shown(board) as (app, pilot):
        await pilot.press("exclamation_mark")
        await pilot.pause(0.05)
        await pilot.press("1")
        await pilot.pause(0.05)
        assert told in notices(app)
    assert not board.commands


async def test_a_remedy_that_is_in_force_already_is_told() -> None:
    board = diagnosed(alarms=(COLLAPSE,), controls=Controls(k=1, r1=0.1))
    async with shown(board) as (app, pilot):
        for digit, told in (("1", "k is 1 already"), ("2", "R1 is 0.1 already")):
            await pilot.press("exclamation_mark")
            await pilot.pause(0.05)
            await pilot.press(digit)
            await pilot.pause(0.05)
            assert told in notices(app)
    assert not board.commands


async def test_after_the_end_a_remedy_does_nothing() -> None:
    board = diagnosed(alarms=(COLLAPSE,), state="finished")
    async with shown(board) as (app, pilot):
        await pilot.press("exclamation_mark")
        await pilot.pause(0.05)
        await pilot.press("1")
        await pilot.pause(0.05)
        assert "The run is over" in notices(app)
    assert not board.commands


async def test_the_list_without_any_alarm_says_so_and_scrolls_with_many() -> None:
    async with shown(diagnosed(), (80, 24)) as (app, pilot):
        await pilot.press("exclamation_mark")
        await pilot.pause(0.05)
        assert "none raised" in screen_text(app) and "no alarm was raised yet" in screen_text(app)
    many = tuple(replace(OVERPOWERING, name=str(i), title=f"Trouble {i}") for i in range(12))
    async with shown(diagnosed(alarms=many), (80, 24)) as (app, pilot):
        await pilot.press("exclamation_mark")
        await pilot.pause(0.05)
        await pilot.press(*["down"] * 23)
        await pilot.pause(0.3)
        assert "Trouble 11" in screen_text(app)
        assert app.screen.query_one(OptionList).highlighted_option.id == "24"


async def test_the_bell_rings_once_for_a_new_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[int] = []
    monkeypatch.setattr(Dashboard, "bell", lambda _: rung.append(1))
    board = diagnosed(alarms=(COLLAPSE,))
    async with shown(board) as (app, _):

        def now(*alarms: Alarm) -> int:
            board.snapshot = replace(board.snapshot, alarms=alarms)
            app.tick()
            app.tick()
            return len(rung)

        assert not rung, "it was there before"
        assert now(COLLAPSE, RANGE) == 0, "a warning"
        assert now(replace(COLLAPSE, message="worse"), RANGE) == 0, "the same, renewed"
        assert now(COLLAPSE, OVERPOWERING) == 1
        assert now() == 1
        assert now(replace(COLLAPSE, raised=1200)) == 2, "raised again"


async def test_alarms_are_short_in_the_events_and_marked_on_every_chart() -> None:
    board = diagnosed()
    board.pin(event(COLLAPSE, "raised", 500))
    board.pin(event(COLLAPSE, "cleared", 900))
    board.pin(event(RANGE, "raised", 901))
    async with shown(board, (200, 60)) as (app, pilot):
        told = screen_text(app)
        assert "ALARM Mode collapse: G makes 3 of 10 digits" in told
        assert "ALARM Mode collapse cleared" in told and f"warning {RANGE.title}: " in told
        assert "diversity 31" not in told
        for name in ("losses", "accuracy", "gradients", "diversity", "scores", "weights"):
            row = app.screen.query_one(f"#{name}").render_line(1)
            assert "!" in row.text and "✓" in row.text
            styles = {s.text[i]: s.style for s in row for i in range(len(s.text))}
            assert styles["!"].color.name != styles["✓"].color.name
        await pilot.press("2")
        await pilot.pause(0.05)
        for name in ("diversity_curve", "distance"):
            assert "!" in app.screen.query_one(f"#{name}").render_line(1).text


@pytest.mark.parametrize("size", SIZES)
async def test_points_stand_on_ds_surface_with_its_step(size: tuple[int, int]) -> None:
    cloud = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    sample = Sample(1234, points=cloud, real_points=cloud, view=View("samples"))
    board = diagnosed(diagnosis(plane=True))
    board.snapshot = replace(board.snapshot, sample=sample)
    async with shown(board, size) as (app, _):
        assert "green real, amber fake, at 1,200" in screen_text(app)
        strips = app.screen._compositor.render_strips()
        grounds = {segment.style.bgcolor.name for strip in strips for segment in strip}
    async with shown(board, size, ASCII) as (app, _):
        assert "amber" not in screen_text(app)
        strips = app.screen._compositor.render_strips()
        bare = {segment.style.bgcolor.name for strip in strips for segment in strip}
    assert len(grounds - bare) == 8


@pytest.mark.parametrize("size", SIZES)
async def test_a_thousand_modes_and_long_names_fit(size: tuple[int, int]) -> None:
    many = diagnosis(modes=modes(713, 1000, kind="class"), mode_trail=None)
    async with shown(diagnosed(many), size) as (app, pilot):
        assert "713 of 1,000 classes" in screen_text(app)
        await pilot.press("2")
        await pilot.pause(0.05)
        assert "713 of 1,000 classes" in screen_text(app)
    odd = modes(3, 4, kind="class")
    names = ("a very long name of a class", "b\x1b[31m", "", "d")
    whole = diagnosis(modes=replace(odd, names=names), mode_trail=None)
    async with shown(diagnosed(whole), size) as (app, _):
        assert "\x1b" not in screen_text(app) and "3 of 4 classes" in screen_text(app)
