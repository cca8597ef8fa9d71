"""Colours, characters and sizes of terminals that are not what one would wish."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import termios
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment
from rich.style import Style
from textual.color import Color

from ganterm.dashboard.app import Dashboard
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.draw.picture import Grid, draw_picture, mosaic
from ganterm.dashboard.draw.tiles import draw_pairs, draw_table, fit_pairs, fit_table
from ganterm.dashboard.terminal.capabilities import choose_colors, choose_glyphs
from ganterm.dashboard.terminal.line import MOST_SIZE, Line
from ganterm.dashboard.terminal.terminal_app import Plain
from ganterm.session.board import Board
from tests.cli.test_hang_up import memory_mb, step_now
from tests.conftest import TINY
from tests.helpers.deadlines import DEADLINE, until
from tests.helpers.terminal import GANTERM, Start, Terminal, assert_restored, events, running

QUADRANTS = Glyphs(pictures="quadrant")
LIT = {
    " ": "    ", "▘": "#   ", "▝": " #  ", "▀": "##  ", "▖": "  # ", "▌": "# # ", "▞": " ## ",
    "▛": "### ", "▗": "   #", "▚": "#  #", "▐": " # #", "▜": "## #", "▄": "  ##", "▙": "# ##",
    "▟": " ###", "█": "####",
}  # fmt: skip
"""Which quarters of a cell a character fills, row by row."""

# TERM, COLORTERM, NO_COLOR and the colours that follow.
TERMINALS = [
    ("xterm-256color", "truecolor", None, "truecolor"),
    ("xterm-256color", "24bit", None, "truecolor"),
    ("xterm-256color", "", None, "256"),
    ("xterm-kitty", "", None, "256"),
    ("screen-256color", "", None, "256"),
    ("tmux-256color", "truecolor", None, "truecolor"),
    ("xterm-direct", "", None, "truecolor"),
    ("xterm", "", None, "16"),
    ("screen", "", None, "16"),
    ("linux", "", None, "16"),
    ("vt100", "", None, "none"),
    ("xterm-256color", "truecolor", "1", "none"),
    ("xterm-256color", "truecolor", "", "truecolor"),
    ("linux", "", "1", "none"),
]


@pytest.mark.parametrize(("term", "colorterm", "no_color", "expected"), TERMINALS)
def test_colours_follow_the_environment(
    term: str, colorterm: str, no_color: str | None, expected: str
) -> None:
    environment = {"TERM": term, "COLORTERM": colorterm}
    if no_color is not None:
        environment["NO_COLOR"] = no_color
    assert choose_colors("auto", environment) == expected
    assert choose_colors("256", environment) == "256"


def test_glyphs_follow_the_colours_where_they_are_not_chosen() -> None:
    assert choose_glyphs("auto", "16").pictures == "ascii"
    assert choose_glyphs("quadrant", "none") == QUADRANTS
    assert choose_glyphs("half", "16").pictures == "half"
    assert not choose_glyphs("ascii", "truecolor").unicode


def seen(cells: Any) -> Any:
    """The pixels of a drawn picture, (rows x 2, columns x 2), red channel; -1 is the ground."""
    rows = []
    for strip in cells.strips():
        upper, lower = [], []
        for text, style, _ in strip:
            fore, back = (int(c.name[1:3], 16) for c in (style.color, style.bgcolor))
            for char in text:
                quarters = [fore if part == "#" else back for part in LIT[char]]
                upper += quarters[:2]
                lower += quarters[2:]
        rows += [upper, lower]
    return np.array(rows)


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**31), st.sampled_from([1, 3]))
def test_quadrants_show_two_colours_a_cell_exactly(
    rows: int, columns: int, seed: int, channels: int
) -> None:
    random = np.random.default_rng(seed)
    two = random.choice([0, 51, 102, 153, 204, 255], (rows, columns, 2)).astype(np.float32)
    which = random.integers(0, 2, (rows, columns, 4))
    quarters = np.take_along_axis(two, which, axis=2).reshape(rows, columns, 2, 2)
    whole = quarters.transpose(0, 2, 1, 3).reshape(2 * rows, 2 * columns)
    picture = np.repeat(whole[:, :, None], channels, axis=2)
    assert (seen(draw_picture(picture, QUADRANTS)) == whole).all()


def test_quadrants_keep_a_hue_and_end_on_the_ground() -> None:
    picture = np.zeros((3, 3, 3), np.float32)
    picture[:, :, 0] = 255
    drawn = seen(draw_picture(picture, QUADRANTS))
    assert (drawn[:3, :3] == 255).all()
    assert (drawn[3] == drawn[0, 3]).all()
    assert 0 < drawn[3, 3] < 50


def test_quadrants_have_the_same_cells_and_twice_the_detail() -> None:
    stripes = np.zeros((4, 28, 28, 1), np.uint8)
    stripes[:, :, ::2] = 255
    grid = Grid(2, 2, 14)
    halves = draw_picture(mosaic(stripes, grid, Glyphs()), Glyphs())
    quadrants = draw_picture(mosaic(stripes, grid, QUADRANTS), QUADRANTS)
    assert halves.size == quadrants.size == (14, 28)
    # At 14 pixels a picture the stripes are a grey; at 28 they are seen.
    assert len(np.unique(seen(quadrants))) == 2
    for draw, size in ((table, (7, 30)), (pairs, (15, 28))):
        assert draw(stripes, QUADRANTS).size == draw(stripes, Glyphs()).size == size


def table(images: Any, glyphs: Glyphs) -> Any:
    fitted = fit_table(30, 7, 14, 1, 2, 2, glyphs)
    return draw_table(images[:2], 2, ("a",), fitted, glyphs)


def pairs(images: Any, glyphs: Glyphs) -> Any:
    fitted = fit_pairs(28, 15, 14, 2, glyphs)
    return draw_pairs(images[:2], images[2:], ("1", "2"), fitted, glyphs)


def test_without_colours_there_are_attributes() -> None:
    ground = Color.parse("#0f1318")
    shown = Plain().apply(
        [
            Segment("text", Style(color="#c9d1db", bgcolor="#171c23", bold=True)),
            Segment("faint", Style(color="#414b57", bgcolor="#171c23")),
            Segment("alarm", Style(color="#0f1318", bgcolor="#ff6b6b")),
            Segment("bare", None),
        ],
        ground,
    )
    looks = [segment.style for segment in shown]
    assert looks[3] is None
    assert all(look.color is None and look.bgcolor is None for look in looks[:3])
    assert [bool(look.bold) for look in looks[:3]] == [True, False, False]
    assert [bool(look.dim) for look in looks[:3]][:2] == [False, True]
    assert [bool(look.reverse) for look in looks[:3]] == [False, False, True]


KINDS = {
    "truecolor": rb"[;\[][34]8;2;",
    "256": rb"[;\[][34]8;5;",
    "16": rb"\x1b\[(?:\d;)*(?:3|4|9|10)[0-7][;m]",
}


@pytest.mark.parametrize(
    ("arguments", "environment", "kind"),
    [
        (["--color", "truecolor", "--glyphs", "quadrant"], {"TERM": "linux"}, "truecolor"),
        ([], {"COLORTERM": ""}, "256"),
        ([], {"TERM": "screen", "COLORTERM": ""}, "16"),
        ([], {"NO_COLOR": "1"}, "none"),
    ],
)
def test_no_other_colours_are_sent_than_the_terminal_has(
    start: Start, arguments: list[str], environment: dict[str, str], kind: str
) -> None:
    environment = {"TERM": "xterm-256color", "COLORTERM": "", **environment}
    terminal = start(*arguments, **environment)
    terminal.until(running)
    terminal.press("?")
    terminal.until(lambda t: "esc closes" in t.text)
    terminal.press("\x1b")
    terminal.read(1)
    sent = terminal.raw
    for name, pattern in KINDS.items():
        assert bool(re.search(pattern, sent)) == (name == kind), name
    assert any(char in terminal.text for char in "▘▝▖▌▞▛▗▚▐▜▙▟") == ("quadrant" in arguments)
    terminal.signal(signal.SIGTERM)
    assert terminal.wait() == 143
    assert_restored(terminal)


def shows(told: str, terminal: Terminal) -> bool:
    return told in terminal.text


def report_size(handle: int, columns: int, rows: int) -> None:
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def test_sizes_are_believed_within_reason() -> None:
    master, slave = os.openpty()
    line = Line(slave)
    for told, believed in (
        ((0, 0), (80, 24)),
        ((0, 50), (80, 50)),
        ((1, 1), (1, 1)),
        ((120, 36), (120, 36)),
        ((65_535, 65_535), MOST_SIZE),
    ):
        report_size(slave, *told)
        assert line.size == believed
    line.release()
    os.close(master)
    os.close(slave)


STORM = [(65_535, 65_535), (0, 0), (1, 1), (500, 3), (3, 500), (1000, 500), (2, 2), (200, 60)]
STILL_GROWN_MB = 15
"""In the second half of a storm: what screens of 1000x500 take must be there by then."""


@pytest.mark.parametrize(
    ("seconds", "most_mb"), [(3, 50), pytest.param(60, 100, marks=pytest.mark.slow)]
)
def test_a_storm_of_odd_sizes_leaves_training_memory_and_a_dashboard_that_fits(
    start: Start, tmp_path: Path, seconds: float, most_mb: float, capsys: pytest.CaptureFixture[str]
) -> None:
    # What the first exams take, and a screen of the largest size (some 20 MB), is no storm's doing.
    terminal = start("--set", "run.diagnosis=0")
    terminal.until(running)
    for columns, rows in (MOST_SIZE, (120, 36)):
        before = len(terminal.raw)
        report_size(terminal.slave, columns, rows)
        while len(terminal.raw) < before + columns * rows:
            terminal.read_raw(0.1)
    step, memory = step_now(tmp_path), memory_mb(terminal.process.pid)
    begun, sent, grown = time.monotonic(), 0, [0.0, 0.0]
    while (passed := time.monotonic() - begun) < seconds:
        # As many as a thousand a second; what comes of them is read as fast as it comes.
        while sent < 1000 * passed:
            report_size(terminal.slave, *STORM[sent % len(STORM)])
            sent += 1
        terminal.read_raw(0.001)
        if sent % 100 == 0:
            half = passed > seconds / 2
            grown[half] = max(grown[half], memory_mb(terminal.process.pid) - memory)
    with capsys.disabled():
        print(f"\na storm of {seconds} s: {grown[0]:.0f} MB more by its half, {grown[1]:.0f} after")
    assert sent > 500 * seconds
    assert seconds < 60 or grown[1] < grown[0] + STILL_GROWN_MB
    assert step_now(tmp_path) > step
    for columns, rows, told in ((40, 10, "Too small"), (120, 36, "Samples raw")):
        terminal.resize(columns, rows)
        terminal.until(partial(shows, told))
    terminal.press("K")
    terminal.until(lambda t: "k 1 → 2" in t.text)
    assert max(*grown, memory_mb(terminal.process.pid) - memory) < most_mb
    terminal.signal(signal.SIGTERM)
    assert terminal.wait() == 143
    assert_restored(terminal)


LINK = 5_000
"""Bytes a second."""


def test_on_a_slow_link_less_is_drawn_and_keys_are_still_answered(
    start: Start, tmp_path: Path
) -> None:
    terminal = start(columns=120, rows=36)
    terminal.until(running)
    step, begun, pressed = step_now(tmp_path), time.monotonic(), False
    before = len(terminal.raw)
    while not (pressed and "k 1 → 2" in terminal.text and re.search(r"at \d.* Hz", terminal.text)):
        passed = time.monotonic() - begun
        assert passed < 90, terminal.text
        terminal.read_most(max(1, round(LINK * passed) - (len(terminal.raw) - before)))
        time.sleep(0.05)
        if not pressed and "Hz" in terminal.text:
            terminal.press("K")
            pressed = True
    assert step_now(tmp_path) > step
    terminal.signal(signal.SIGTERM)
    assert terminal.wait() == 143
    assert_restored(terminal)


async def test_nothing_is_animated() -> None:
    async with Dashboard(Board()).run_test() as pilot:
        assert pilot.app.animation_level == "none"


def in_multiplexer(folder: Path, *options: str) -> str:
    small = " ".join(f"--set {override}" for override in TINY)
    command = f"{' '.join(GANTERM)} --preset mnist_mlp --run r --device cpu {small}"
    return f"cd {folder} && {command} {' '.join(options)}"


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not here")
def test_within_tmux(tmp_path: Path, runtime: Path) -> None:
    tmux = ["tmux", "-S", str(runtime / "tmux"), "-f", os.devnull]

    def told(*words: str) -> str:
        return subprocess.run([*tmux, *words], capture_output=True, text=True, check=True).stdout

    def screen() -> str:
        return told("capture-pane", "-p", "-t", "r")

    told("new-session", "-d", "-s", "r", "-x", "120", "-y", "36", in_multiplexer(tmp_path))
    try:
        until(lambda: "Samples raw" in screen() and "▀" in screen())
        told("resize-window", "-t", "r", "-x", "80", "-y", "24")
        until(lambda: len(screen().splitlines()) == 24 and "z zoom" not in screen())
        told("send-keys", "-t", "r", "K")
        until(lambda: re.search(r"k 2|1 → 2", screen()))
        # A client comes and goes, as after a dropped connection.
        client = Terminal([*tmux, "attach", "-t", "r"], tmp_path)
        client.until(lambda t: "Samples raw" in t.text)
        client.close()
        step = step_now(tmp_path)
        until(lambda: step_now(tmp_path) > step)
        told("send-keys", "-t", "r", "q")
        until(lambda: "End this run?" in screen())
        told("send-keys", "-t", "r", "s")
        until(lambda: events(tmp_path)[-1]["kind"] == "stop")
    finally:
        subprocess.run([*tmux, "kill-server"], capture_output=True, check=False)


@pytest.mark.skipif(shutil.which("screen") is None, reason="screen is not here")
def test_within_screen(tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runtime / "screen").mkdir(mode=0o700)
    monkeypatch.setenv("SCREENDIR", str(runtime / "screen"))
    command = ["screen", "-c", os.devnull, "-U", "-S", "r", "sh", "-c", in_multiplexer(tmp_path)]
    terminal = Terminal(command, tmp_path, columns=100, rows=30)
    try:
        terminal.until(lambda t: "Samples raw" in t.text)
        terminal.press("K")
        terminal.until(lambda t: re.search(r"k 2|1 → 2", t.text))
        terminal.hang_up()
        step = step_now(tmp_path)
        until(lambda: step_now(tmp_path) > step)
        again = Terminal(["screen", "-U", "-r", "r"], tmp_path, columns=90, rows=28)
        again.until(lambda t: "Samples raw" in t.text)
        again.press("q")
        again.until(lambda t: "End this run?" in t.text)
        again.press("s")
        until(lambda: events(tmp_path)[-1]["kind"] == "stop")
        again.wait()
        again.close()
    finally:
        subprocess.run(["screen", "-S", "r", "-X", "quit"], capture_output=True, check=False)
        terminal.close()


@pytest.mark.slow
@pytest.mark.parametrize(("term", "colorterm", "no_color", "expected"), TERMINALS)
@pytest.mark.parametrize("size", [(0, 0), (60, 20), (200, 60), (1000, 500), (65_535, 65_535)])
def test_every_terminal_at_every_size(
    start: Start,
    term: str,
    colorterm: str,
    no_color: str | None,
    expected: str,
    size: tuple[int, int],
) -> None:
    known = {} if no_color is None else {"NO_COLOR": no_color}
    terminal = start("--steps", "3000", TERM=term, COLORTERM=colorterm, **known)
    report_size(terminal.slave, *size)
    end = time.monotonic() + DEADLINE
    while b"running" not in terminal.raw and b"finished" not in terminal.raw:
        assert time.monotonic() < end
        terminal.read_raw(0.1)
    for _ in range(20):
        terminal.read_raw(0.1)
    terminal.signal(signal.SIGTERM)
    while terminal.process.poll() is None:
        assert time.monotonic() < end
        terminal.read_raw(0.1)
    terminal.read_raw(0.2)
    assert terminal.process.returncode == 143
    assert_restored(terminal)
    if expected == "none":
        assert not re.search(KINDS["truecolor"] + b"|" + KINDS["256"], terminal.raw)
