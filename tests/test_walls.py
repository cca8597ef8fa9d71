"""Which rooms may know which others, proved in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIGHT = [
    "ganterm.cli",
    "ganterm.controls",
    "ganterm.losses",
    "ganterm.presets",
    "ganterm.data",
    "ganterm.networks",
    "ganterm.session.protocol",
    "ganterm.session.history",
    "ganterm.session.local",
    "ganterm.session.client",
    "ganterm.session.detach",
    "ganterm.session.host",
    "ganterm.session.listing",
    "ganterm.session.server",
    "ganterm.session.records",
    "ganterm.session.runs",
    "ganterm.dashboard.app",
    "ganterm.dashboard.terminal",
    "ganterm.headless",
]
TRAINING = ["ganterm.training.trainer", "ganterm.diagnosis.scores"]


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


def test_the_dashboard_imports_nothing_of_the_trainers_rooms() -> None:
    code = (
        "import sys, ganterm.dashboard.app\n"
        "rooms = ('ganterm.training', 'ganterm.diagnosis', 'ganterm.session.local')\n"
        "print([m for m in sys.modules if m.startswith(rooms)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert eval(done.stdout) == []
