"""Pictures in the terminal's own pixels: what is sent, when, and to which terminals."""

from __future__ import annotations

import base64
import io
import os
import re
import struct
import sys
import time
from collections.abc import Callable, Iterator
from fcntl import ioctl
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.draw.picture import fit
from ganterm.dashboard.draw.tiles import draw_grid, draw_pairs, draw_table, fit_pairs, fit_table
from ganterm.dashboard.terminal import kitty, sixel
from ganterm.dashboard.terminal.capabilities import choose_glyphs
from ganterm.dashboard.terminal.graphics import QUESTION, Answers, Graphics, in_pixels
from ganterm.dashboard.terminal.line import Line
from tests.helpers.deadlines import DEADLINE
from tests.helpers.terminal import Terminal, assert_restored

Pixels = NDArray[np.uint8]
IN_PIXELS = Glyphs(pictures="sixel", dots=(8, 16))


# What is sent, read by decoders that know nothing of the encoders.


def decoded(sequence: bytes) -> Pixels:
    """What a Sixel terminal shows, (height, width, 3), in per cent; what is not set is 255."""
    whole = re.fullmatch(rb'\x1bP7;1q"1;1;(\d+);(\d+)(.*)\x1b\\', sequence, re.DOTALL)
    assert whole is not None
    width, height = int(whole[1]), int(whole[2])
    shown = np.full((-(-height // 6) * 6, width, 3), 255, np.uint8)
    colors: dict[int, list[int]] = {}
    x = y = 0
    color = [0, 0, 0]
    token = rb"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|([$-])"
    end = 0
    for part in re.finditer(token, whole[3]):
        assert part.start() == end, "nothing else stands between"
        end = part.end()
        if part[1]:
            colors[int(part[1])] = [int(part[n]) for n in (2, 3, 4)]
        elif part[5]:
            color = colors[int(part[5])]
        elif part[9]:
            x, y = 0, y + 6 * (part[9] == b"-")
        else:
            count, bits = int(part[6] or 1), (part[7] or part[8])[0] - 63
            assert count <= 255 and x + count <= width
            for row in range(6):
                if bits >> row & 1:
                    shown[y + row, x : x + count] = color
            x += count
    assert end == len(whole[3])
    assert (shown[height:] == 255).all(), "nothing below the last row"
    return shown[:height]


pictures = st.tuples(
    st.integers(1, 20), st.integers(1, 30), st.sampled_from([1, 3]), st.integers(1, 300)
)


def picture(shape: tuple[int, int, int, int], seed: int) -> Pixels:
    height, width, channels, values = shape
    random = np.random.default_rng(seed)
    return random.choice(random.integers(0, 256, values), (height, width, channels)).astype(
        np.uint8
    )


@given(pictures, st.integers(1, 9), st.integers(0, 2**31))
def test_sixel_shows_each_pixel_enlarged_in_its_nearest_colour(
    shape: tuple[int, int, int, int], scale: int, seed: int
) -> None:
    pixels = picture(shape, seed)
    shown = decoded(sixel.encode(pixels, scale)).astype(float)
    wanted = pixels.repeat(scale, axis=0).repeat(scale, axis=1) / 2.55
    levels = sixel.GREYS if shape[2] == 1 else sixel.LEVELS
    assert shown.shape[:2] == wanted.shape[:2]
    # Half a level of the palette, and what is lost where it is told in whole per cent.
    assert np.abs(shown - wanted).max() <= 50 / (levels - 1) + 0.51


def test_sixel_says_long_runs_in_pieces_and_no_colour_that_is_not_there() -> None:
    even = np.full((3, 200, 1), 255, np.uint8)
    sequence = sixel.encode(even, 4)
    assert (decoded(sequence) == 100).all()
    assert sequence.count(b";2;") == 1 and len(sequence) < 120


def images_of(sent: bytes) -> dict[int, Pixels]:
    """The images that are on a screen after what was sent to it, by their numbers."""
    there: dict[int, Pixels] = {}
    data, number = b"", 0
    for control, payload in re.findall(rb"\x1b_G([^;\x1b]*);?([^\x1b]*)\x1b\\", sent):
        told = dict(pair.split(b"=") for pair in control.split(b","))
        if told.get(b"a") == b"q":
            continue
        assert told[b"q"] == b"2", "no answer is wanted, which would be read as keys"
        if told.get(b"a") == b"d":
            there.pop(int(told[b"i"]), None)
            continue
        assert len(payload) <= 4096
        if told.get(b"a") == b"T":
            assert told[b"f"] == b"100" and told[b"C"] == b"1"
            data, number = b"", int(told[b"i"])
        data += payload
        if told[b"m"] == b"0":
            with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
                there[number] = np.asarray(image.convert("RGB"))
    return there


@given(pictures, st.integers(1, 9), st.integers(0, 2**31), st.integers(1, 2**32 - 1))
def test_kitty_shows_each_pixel_enlarged_as_it_is(
    shape: tuple[int, int, int, int], scale: int, seed: int, number: int
) -> None:
    pixels = picture(shape, seed)
    shown = images_of(kitty.encode(pixels, scale, number))
    wanted = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    assert list(shown) == [number]
    assert (shown[number] == wanted).all()


def test_kitty_cuts_large_pictures_into_pieces_and_forgets_what_is_erased() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    sequence = kitty.encode(noise, 2, 7)
    assert sequence.count(b"\x1b_G") > 4
    assert (images_of(sequence)[7] == noise.repeat(2, axis=0).repeat(2, axis=1)).all()
    assert images_of(sequence + kitty.erase(7)) == {}


# How pictures are laid out.


@given(
    st.integers(20, 120), st.integers(8, 60), st.sampled_from([28, 32, 64]),
    st.integers(5, 20), st.integers(10, 40), st.integers(1, 64),
)  # fmt: skip
def test_samples_in_pixels_are_enlarged_by_whole_numbers_and_fit(
    columns: int, rows: int, native: int, wide: int, tall: int, count: int
) -> None:
    glyphs = Glyphs(pictures="kitty", dots=(wide, tall))
    grid = fit(columns, rows, native, count, glyphs)
    assert grid.dots % native == 0
    images = np.zeros((count, native, native, 1), np.uint8)
    cells = draw_grid(images, columns, rows, glyphs)
    (inlay,) = cells.inlays
    assert inlay.size == (grid.down * grid.dots, grid.across * grid.dots)
    assert cells.size == (-(-inlay.size[0] // tall), -(-inlay.size[1] // wide))
    if grid.dots > glyphs.sizes(native)[-1]:
        assert cells.size[0] <= rows and cells.size[1] <= columns


def test_rows_and_pairs_in_pixels_stand_beside_their_words() -> None:
    images = np.random.default_rng(0).integers(0, 256, (80, 28, 28, 1), dtype=np.uint8)
    table = fit_table(84, 40, 28, 10, 8, 2, IN_PIXELS)
    cells = draw_table(images, 8, [str(n) for n in range(10)], table, IN_PIXELS)
    lines = ["".join(row) for row in cells.chars.tolist()]
    assert sorted("".join(lines).replace(" ", "")) == list("0123456789")
    for inlay in cells.inlays:
        height, width = inlay.size
        under = cells.chars[
            inlay.row : inlay.row + -(-height // 16), inlay.column : inlay.column + -(-width // 8)
        ]
        assert (under == " ").all()
    pairs = fit_pairs(84, 40, 28, 12, IN_PIXELS)
    cells = draw_pairs(images[:12], images[12:24], ["0.25"] * 12, pairs, IN_PIXELS)
    assert len(cells.inlays) == "".join("".join(row) for row in cells.chars.tolist()).count("0.25")


# What the terminal answers.

KITTY = "\x1b_Gi=31;OK\x1b\\"
NO_KITTY = "\x1b_Gi=31;EINVAL:no\x1b\\"
CELL = "\x1b[6;16;8t"
SIXEL = "\x1b[?62;4;22c"
PLAIN = "\x1b[?62;22c"
KEYS = st.lists(
    st.sampled_from(["k", "K", ":", " ", "\x1b", "\x1b[A", "\x1b[6~", "\x1b[5~", "\x1bOP", "ü",
                     "\x1b[<0;3;4M", "\x1b[?2026;2$y", "\x1b[107u", "6", "c", "?"]),
    max_size=6,
)  # fmt: skip


def pieces(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in pairwise(places)]


@given(
    st.tuples(KEYS, KEYS, KEYS, KEYS), st.sampled_from([KITTY, NO_KITTY, ""]),
    st.sampled_from([CELL, ""]), st.sampled_from([SIXEL, PLAIN]), st.lists(st.integers(0, 200)),
)  # fmt: skip
def test_answers_are_told_from_keys_wherever_they_are_cut(
    keys: tuple[list[str], ...], first: str, second: str, last: str, cuts: list[int]
) -> None:
    typed = ["".join(part) for part in keys]
    answers = Answers()
    answers.expect()
    text = typed[0] + first + typed[1] + second + typed[2] + last + typed[3]
    got = "".join(answers.feed(piece) for piece in pieces(text, cuts)) + answers.release()
    assert got == "".join(typed)
    assert answers.graphics == Graphics(first == KITTY, last == SIXEL, (8, 16) if second else None)


@given(st.text(max_size=40) | KEYS.map("".join), st.lists(st.integers(0, 200)))
def test_nothing_that_is_typed_is_lost_while_no_answer_comes(text: str, cuts: list[int]) -> None:
    text = re.sub(r"\x1b\[\??[\d;]*[ct]|\x1b_", "", text)
    answers = Answers()
    answers.expect()
    got = "".join(answers.feed(piece) + answers.release() for piece in pieces(text, cuts))
    assert got == text
    assert answers.graphics == Graphics()


@pytest.mark.parametrize("cell", ["\x1b[6;0;0t", "\x1b[6;99999;8t", "\x1b[6;16;1t"])
def test_a_size_that_no_font_has_is_not_believed(cell: str) -> None:
    answers = Answers()
    answers.expect()
    assert answers.feed(cell + "x" + SIXEL) == "x"
    assert answers.graphics.cell is None
    assert in_pixels(Glyphs(ask=True), answers.graphics, None) == Glyphs(ask=True)


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM": "xterm"}, True),
        ({"TERM": "linux"}, False),
        ({"TERM": "tmux-256color"}, False),
        ({"TERM": "screen.xterm-256color"}, False),
        ({"TERM": "xterm-256color", "TMUX": "/tmp/tmux-0/default,1,0"}, False),
        ({"TERM": "xterm-256color", "STY": "1.pts-0.box"}, False),
    ],
)
def test_only_terminals_of_their_own_are_asked(environment: dict[str, str], asked: bool) -> None:
    assert choose_glyphs("auto", "256", environment).ask == asked
    assert not choose_glyphs("auto", "none", environment).ask
    assert not choose_glyphs("half", "256", environment).ask
    assert choose_glyphs("sixel", "256", environment).pictures == "sixel"


# A dashboard on a terminal that answers, one that does not, and those that do it badly.

BOARD = """
import sys, threading, time
from dataclasses import replace
import numpy as np
from ganterm.dashboard.app import Dashboard
from ganterm.dashboard.terminal.line import Line
from ganterm.dashboard.terminal.capabilities import choose_glyphs
from ganterm.session.board import Board
from ganterm.core.metrics import METRICS
from ganterm.core.snapshot import Sample

board = Board()
board.recording.append(np.ones((3, len(METRICS)), np.float32))
rows = dict.fromkeys(METRICS, 1.0)
def live():
    for step in range(3, 10_000):
        images = np.full((64, 28, 28, 1), step % 256, np.uint8)
        sample = Sample(step, images=images)
        board.snapshot = replace(
            board.snapshot, state="running", step=step, scalars=rows, sample=sample
        )
        time.sleep(0.2)
threading.Thread(target=live, daemon=True).start()
line = Line()
glyphs = choose_glyphs(sys.argv[1], "truecolor")
Dashboard(board, glyphs, line, "truecolor", suspends=True).run()
open("commands", "w").write(repr(list(board.commands)))
"""
Show = Callable[..., Terminal]


@pytest.fixture
def show(tmp_path: Path) -> Iterator[Show]:
    """A dashboard without a trainer on a terminal, of which the system knows the pixels or not."""
    opened: list[Terminal] = []

    def make(glyphs: str = "auto", pixels: bool = False, **environment: str) -> Terminal:
        command = [sys.executable, "-c", BOARD, glyphs]
        terminal = Terminal(command, tmp_path, columns=120, rows=36, **environment)
        opened.append(terminal)
        size = (36, 120, 960, 576) if pixels else (36, 120, 0, 0)
        ioctl(terminal.slave, 0x5414, struct.pack("HHHH", *size))
        return terminal

    yield make
    for terminal in opened:
        terminal.close()


def until(terminal: Terminal, condition: Callable[[bytes], Any], seconds: float = DEADLINE) -> None:
    """Read on until what was sent meets a condition."""
    end = time.monotonic() + seconds
    while not condition(terminal.raw):
        assert time.monotonic() < end, terminal.raw[-2000:]
        terminal.read_raw(0.1)


def after(mark: bytes, sent: bytes) -> bytes:
    return sent.rpartition(mark)[2]


def asked(sent: bytes) -> bool:
    return QUESTION.encode() in sent


def leave(terminal: Terminal) -> None:
    terminal.press("q")
    until(terminal, lambda sent: b"End this run?" in sent)
    terminal.press("l")
    end = time.monotonic() + DEADLINE
    while terminal.process.poll() is None:
        assert time.monotonic() < end
        terminal.read_raw(0.1)
    terminal.read_raw(0.3)
    assert_restored(terminal)


def test_kitty_images_follow_the_samples_and_are_gone_under_a_dialog_and_after(
    show: Show, tmp_path: Path
) -> None:
    terminal = show()
    until(terminal, asked)
    assert not images_of(terminal.raw)
    terminal.press("K" + KITTY + CELL + "K" + PLAIN + "K")
    until(terminal, images_of)
    ((number, first),) = images_of(terminal.raw).items()
    assert first.shape[0] % 28 == first.shape[1] % 28 == 0
    assert len(np.unique(first)) == 1
    until(terminal, lambda sent: (images_of(sent)[number] != first[0, 0]).all())
    terminal.press("q")
    until(terminal, lambda sent: b"End this run?" in sent)
    until(terminal, lambda sent: not images_of(sent))
    terminal.press("\x1b")
    until(terminal, images_of)
    leave(terminal)
    assert not images_of(terminal.raw)
    commands = (tmp_path / "commands").read_text()
    assert commands.count("SetControl(name='k'") == 3, "no key is lost between answers"


def test_sixel_pictures_come_again_after_what_lay_over_them(show: Show) -> None:
    terminal = show(pixels=True)
    until(terminal, asked)
    terminal.press(SIXEL)
    whole = rb"\x1b7\x1b\[\d+;\d+H\x1bP7;1q[^\x1b]*\x1b\\\x1b8"
    until(terminal, lambda sent: re.search(whole, sent))
    picture = re.findall(rb"\x1bP7;1q.*?\x1b\\", terminal.raw, re.DOTALL)[-1]
    assert decoded(picture).shape[0] % 28 == 0
    terminal.press("?")
    until(terminal, lambda sent: b"esc closes" in sent)
    for _ in range(8):
        terminal.read_raw(0.1)
    assert b"\x1bP7;1q" not in after(b"esc closes", terminal.raw)
    terminal.press("\x1b")
    until(terminal, lambda sent: b"\x1bP7;1q" in after(b"esc closes", sent))
    leave(terminal)


@pytest.mark.parametrize(
    "said",
    ["", PLAIN, NO_KITTY + CELL + PLAIN, KITTY + PLAIN, SIXEL, "\x1b[?c\x1b[6t\x1b_G;;\x1b\\",
     "\x1b[6;0;0t" + SIXEL],
    ids=["silent", "plain", "refused", "no size", "no size, sixel", "garbage", "no such size"],
)  # fmt: skip
def test_other_terminals_get_half_blocks_at_once_and_lose_no_key(show: Show, said: str) -> None:
    terminal = show()
    terminal.until(lambda t: asked(t.raw))
    terminal.press(said)
    terminal.until(lambda t: "Samples raw" in t.text)
    terminal.press("K")
    terminal.until(lambda t: re.search("1 ?→ ?2", t.text))
    terminal.read(0.5)
    assert b"\x1bP" not in terminal.raw
    assert not images_of(terminal.raw)
    leave(terminal)


def test_an_answer_that_comes_late_is_understood_late(show: Show, tmp_path: Path) -> None:
    terminal = show()
    until(terminal, lambda sent: asked(sent) and b"Samples" in sent)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        terminal.read_raw(0.1)
    assert not images_of(terminal.raw)
    for character in KITTY + CELL + PLAIN:
        terminal.press(character)
    until(terminal, images_of)
    leave(terminal)
    assert "SetControl" not in (tmp_path / "commands").read_text()


@pytest.mark.parametrize("environment", [{"TMUX": "x"}, {"TERM": "screen-256color"}])
def test_within_a_multiplexer_nothing_is_asked(show: Show, environment: dict[str, str]) -> None:
    terminal = show(pixels=True, **environment)
    terminal.until(lambda t: "Samples raw" in t.text)
    assert not asked(terminal.raw)
    leave(terminal)


def test_where_the_user_says_so_pixels_are_sent_without_an_answer(show: Show) -> None:
    terminal = show("sixel")
    until(terminal, lambda sent: b"\x1bP7;1q" in sent)
    leave(terminal)


def test_a_terminal_put_back_by_force_keeps_no_image() -> None:
    master, slave = os.openpty()
    line = Line(slave)
    shown = kitty.encode(np.zeros((2, 2, 1), np.uint8), 1, 5)
    line.undo = kitty.erase(5)
    line.restore()
    sent = os.read(master, 4096)
    assert sent.index(line.undo) < sent.index(b"\x1b[?1049l")
    assert images_of(shown + sent) == {}
    line.release()
    os.close(master)
    os.close(slave)
