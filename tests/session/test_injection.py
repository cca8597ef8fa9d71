"""No text from outside steers the terminal or the screen, wherever it comes in."""

from __future__ import annotations

import ast
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from textual import events as keys
from textual.widgets import Input

from ganterm import presets
from ganterm.cli import commands, headless, streams
from ganterm.core.errors import UserError
from ganterm.core.findings import Remedy
from ganterm.core.snapshot import Event, Failure
from ganterm.core.text import clean, clean_data
from ganterm.dashboard.app import Dashboard
from ganterm.dashboard.demo_findings import COLLAPSE, OVERPOWERING, diagnosis
from ganterm.dashboard.screens.prompt import PromptScreen
from ganterm.dashboard.welcome import HEADINGS, Choice, WelcomeApp
from ganterm.rundir import reader
from ganterm.session import wire
from ganterm.session.board import Board
from tests.dashboard.test_dashboard import TIME, running, shown, viewed
from tests.helpers.deadlines import DEADLINE
from tests.helpers.frames import content
from tests.helpers.payloads import EVERYTHING, MARK, PAYLOADS, harm, infected, sent_of_data
from tests.helpers.terminal import GANTERM, Terminal

payloads = pytest.mark.parametrize("payload", PAYLOADS.values(), ids=list(PAYLOADS))


@payloads
def test_what_is_clean_is_harmless_bounded_and_stays_as_it_is(payload: str) -> None:
    cleaned = clean(payload)
    assert not harm(cleaned, 200) and "\n" not in cleaned
    assert clean(cleaned) == cleaned


