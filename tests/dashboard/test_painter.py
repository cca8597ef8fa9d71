"""What is sent of a changed grid brings a terminal to where a whole painting would."""

from __future__ import annotations

import numpy as np
import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.color import ColorSystem
from rich.style import Style

from ganterm.dashboard.draw.cells import Cells
from ganterm.dashboard.terminal.painter import Change, Painter
from tests.helpers.terminal import Start, Terminal, running

LOOKS = [
    Style(),
    Style(color="#5cc8ff", bgcolor="#171c23"),
    Style(color="#5cc8ff", bgcolor="#171c23", bold=True),
    Style(color="#ffb454", bgcolor="#171c23"),
    Style(color="#ffb454", bgcolor="#232a33", bold=True),
    Style(bgcolor="#ff6b6b"),
    Style(color="#ff6b6b", underline=True),
    Style(reverse=True),
]
PLACE = st.tuples(st.integers(0, 5), st.integers(0, 7))


@st.composite
def grids(draw: st.DrawFn) -> tuple[Cells, Cells]:
    """Two grids of one size; the second differs here and there, and numbers its styles anew."""
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 24))
    letters, looks = st.sampled_from("ab ▀⣿"), st.integers(0, len(LOOKS) - 1)
    size = rows * columns
    chars = np.array(draw(st.lists(letters, min_size=size, max_size=size)), "<U1")
    styles = np.array(draw(st.lists(looks, min_size=size, max_size=size)), np.intp)
    places = st.tuples(st.integers(0, size - 1), letters, looks)
    after, new = chars.copy(), styles.copy()
    for place, letter, look in draw(st.lists(places, max_size=10)):
        after[place], new[place] = letter, look
    order = draw(st.permutations(range(len(LOOKS))))
    number = np.argsort(np.array(order))
    return (
        Cells.of(chars.reshape(rows, columns), styles.reshape(rows, columns), LOOKS),
        Cells.of(
            after.reshape(rows, columns),
            number[new].reshape(rows, columns),
            [LOOKS[index] for index in order],
        ),
    )


def shown(screen: pyte.Screen) -> list[list[tuple[object, ...]]]:
    fields = ("data", "fg", "bg", "bold", "underscore", "reverse")
    return [
        [tuple(getattr(screen.buffer[y][x], f) for f in fields) for x in range(screen.columns)]
        for y in range(screen.lines)
    ]


def fresh(style: Style) -> Style:
    """A copy that forgets the colour system that the style was rendered for first."""
    copy = style.copy()
    copy._ansi = None
    return copy


def composed(cells: Cells, row: int, column: int, system: ColorSystem) -> str:
    """The grid as Rich writes it, every segment with all of its style."""
    return "".join(
        f"\x1b[{row + y + 1};{column + 1}H"
        + "".join(fresh(s.style or Style()).render(s.text, color_system=system) for s in strip)
        for y, strip in enumerate(cells.strips())
    )


def whole(cells: Cells, row: int, column: int, system: ColorSystem) -> pyte.Screen:
    screen = pyte.Screen(36, 12)
    pyte.Stream(screen).feed("#" * 36 * 11 + composed(cells, row, column, system))
    return screen


@pytest.mark.parametrize(
    "system", [ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT, ColorSystem.STANDARD]
)
@settings(max_examples=60, deadline=None)
@given(pair=grids(), place=PLACE)
def test_a_changed_grid_is_brought_up_to_date_and_nothing_else_is_touched(
    system: ColorSystem, pair: tuple[Cells, Cells], place: tuple[int, int]
) -> None:
    before, after = pair
    screen = whole(before, *place, system)
    pyte.Stream(screen).feed(Painter(system).sequence([Change(before, after, *place)]))
    assert shown(screen) == shown(whole(after, *place, system))


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(grids(), min_size=2, max_size=3), beside=st.booleans())
def test_grids_that_change_together_are_each_brought_up_to_date(
    pairs: list[tuple[Cells, Cells]], beside: bool
) -> None:
    """Below each other, or side by side, where the columns of one go on in the next."""
    row = column = 0
    changes, screens = [], [pyte.Screen(80, 12) for _ in range(2)]
    for before, after in pairs:
        changes.append(Change(before, after, row, column))
        for screen, grid in zip(screens, (before, after), strict=True):
            pyte.Stream(screen).feed(composed(grid, row, column, ColorSystem.TRUECOLOR))
        rows, columns = after.size
        row, column = (row, column + columns) if beside else (row + rows, column)
    pyte.Stream(screens[0]).feed(Painter(ColorSystem.TRUECOLOR).sequence(changes))
    assert shown(screens[0]) == shown(screens[1])


@settings(max_examples=60, deadline=None)
@given(pair=grids())
def test_what_did_not_change_is_not_sent(pair: tuple[Cells, Cells]) -> None:
    before, after = pair
    one = Painter(ColorSystem.TRUECOLOR)
    assert one.sequence([Change(after, after, 0, 0)]) == ""
    same = shown(whole(before, 0, 0, ColorSystem.TRUECOLOR)) == shown(
        whole(after, 0, 0, ColorSystem.TRUECOLOR)
    )
    # Without a colour of their own, two styles may look alike on this screen and still differ.
    assert same or one.sequence([Change(before, after, 0, 0)])


def test_a_single_letter_costs_a_jump_and_one_style() -> None:
    before, after = Cells(3, 40), Cells(3, 40)
    after.write(1, 7, "x", LOOKS[1])
    sent = Painter(ColorSystem.TRUECOLOR).sequence([Change(before, after, 10, 20)])
    assert sent.startswith("\x1b[12;28H\x1b[") and sent.endswith("mx\x1b[0m")
    assert sent.count("\x1b") == 3


def test_what_is_painted_is_what_textual_would_compose(start: Start) -> None:
    """A run that rests is painted by us, then composed by Textual when a screen above it goes."""

    def body(terminal: Terminal) -> list[list[tuple[object, ...]]]:
        # The status line tells what drawing costs, which is another figure each time.
        return shown(terminal._screen)[2:]

    terminal = start()
    terminal.until(running)
    terminal.until(lambda t: t.raw.count(b"\x1b[0m\x1b[?2026l") > 3 or t.raw.count(b"\x1b[0m") > 40)
    terminal.press("K")
    terminal.until(lambda t: "k 2" in t.text)
    terminal.press(" ")
    terminal.until(lambda t: "paused" in t.text)
    terminal.read(1.5)
    painted = body(terminal)
    terminal.press("?")
    terminal.until(lambda t: "How to read" in t.text or "Keys" in t.text)
    terminal.press("\x1b")
    terminal.until(lambda t: "Keys" not in t.text and "paused" in t.text)
    terminal.read(1.5)
    assert body(terminal) == painted
    terminal.press("q")
    terminal.until(lambda t: "End this run?" in t.text)
    terminal.press("\r")
    assert terminal.wait() == 0
