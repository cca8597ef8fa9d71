"""The whole program on a real pty: keys in, screen out, signals, the terminal left as it was."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from ganterm import presets
from ganterm.core.controls import KNOBS, Controls
from ganterm.losses import choices_of
from tests.helpers.deadlines import DEADLINE
from tests.helpers.terminal import GANTERM, Start, Terminal, assert_restored, events, running


def manifest(folder: Path, run: str) -> dict[str, Any]:
    folder = folder / "runs" / run / "checkpoints"
    saved = folder / (folder / "LATEST").read_text().strip()
    files = json.loads((saved / "MANIFEST.json").read_text())["files"]
    return dict(files["tensors.safetensors"])


def test_a_session_from_first_paint_to_a_clean_exit(start: Start, tmp_path: Path) -> None:
    terminal = start("--seed", "3")
    terminal.until(lambda t: "importing torch" in t.text)
    terminal.until(running)
    terminal.press("KK")
    terminal.until(lambda t: "k 3" in t.text)
    before = str(KNOBS["loss"].nudge("non_saturating", -1, choices_of(Controls(), "loss")))
    terminal.press("o")
    terminal.until(lambda t: before in t.text)
    terminal.press(":lr_g 1e-4\r")
    terminal.until(lambda t: "lr G 1.00e-4" in t.text)
    terminal.press(" ")
    terminal.until(lambda t: "paused" in t.text)
    terminal.press(" q")
    terminal.until(lambda t: "End this run?" in t.text)
    terminal.press("\r")
    assert terminal.wait() == 0
    assert_restored(terminal)
    changes = [(e["key"], e["to"], e["by"]) for e in events(tmp_path) if e["kind"] == "change"]
    assert changes == [
        ("k", 2, "key"),
        ("k", 3, "key"),
        ("loss", before, "key"),
        ("lr_g", 1e-4, "prompt"),
    ]
    kinds = [event["kind"] for event in events(tmp_path)]
    assert kinds[:2] == ["start", "attach"]
    assert kinds[-2:] == ["detach", "stop"]
    assert manifest(tmp_path, "r")["bytes"] > 0


def test_without_a_preset_the_welcome_screen_offers_them(tmp_path: Path) -> None:
    terminal = Terminal(GANTERM, tmp_path)
    try:
        terminal.until(lambda t: "what shall be trained?" in t.text and "began_mnist" in t.text)
        # Up from the first goes to the last.
        place = presets.names()[::-1].index("ring8")
        terminal.press("\x1b[A" * (place + 1))
        terminal.until(lambda t: "every lost mode is" in t.text)
        terminal.press("\r")
        terminal.until(lambda t: "ring8" in t.text and "running" in t.text)
        terminal.signal(signal.SIGTERM)
        assert terminal.wait() == 143
    finally:
        terminal.close()
    (run,) = (tmp_path / "runs").iterdir()
    again = Terminal(GANTERM, tmp_path)
    try:
        again.until(lambda t: "Recent runs" in t.text and "Presets" in t.text)
        assert run.name in again.text and "Live runs" not in again.text
        again.press("\r")
        again.until(lambda t: "running" in t.text)
        again.signal(signal.SIGTERM)
        assert again.wait() == 143
    finally:
        again.close()
    assert [event["kind"] for event in events(tmp_path, run.name)].count("resume") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR2, 140)])
def test_signals_save_and_restore(
    start: Start, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    terminal = start()
    terminal.until(running)
    terminal.signal(number)
    assert terminal.wait() == code
    assert_restored(terminal)
    assert events(tmp_path)[-1]["kind"] == "stop"
    assert manifest(tmp_path, "r")["bytes"] > 0


def test_ctrl_c_twice_saves_and_leaves_with_130(start: Start, tmp_path: Path) -> None:
    terminal = start()
    terminal.until(running)
    terminal.press("\x03")
    terminal.until(lambda t: "End this run?" in t.text)
    terminal.press("\x03")
    assert terminal.wait() == 130
    assert_restored(terminal)
    assert manifest(tmp_path, "r")["bytes"] > 0


def test_dashboard_and_headless_reach_identical_weights(start: Start, tmp_path: Path) -> None:
    watched = start("--steps", "60", "--seed", "5", columns=120, rows=36)
    watched.until(lambda t: "finished" in t.text)
    watched.press("q")
    assert watched.wait() == 0
    alone = start("--steps", "60", "--seed", "5", "--headless", "--run", "alone")
    assert alone.wait(DEADLINE) == 0
    assert manifest(tmp_path, "r")["sha256"] == manifest(tmp_path, "alone")["sha256"]


def test_headless_on_a_terminal_shows_a_bar(start: Start) -> None:
    terminal = start("--steps", "30", "--headless", columns=120)
    assert terminal.wait(DEADLINE) == 0
    assert "step 30" in terminal.text
    assert "finished at step 30" in terminal.text


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--device", "cuda:99"], "device cuda:99"),
        (["--set", "data.name=mnist", "--data-dir", "."], "mnist10k"),
    ],
)
def test_a_mistake_found_behind_the_first_screen_restores_it_and_exits_2(
    start: Start, tmp_path: Path, arguments: list[str], told: str
) -> None:
    terminal = start(*arguments)
    assert terminal.wait(DEADLINE) == 2
    assert_restored(terminal)
    after = terminal.raw[terminal.raw.rindex(b"\x1b[?1049l") :]
    assert told.encode() in after
    assert b"Traceback" not in terminal.raw
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"TERM": "dumb"}, "TERM=dumb"),
        ({"columns": 40}, "the terminal is 40x24"),
        ({"rows": 5}, "the terminal is 80x5"),
    ],
)
def test_terminals_that_cannot_show_it_are_refused(
    start: Start, tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    terminal = start(**options)
    assert terminal.wait() == 2
    assert told in " ".join(terminal.text.split())
    assert b"\x1b[?1049h" not in terminal.raw
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("environment", "only_ascii_pictures"),
    [({"COLORTERM": "", "TERM": "xterm"}, True), ({"NO_COLOR": "1"}, True), ({}, False)],
)
def test_pictures_fall_back_to_letters_where_colours_are_missing(
    start: Start, environment: dict[str, str], only_ascii_pictures: bool
) -> None:
    terminal = start(**environment)
    terminal.until(running)
    terminal.read(1)
    assert ("▀" not in terminal.text) == only_ascii_pictures


def test_leaving_while_it_loads_is_no_mistake(start: Start, tmp_path: Path) -> None:
    terminal = start()
    terminal.until(lambda t: "importing torch" in t.text)
    terminal.press("\x03")
    terminal.press("\x03")
    assert terminal.wait() == 130
    assert_restored(terminal)
    assert not (tmp_path / "runs").exists()


def test_a_failure_on_the_way_gives_the_bars_terminal_back(start: Start, tmp_path: Path) -> None:
    (tmp_path / "runs" / "r").mkdir(parents=True)
    terminal = start("--headless", columns=120)
    assert terminal.wait() == 2
    assert terminal.raw.rindex(b"\x1b[?25h") > terminal.raw.rindex(b"\x1b[?25l")


@pytest.mark.parametrize(("keys", "dialog"), [("1:", "tab completes"), ("1?", "esc closes")])
def test_keys_that_come_together_are_obeyed_in_their_order(
    keys: str, dialog: str, tmp_path: Path
) -> None:
    terminal = Terminal([*GANTERM, "demo"], tmp_path, 120, 36)
    try:
        terminal.until(lambda t: "2 diagnosis" in t.text)
        terminal.press("2")
        terminal.until(lambda t: "1 overview" in t.text)
        terminal.press(keys)
        terminal.until(lambda t: dialog in t.text)
        terminal.press("\x1b")
        terminal.until(lambda t: dialog not in t.text and "2 diagnosis" in t.text)
    finally:
        terminal.close()