@given(st.text(st.characters()), st.integers(2, 60))
def test_any_text_can_be_cleaned(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert not harm(cleaned, limit) and "\n" not in cleaned
    assert clean(cleaned, limit) == cleaned
    if text.isascii() and text.isprintable() and len(text) <= limit:
        assert cleaned == text


def test_names_of_other_languages_stay() -> None:
    for name in ("Ünïcode", "日本語", "Ελληνικά", "e\u0301te\u0301", "नमस्ते", "😀"):
        assert clean(name) == name


# --- the command line -----------------------------------------------------------------------------

Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Say]:
    """Runs the program with these words, in a folder of its own; its exit code and all it said."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["ganterm", *words])
        with pytest.raises(SystemExit) as leaving:
            commands.main()
        out, err = capsys.readouterr()
        return int(leaving.value.code or 0), out + err

    yield run


WORDS: dict[str, list[str]] = {
    "command": ["{}"],
    "option": ["--{}"],
    "preset": ["--preset", "{}"],
    "preset file": ["--preset", "nowhere/{}.toml"],
    "assignment": ["--preset", "ring8", "--set", "{}"],
    "key": ["--preset", "ring8", "--set", "{}=1"],
    "section": ["--preset", "ring8", "--set", "data.{}=1"],
    "loss": ["--preset", "ring8", "--set", "loss={}"],
    "control": ["--preset", "ring8", "--set", "k={}"],
    "data set": ["--preset", "ring8", "--set", "data.name={}"],
    "network": ["--preset", "ring8", "--set", "generator.network={}"],
    "device": ["--preset", "ring8", "--device", "{}"],
    "seed": ["--preset", "ring8", "--seed", "{}"],
    "steps": ["--preset", "ring8", "--steps", "{}"],
    "data folder": ["--preset", "ring8", "--data-dir", "{}"],
    "run": ["--preset", "ring8", "--run", "{}"],
    "alarm": ["--preset", "ring8", "--stop-on", "{}"],
    "hook": ["--preset", "ring8", "--on-alarm", "{}"],
    "colours": ["--preset", "ring8", "--color", "{}"],
    "shown preset": ["presets", "{}"],
    "runs folder": ["runs", "--runs-dir", "{}"],
    "resumed": ["resume", "{}"],
    "resumed checkpoint": ["resume", "r", "--from", "{}"],
    "resumed from": ["resume", "r", "--runs-dir", "{}"],
    "attached": ["attach", "{}"],
    "stopped": ["stop", "{}"],
    "bench": ["bench", "--preset", "{}"],
}


@pytest.mark.parametrize("place", WORDS)
def test_no_word_of_the_command_line_comes_back_raw(place: str, say: Say) -> None:
    for payload in PAYLOADS.values():
        code, told = say(*(word.replace("{}", payload) for word in WORDS[place]))
        assert code in (0, 2), told
        assert told and not harm(told, 3000), (payload, told)
        if code:
            assert len(told.splitlines()) <= 2


ID = "11111111-2222-3333-4444-555555555555"


def about(text: str, **known: Any) -> dict[str, Any]:
    """A run.json with a payload in every text; with such an id no other field is looked at."""
    data = {"name": text, "sha256": text, "folder": text}
    held = {"format": 1, "id": text, "preset": text, "device": text, "state": text, "data": data}
    return {**held, "created": text, "steps": 7, "step": 3, **known}


@pytest.mark.parametrize("words", (["runs"], ["resume", "r"], ["attach", "r"], ["stop", "r"]))
def test_no_file_of_a_run_comes_back_raw(words: list[str], say: Say, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "r"
    (run / "checkpoints" / "step_0000000003-b0").mkdir(parents=True)
    for payload in PAYLOADS.values():
        sound = {"id": ID}
        for known in (
            {},
            sound,
            {**sound, "device": "cpu"},
            {**sound, payload: 1, "step": payload},
            {**sound, "format": payload},
        ):
            (run / "run.json").write_text(json.dumps(about(payload, **known)))
            (run / "preset.toml").write_text(f"x = {json.dumps(payload)}", errors="replace")
            (run / "checkpoints" / "LATEST").write_text(payload, errors="replace")
            code, told = say(*words)
            assert code in (0, 2), told
            assert told and not harm(told, 3000), (payload, told)


def test_json_of_the_list_is_json_whatever_a_run_is_called(say: Say, tmp_path: Path) -> None:
    names = [name[:60].encode("utf-8", "surrogateescape") for name in (EVERYTHING, "a\udc9bb")]
    for name in (name.replace(b"/", b"") for name in names):
        run = tmp_path / "runs" / os.fsdecode(name)
        run.mkdir(parents=True)
        text = EVERYTHING.replace("\udc9b\ud800", "")
        (run / "run.json").write_text(json.dumps(about(text, id=ID)))
    code, told = say("runs", "--json")
    assert code == 0 and not harm(told)
    assert [json.loads(line)["state"] for line in told.splitlines()] == ["crashed", "crashed"]
    code, told = say("runs")
    assert code == 0 and not harm(told) and len(told.splitlines()) == 3


@payloads
def test_no_preset_of_a_users_comes_back_raw(payload: str, say: Say, tmp_path: Path) -> None:
    good = presets.find("ring8").read_text()
    quoted = json.dumps(payload)
    for name, text in {
        "title": good.replace("[data]", f"x = {quoted}\n[data]", 1),
        "comment": f"# {payload}\n{good}",
        "key": f"{good}\n[{quoted}]\n",
        "control": good.replace("[controls]", f"[controls]\n{quoted} = 1"),
        "network": good.replace('network = "mlp"', f"network = {quoted}"),
        "broken": f"{good}\n{payload}",
    }.items():
        file = tmp_path / f"{name}.toml"
        file.write_text(text, errors="replace")
        for words in (["--preset", str(file)], ["presets", str(file)]):
            code, told = say(*words)
            assert not harm(told, 20_000), (name, told)
            assert code in (0, 2), told


def test_a_file_of_the_users_is_shown_only_if_it_is_a_preset(say: Say, tmp_path: Path) -> None:
    (tmp_path / "secret.toml").write_text("password = 'x'")
    code, told = say("presets", "./secret.toml")
    assert code == 2 and "password = " not in told


@payloads
def test_what_is_told_or_shown_of_an_error_is_harmless(
    payload: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not harm(str(UserError(payload)).replace("\n", " "))
    streams.tell(payload)
    streams.show(payload)
    streams.say(payload)
    out, err = capsys.readouterr()
    assert not harm((out + err).replace(f"\nganterm: {MARK}", ""))


def some_events(text: str) -> list[Event]:
    """One of each kind, with a payload in all that is free."""
    data: dict[str, dict[str, Any]] = {
        "change": {"key": "k", "from": 1, "to": 2, "by": text},
        "refused": {"key": "k", "to": text, "reason": text},
        "alarm": {
            **{"name": text, "title": text, "message": text, "state": "raised"},
            **{"severity": text, "since": 3, "remedies": [{"press": text, "does": text}]},
        },
        "error": {"message": text},
        "note": {"text": text},
        "stop": {"reason": text, "saved": text},
        "data": {"files": [text, text], "why": text},
        "checkpoint": {"path": text},
        "resume": {"checkpoint": text, "differs": [text]},
        "pause": {"cause": text},
        "attach": {"by": text},
        text: {text: text},
    }
    return [Event(9, 0, TIME, kind, known) for kind, known in data.items()]


def test_headless_reports_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    for payload in PAYLOADS.values():
        snapshot = infected(running().snapshot, payload)
        for reporter in (headless.PlainReporter(), headless.BarReporter(100)):
            reporter.loading(snapshot)
            reporter.started(snapshot)
            for event in some_events(payload):
                reporter.event(event)
            reporter.report(snapshot)
            reporter.ended(snapshot)
            reporter.close()
        out, _ = capsys.readouterr()
        assert out and not harm(out.replace(f"\nganterm: {MARK}", "")), payload


# --- what comes from files and sockets -----------------------------------------------------------


@payloads
def test_events_and_messages_of_other_processes_are_clean_once_they_are_read(payload: str) -> None:
    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from (key, *texts(inner))
        elif isinstance(value, list | tuple):
            for inner in value:
                yield from texts(inner)

    for event in some_events(payload):
        read = reader.event_of(json.dumps(event.table()).encode())
        if read is not None:
            assert not any(harm(text, 4000) for text in texts([read.kind, dict(read.data)]))
    for message in (wire.Goodbye(False, payload), wire.Answer(3, 4, payload)):
        with suppress(wire.WireError, UnicodeEncodeError):
            found = wire.server_message(content(message))
            assert not any(harm(text, 4000) for text in texts(msgspec.structs.astuple(found)))


def test_data_nested_without_end_are_refused() -> None:
    deep: Any = []
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(ValueError, match="too deep"):
        clean_data(deep)


# --- the screen ----------------------------------------------------------------------------------


def board(text: str, view: str = "classes") -> Board:
    """A run that was made to say ``text`` wherever it says anything."""
    made = running()
    sample = viewed(view)
    snapshot = replace(
        made.snapshot,
        diagnosis=diagnosis(),
        alarms=(COLLAPSE, OVERPOWERING),
        sample=replace(sample, note=text),
    )
    made.snapshot = infected(snapshot, text)
    for event in some_events(text):
        made.pin(event)
    return made


def assert_harmless(app: Dashboard | WelcomeApp) -> None:
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            assert not harm(segment.text), segment
            if segment.style is not None:
                assert "@click" not in segment.style.meta and not segment.style.link, segment
        assert strip.cell_length == app.size.width, "a letter is as wide as its place"


@pytest.mark.parametrize("name", PAYLOADS)
async def test_every_panel_and_screen_shows_it_harmlessly(name: str) -> None:
    payload = PAYLOADS[name]
    for size in ((120, 36), *([(80, 24), (200, 60)] if name in ("markup", "clear") else [])):
        async with shown(board(payload), size) as (app, pilot):
            app.notify(payload)
            app.crashed(f"panel {payload}", RuntimeError(payload))
            app._carry_out(Remedy(payload, payload))
            app.tick()
            await pilot.pause(0.05)
            assert_harmless(app)
            for press in ("2", "exclamation_mark", "escape", "1", "question_mark", "escape", "q"):
                await pilot.press(press)
                assert_harmless(app)
            assert app.is_running, "nothing was clicked"


@pytest.mark.parametrize("known", ({"failure": Failure(EVERYTHING)}, {"doing": EVERYTHING}))
async def test_failures_and_what_is_loaded_are_shown_harmlessly(known: dict[str, Any]) -> None:
    made = running(state="loading" if "doing" in known else "failed", **known)
    async with shown(made) as (app, _):
        assert_harmless(app)


async def test_what_is_typed_or_pasted_into_the_prompt_is_shown_harmlessly() -> None:
    async with shown(running()) as (app, pilot):
        await pilot.press("colon")
        assert isinstance(app.screen, PromptScreen)
        line = app.screen.query_one(Input)
        for payload in PAYLOADS.values():
            line.clear()
            line.post_message(keys.Paste(payload))
            await pilot.pause()
            assert_harmless(app)
            line.post_message(Input.Submitted(line, f"{payload} 1"))
            await pilot.pause()
            assert_harmless(app)


async def test_the_palette_shows_it_harmlessly() -> None:
    async with shown(board(EVERYTHING)) as (app, pilot):
        await pilot.press("ctrl+p")
        await pilot.pause(0.1)
        await pilot.press(*"view")
        await pilot.pause(0.3)
        assert_harmless(app)


@payloads
async def test_the_welcome_screen_shows_it_harmlessly(payload: str) -> None:
    app = WelcomeApp(
        [Choice(payload, payload, payload, payload, doing, payload) for doing in HEADINGS]
    )
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("down")
        assert_harmless(app)


MARKUP_OFF = {"Static", "Label", "Button", "OptionList", "Checkbox", "RadioButton", "SelectionList"}
"""Widgets of Textual that take text for markup unless told not to."""


def test_no_widget_of_ours_reads_markup() -> None:
    bad = []
    for file in sorted((Path(commands.__file__).parent / "dashboard").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            options = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
            told = f"{file.name}:{node.lineno} {called}"
            if called in MARKUP_OFF and options.get("markup") is not False:
                bad.append(told)
            if called in ("from_markup", "from_ansi", "Markdown", "RichLog", "Content"):
                bad.append(told)
    assert bad == []


# --- over a real terminal ------------------------------------------------------------------------


def file_name(payload: str) -> str:
    """As much of a payload as can be the name of a file."""
    raw = payload.replace("/", "").encode(errors="ignore")[:80]
    return raw.decode(errors="ignore") or "x"


@pytest.fixture
def infested(tmp_path: Path) -> Path:
    """A folder of pictures whose classes, files and place are called by payloads, and a preset."""
    pictures = tmp_path / file_name(EVERYTHING)
    for text in PAYLOADS.values():
        folder = pictures / file_name(text)
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(12):
            Image.new("RGB", (8, 8), (9 * number, 0, 0)).save(folder / f"{number}.png")
    # Less than 1 % of all, so that they are skipped and named.
    (pictures / file_name(PAYLOADS["title"]) / f"{file_name(PAYLOADS['clear'])}.png").write_text("")
    preset = presets.find("mnist_mlp").read_text()
    preset = preset.replace(
        'name = "mnist10k"', f'name = "folder"\nside = 16\nfolder = {json.dumps(str(pictures))}'
    )
    title = json.dumps("\x1b]0;PWNED\x07\x9b2J [bold red]x[/] [@click=app.quit]y[/] \u202e")
    preset = f"title = {title}\n" + "\n".join(
        line for line in preset.splitlines() if not line.startswith("title")
    )
    (tmp_path / f"{file_name(PAYLOADS['clear'])}.toml").write_text(preset)
    return tmp_path


def test_over_a_real_terminal_no_control_byte_comes_from_data(infested: Path) -> None:
    (preset,) = infested.glob("*.toml")
    small = ["--set", "generator.hidden=[16]", "--set", "discriminator.hidden=[16]"]
    command = [*GANTERM, "--preset", f"./{preset.name}", *small, "--set", "data.held_out=0"]
    runs = file_name(PAYLOADS["title"]) + "runs"
    command += ["--runs-dir", runs, "--run", "r", "--device", "cpu"]
    terminal = Terminal([*command, "--set", "run.diagnose_every=20"], infested, 120, 36)
    try:
        terminal.until(lambda t: "running" in t.text and "Samples" in t.text)
        for key in "v2":
            terminal.press(key)
            terminal.read(0.4)
        # Escape and a key that come together are Alt and that key, so each dialog is awaited.
        for key in "!?":
            terminal.press(key)
            terminal.until(lambda t: "esc closes" in t.text)
            terminal.press("\x1b")
            terminal.until(lambda t: "esc closes" not in t.text)
        terminal.press("1V:")
        terminal.until(lambda t: "tab completes" in t.text)
        # The prompt takes no control character, so Enter finds it empty and closes it.
        terminal.press("\x1b[200~" + "x\u009b2J y" + "\x1b[201~\r")
        terminal.until(lambda t: "tab completes" not in t.text)
        terminal.press("q")
        terminal.until(lambda t: "stop and save" in t.text)
        terminal.press("s")
        assert terminal.wait() == 0
        assert sent_of_data(terminal.raw) == []
    finally:
        terminal.close()
    listed = Terminal([*GANTERM, "runs", "--runs-dir", runs], infested, 120, 36)
    headless_run = Terminal([*command[:-4], "--run", "h", "--headless", "--steps", "40"], infested)
    wrong = Terminal([*GANTERM, "resume", PAYLOADS["clipboard, BEL"]], infested, 120, 36)
    for program, code in ((listed, 0), (headless_run, 0), (wrong, 2)):
        try:
            assert program.wait(DEADLINE) == code, program.text
            assert sent_of_data(program.raw) == []
        finally:
            program.close()
    shutil.rmtree(infested / runs)
