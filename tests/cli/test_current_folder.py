"""No command imports a file of the folder it is started in, nor does any process it starts."""

from __future__ import annotations

import ast
import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import ganterm
from ganterm import search_path
from tests.conftest import TINY
from tests.helpers.deadlines import DEADLINE
from tests.helpers.terminal import Terminal

PACKAGE = Path(ganterm.__file__).parent
SMALL = [part for override in TINY for part in ("--set", override)]
POISON = """
import pathlib
with (pathlib.Path({folder!r}) / "imported").open("a") as file:
    file.write(__name__ + "\\n")
raise ImportError("a file of the current folder was imported")
"""
STREAMED = """
title = "Pictures that are read by workers"
about = "For a test."
[data]
name = "folder"
folder = "{folder}"
side = 32
memory_mb = 1
batch_size = 8
[generator]
network = "mlp"
latent_dim = 4
hidden = [8]
[discriminator]
network = "mlp"
hidden = [8]
"""


def program() -> list[str]:
    """The console script, as it is installed, or what it does."""
    script = Path(sys.executable).parent / "ganterm"
    if script.exists():
        return [str(script)]
    return [sys.executable, "-P", "-m", "ganterm"]


@pytest.fixture
def poisoned(tmp_path: Path) -> Path:
    """A folder of somebody's own scripts, which bear the name of every module there is."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    names = {name.replace("-", "_") for name in importlib.metadata.packages_distributions()}
    names |= {*sys.stdlib_module_names, "ganterm", "sitecustomize", "usercustomize", "torch"}
    for name in sorted(name for name in names if name.isidentifier()):
        (folder / f"{name}.py").write_text(POISON.format(folder=str(tmp_path)))
    for name in ("ganterm", "torch", "numpy"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(POISON.format(folder=str(tmp_path)))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(700):
        Image.new("RGB", (32, 32), (n % 256, n // 3 % 256, 7)).save(folder / f"{n}.png")
    return folder


def imported(folder: Path) -> str:
    found = folder.parent / "imported"
    return found.read_text() if found.exists() else ""


def run(folder: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [*program(), *arguments], cwd=folder, capture_output=True, text=True, timeout=DEADLINE
    )
    assert imported(folder) == ""
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


TRAIN = ["--preset", "mnist_mlp", "--device", "cpu", *SMALL]


def test_commands_that_train_nothing(poisoned: Path) -> None:
    run(poisoned, "presets")
    run(poisoned, "presets", "mnist_mlp")
    run(poisoned, "runs")
    run(poisoned, "attach", code=2)
    run(poisoned, "stop", "x", code=2)


def test_training_in_every_way(poisoned: Path) -> None:
    run(poisoned, *TRAIN, "--headless", "--steps", "3", "--run", "a")
    run(poisoned, "resume", "a", "--headless", "--steps", "5")
    run(poisoned, "resume", "a", "--detach", "--steps", "8")
    run(poisoned, *TRAIN, "--detach", "--run", "b")
    run(poisoned, "stop", "b")


def test_workers_that_read_pictures(poisoned: Path, photos: Path) -> None:
    preset = photos.parent / "small.toml"
    preset.write_text(STREAMED.format(folder=str(photos)))
    streamed = ["--preset", str(preset), "--device", "cpu", "--steps", "2"]
    run(poisoned, *streamed, "--headless", "--run", "c")
    run(poisoned, *streamed, "--detach", "--run", "d")


def test_the_welcome_screen_and_the_dashboard(poisoned: Path) -> None:
    terminal = Terminal(program(), poisoned, 100, 30)
    terminal.until(lambda shown: "mnist_mlp" in shown.text)
    terminal.press("\x03")
    terminal.wait()
    terminal.close()
    terminal = Terminal([*program(), *TRAIN, "--run", "e"], poisoned, 100, 30)
    terminal.until(lambda shown: "running" in shown.text)
    terminal.press("q")
    terminal.close()
    assert imported(poisoned) == ""


@pytest.mark.slow
def test_the_bench(poisoned: Path) -> None:
    run(poisoned, "bench", "--rounds", "1", "--starts", "1", "--seconds", "2")


def test_python_m_leaves_the_folder_out_as_soon_as_it_comes_to_us(poisoned: Path) -> None:
    # What Python itself looks for before it comes to any line of ours.
    code = "import runpy, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    own = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    for name in own.stdout.split():
        (poisoned / f"{name}.py").unlink(missing_ok=True)
    (poisoned / "ganterm.py").unlink()
    shutil.rmtree(poisoned / "ganterm")
    done = subprocess.run(
        [sys.executable, "-m", "ganterm", "presets"], cwd=poisoned, capture_output=True, text=True
    )
    assert (imported(poisoned), done.returncode) == ("", 0), done.stderr


def test_from_a_checkout_a_child_finds_us_behind_all_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(PACKAGE.parent)
    monkeypatch.setattr(sys, "path", ["", *(path for path in sys.path if path != root)])
    monkeypatch.chdir(root)
    command = search_path.python("ganterm", "--version")
    assert "-P" in command
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "ganterm" in done.stdout


STARTS = {
    "bench/turns.py": "programs under measurement, by search_path.python",
    "bench/workers.py": "workers of a bench, with PYTHONSAFEPATH set",
    "cli/background.py": "the host, by search_path.python; and loginctl",
    "training/hook.py": "the command that the user gave",
    "training/stream.py": "workers, within _sheltered",
}


def test_every_place_that_starts_a_process_is_one_that_was_thought_of() -> None:
    """A new one starts Python by ``search_path.python``, and then is named in ``STARTS``."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                names = [f"{node.value.id}.{node.attr}"]
            place = str(path.relative_to(PACKAGE))
            if any(
                name.split(".")[0] in ("subprocess", "multiprocessing", "pty")
                or name.startswith(
                    ("os.exec", "os.spawn", "os.fork", "os.posix_spawn", "os.system")
                )
                for name in names
            ):
                found.add(place)
            if "sys.executable" in names:
                assert place == "search_path.py", f"{place} starts a Python of its own"
    assert found == STARTS.keys()
