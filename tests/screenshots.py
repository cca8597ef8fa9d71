"""The pictures of the README and its pages, made anew: ``python -m tests.screenshots [NAME...]``.

Each picture is of a real run on a pty of the size in its name. The dashboard's key `p` saves it as
an SVG, and `rsvg-convert` (package librsvg2-bin or librsvg) makes the PNG. Run it on a machine that
does nothing else: the pictures show the speed and what watching costs.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
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
    "diagnosis-120x36": Shot("mnist_mlp", 4_000, ((3_800, "2"),)),
    "mnist_cgan-120x36": Shot("mnist_cgan", 4_000, needs_data=True),
    "mnist_cgan-200x60": Shot("mnist_cgan", 4_000, ((3_800, "vvv"),), needs_data=True),
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
            terminal.until(lambda t: "running" in t.text, SECONDS)
            for step, keys in shot.keys:
                terminal.until(lambda _, step=step: _steps(run) >= step, SECONDS)  # type: ignore[misc]
                terminal.press(keys)
            terminal.until(lambda _: _steps(run) >= shot.step, SECONDS)
            terminal.press("p")
            terminal.until(lambda _: any(run.glob("screenshot_*.svg")), 60)
            time.sleep(0.5)
            shutil.copyfile(next(run.glob("screenshot_*.svg")), out / f"{name}.svg")
            terminal.press("q")
            terminal.until(lambda t: "End this run?" in t.text)
            terminal.press("\r")
            terminal.wait(60)
        finally:
            terminal.close()
    png = str(out / f"{name}.png")
    subprocess.run(["rsvg-convert", "-o", png, str(out / f"{name}.svg")], check=True)


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
