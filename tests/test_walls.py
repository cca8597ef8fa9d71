"""Which rooms may know which others, proved in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIGHT = [
    "ganterm.cli.commands",
    "ganterm.core.controls",
    "ganterm.losses",
    "ganterm.presets",
    "ganterm.sections",
    "ganterm.data",
    "ganterm.networks",
    "ganterm.core.snapshot",
    "ganterm.core.history",
    "ganterm.session.local",
    "ganterm.session.client",
    "ganterm.cli.background",
    "ganterm.cli.host",
    "ganterm.cli.runs",
    "ganterm.session.server",
    "ganterm.training.checkpoints.health",
    "ganterm.rundir.reader",
    "ganterm.rundir.find",
    "ganterm.dashboard.app",
    "ganterm.dashboard.terminal.capabilities",
    "ganterm.cli.headless",
]
TRAINING = ["ganterm.training.loop", "ganterm.diagnosis.exams.scores"]


def loaded_after(module: str, packages: tuple[str, ...]) -> list[str]:
    code = (
        f"import sys, {module}; "
        f"print([m for m in sys.modules if m.split('.')[0] in {packages!r} and '.' not in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return list(eval(done.stdout))


def test_the_screen_and_the_catalogues_load_without_torch() -> None:
    assert loaded_after(", ".join(LIGHT), ("torch", "torchvision")) == []


@pytest.mark.parametrize("module", TRAINING)
def test_the_trainer_knows_no_screen(module: str) -> None:
    assert loaded_after(module, ("textual", "rich")) == []


def of_rooms(imported: str, rooms: tuple[str, ...]) -> str:
    """The modules of these rooms that there are after an import, as a list is printed."""
    code = f"import sys, {imported}; print([m for m in sys.modules if m.startswith({rooms!r})])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_dashboard_imports_nothing_of_the_trainers_rooms() -> None:
    rooms = ("ganterm.training", "ganterm.diagnosis", "ganterm.session.local")
    assert of_rooms("ganterm.dashboard.app", rooms) == "[]"


@pytest.mark.parametrize("words", [["--help"], ["runs"], ["presets"], ["presets", "ring8"]])
def test_a_short_answer_needs_neither_torch_nor_a_screen(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from ganterm.cli.commands import main\n"
        f"sys.argv = ['ganterm', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit as leaving:\n    code = leaving.code\n"
        "print([m for m in ('torch', 'torchvision', 'textual') if m in sys.modules], code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
    assert done.stdout.splitlines()[-1] == b"[] 0", done.stderr


def test_a_run_does_not_wait_for_torchs_compiler(tmp_path: Path) -> None:
    """It takes as long to load as torch, and only `run.compile` has a use for it."""
    code = (
        "import sys\n"
        "from ganterm.cli.commands import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print('torch' in sys.modules, 'torch._dynamo' in sys.modules)"
    )
    words = ["--preset", "ring8", "--headless", "--device", "cpu", "--steps", "2", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "True False", done.stderr


def test_who_watches_loads_no_presets() -> None:
    heavy = ("pydantic", "PIL", "ganterm.presets", "ganterm.networks", "ganterm.data")
    assert (
        of_rooms("ganterm.cli.commands, ganterm.cli.attach, ganterm.dashboard.app", heavy) == "[]"
    )
