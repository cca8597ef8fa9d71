"""The pictures of the README and its pages, made anew: ``python -m tests.screenshots [NAME...]``.

Each picture is of a real run on a pty of the size in its name. The dashboard's key `p` saves it as
an SVG, and `rsvg-convert` (package librsvg2-bin or librsvg) makes the PNG. Run it on a machine that
does nothing else: the pictures show the speed and what watching costs.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.helpers.terminal import GANTERM, Terminal

SECONDS = 1_200
"""A run that has not come to its step after 20 minutes never does."""


class Shot(NamedTuple):
    """A preset at a step; ``keys`` are pressed on the way, each at its step."""

    preset: str
    step: int
    keys: tuple[tuple[int, str], ...] = ()
    needs_data: bool = False


SHOTS = {
    "mnist_mlp-80x24": Shot("mnist_mlp", 4_000),
    "mnist_mlp-120x36": Shot("mnist_mlp", 4_000),
    "mnist_mlp-200x60": Shot("mnist_mlp", 4_000, ((2_000, "K"), (3_000, "k"))),
    "diagnosis-120x36": Shot("mnist_mlp", 8_000, ((6_000, "2"),)),
    "mnist_cgan-120x36": Shot("mnist_cgan", 4_000, needs_data=True),
    "mnist_cgan-200x60": Shot("mnist_cgan", 4_000, ((3_800, "vvvv"),), needs_data=True),
    "ring8-120x36": Shot("ring8", 12_000),
    "ring8_collapse-120x36": Shot("ring8_collapse", 3_000),
}


def shoot(name: str, shot: Shot, data_dir: Path | None, out: Path) -> None:
    """Train until the step of ``shot`` and keep the screen as ``out/name.svg`` and ``.png``."""
    columns, rows = map(int, name.rsplit("-", 1)[1].split("x"))
    command = [*GANTERM, "--preset", shot.preset, "--run", shot.preset]
    if data_dir is not None:
        command += ["--data-dir", str(data_dir)]
    with tempfile.TemporaryDirectory(prefix="ganterm-") as place:
        run = Path(place) / "runs" / shot.preset
        terminal = Terminal(command, Path(place), columns, rows)
        try:
            for step, keys in shot.keys:
                _read_until(terminal, lambda step=step: _steps(run) >= step)  # type: ignore[misc]
                terminal.press(keys)
            _read_until(terminal, lambda: _steps(run) >= shot.step)
            terminal.press("p")
            _read_until(terminal, lambda: any(run.glob("screenshot_*.svg")))
            time.sleep(0.5)
            svg = next(run.glob("screenshot_*.svg")).read_text()
            terminal.press("q")
            _read_until(terminal, lambda: b"End this run?" in terminal.raw)
            terminal.press("\r")
            terminal.wait(SECONDS)
        finally:
            terminal.close()
    (out / f"{name}.svg").write_text(svg)
    png = ["rsvg-convert", "-o", str(out / f"{name}.png")]
    subprocess.run(png, input=cell_by_cell(svg).encode(), check=True)


def _read_until(terminal: Terminal, condition: Callable[[], bool]) -> None:
    """Read as fast as a terminal does: the dashboard shows less to a slow one.

    Raises AssertionError after SECONDS seconds.
    """
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        terminal.raw = b""
        terminal.read_raw(0.1)


def cell_by_cell(svg: str) -> str:
    """Give every character of Rich's SVG a text element of its own, at the left of its cell.

    rsvg-convert ignores ``textLength`` and drops leading spaces, so a run of characters whose font
    is wider or narrower than a cell would drift.
    """

    def split(text: re.Match[str]) -> str:
        characters = re.findall(r"&#?\w+;|.", text["content"], re.DOTALL)
        cell = float(text["width"]) / len(characters)
        return "".join(
            f'<text {text["style"]} x="{float(text["x"]) + column * cell:.1f}" {text["y"]}>'
            f"{character}</text>"
            for column, character in enumerate(characters)
            if character != "&#160;" and not character.isspace()
        )

    return re.sub(
        r'<text (?P<style>class="[^"]*") x="(?P<x>[\d.]+)" (?P<y>y="[^"]*")'
        r' textLength="(?P<width>[\d.]+)"[^>]*>(?P<content>[^<]+)</text>',
        split,
        svg,
    )


def _steps(run: Path) -> int:
    """The rows that a run has written."""
    column = run / "history" / "step.i8"
    return column.stat().st_size // 8 if column.exists() else 0


def main() -> int:
    """Make the pictures that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*SHOTS, []], metavar="NAME")
    parser.add_argument("--data-dir", type=Path, help="MNIST in torchvision's layout")
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    arguments = parser.parse_args()
    if shutil.which("rsvg-convert") is None:
        parser.error("rsvg-convert is not installed: it is in librsvg2-bin (Debian) or librsvg")
    for name in arguments.names or SHOTS:
        shot = SHOTS[name]
        data_dir = arguments.data_dir.resolve() if arguments.data_dir else None
        if shot.needs_data and data_dir is None:
            print(f"{name}: left out, it needs --data-dir")
            continue
        shoot(name, shot, data_dir if shot.needs_data else None, arguments.out)
        print(f"{name}: made")
    return 0


if __name__ == "__main__":
    sys.exit(main())
