"""The README and the pages behind it say the truth: commands run, links lead somewhere, tables are
complete."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ganterm import presets
from ganterm.core.controls import KNOBS
from ganterm.dashboard.keys import ACTIONS
from ganterm.data import DATASETS
from ganterm.diagnosis.rule import rules
from ganterm.losses import LOSSES
from tests.helpers.deadlines import DEADLINE
from tests.helpers.terminal import GANTERM, Terminal

ROOT = Path(__file__).parents[1]
PAGES = {
    page: page.read_text()
    for page in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        ROOT / "presets" / "README.md",
        *sorted((ROOT / "ganterm" / "docs").glob("*.md")),
    )
}
README = PAGES[ROOT / "README.md"]
ALL_PAGES = "\n".join(PAGES.values())
SHARED = ROOT.parent / "shared" / "data"
BLOCKS = re.findall(r"```sh\n(.*?)```", ALL_PAGES, re.DOTALL)
COMMANDS = list(dict.fromkeys(line for block in BLOCKS for line in block.splitlines()))
OURS = [command for command in COMMANDS if command.startswith("ganterm")]
UNWATCHED = ("--headless", "--detach")
WATCHED = [c for c in OURS if "--preset" in c and not any(o in c for o in UNWATCHED)]
PLAIN = [c for c in OURS if c not in WATCHED and not c.startswith("ganterm bench")]


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    shim = folder / "bin"
    shim.mkdir(exist_ok=True)
    program = shim / "ganterm"
    program.write_text(f'#!/bin/sh\nexec {" ".join(GANTERM)} "$@"\n')
    program.chmod(0o755)
    path = f"{shim}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("command", PLAIN)
def test_commands_without_a_dashboard_run(command: str, tmp_path: Path) -> None:
    name = re.match(r"ganterm (?:resume|stop) (\w+)", command)
    if name:
        (begins,) = [c for c in COMMANDS if f"--run {name[1]}" in c]
        before = run(begins, tmp_path)
        assert before.returncode == 0, before.stderr
    done = run(command, tmp_path)
    if "--detach" in command:
        assert run(f"ganterm stop {command.rsplit(maxsplit=1)[-1]}", tmp_path).returncode == 0
    assert done.returncode == (3 if "--stop-on" in command else 0), done.stderr
    if "--json" in command:
        assert json.loads(done.stdout.splitlines()[-1])["state"] == "finished"


@pytest.mark.parametrize("command", WATCHED)
def test_commands_with_a_dashboard_run(command: str, tmp_path: Path) -> None:
    if "mine.toml" in command:
        (tmp_path / "mine.toml").write_text(presets.find("mnist_mlp").read_text())
    if "--data-dir DIR" in command:
        if not SHARED.is_dir():
            pytest.skip("needs the MNIST files beside the checkout")
        command = command.replace("--data-dir DIR", f"--data-dir {SHARED}")
    if "photos" in command:
        (tmp_path / "photos").mkdir()
        for shade in range(8):
            Image.new("RGB", (90, 70), (shade * 30, 80, 120)).save(
                tmp_path / "photos" / f"{shade}.png"
            )
        command += " --set generator.width=8 --set discriminator.width=8"
    terminal = Terminal([*GANTERM, *shlex.split(command)[1:]], tmp_path)
    try:
        # With the whole of MNIST, the classifier that counts the digits is trained first.
        terminal.until(lambda t: "running" in t.text or "finished" in t.text)
        terminal.press("q")
        terminal.until(lambda t: "End this run?" in t.text or t.process.poll() is not None)
        if terminal.process.poll() is None:
            terminal.press("\r")
        assert terminal.wait() == 0
    finally:
        terminal.close()


def test_the_metrics_are_read_as_the_page_says(tmp_path: Path) -> None:
    (reads,) = [c for c in COMMANDS if "metrics.jsonl" in c]
    (trains,) = [c for c in COMMANDS if "--run points" in c]
    assert run(trains, tmp_path).returncode == 0
    done = run(reads, tmp_path)
    assert done.returncode == 0, done.stderr
    losses = json.loads(done.stdout)
    lines = (tmp_path / "runs" / "points" / "metrics.jsonl").read_text().splitlines()
    assert losses == [json.loads(line)["d_loss"] for line in lines[1:]]
    assert len(losses) == 5


def test_the_readme_is_one_page() -> None:
    assert len(README.splitlines()) <= 200


def test_every_link_leads_to_a_file_that_is_there() -> None:
    for page, text in PAGES.items():
        links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text.replace("\n", " "))
        for link in links:
            if link.startswith("https://"):
                continue
            assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"
    linked = set(re.findall(r"\((ganterm/docs/[a-z]+\.md)\)", README))
    pages = {str(page.relative_to(ROOT)) for page in PAGES if page.parent.name == "docs"}
    assert linked == pages, "the README links every page of ganterm/docs/, and no other"


def test_every_file_that_a_page_names_is_there() -> None:
    """After a move: say the new place in the page."""
    for page, text in PAGES.items():
        names = re.findall(r"`((?:ganterm|tests|presets|\.ci)/[\w./]+)`", text)
        for name in names:
            assert (ROOT / name).exists(), f"{page.relative_to(ROOT)}: {name}"


def test_the_two_commands_stand_on_top_and_ci_calls_the_second() -> None:
    first, second = COMMANDS[:2]
    assert first.startswith("python3 -m venv") and "ganterm --preset mnist_mlp" in first
    assert second.startswith("python3 -m venv") and "pytest" in second
    assert README.index(second) < README.index("## What you see")
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
    assert sys.version_info >= (3, 11)


def test_every_key_preset_and_picture_is_there() -> None:
    controls, diagnosis = "ganterm/docs/controls.md", "ganterm/docs/diagnosis.md"
    wanted = [
        *(
            (f"control {knob.name}", "| `{}` `{}` |".format(*knob.keys), "README.md")
            if knob.keys
            else (f"control {knob.name}", f"`{knob.name}`", controls)
            for knob in KNOBS.values()
        ),
        *((f"key {shown}", f"| `{shown}` |", "README.md") for _, shown, _, _ in ACTIONS),
        *((f"preset {name}", f"| `{name}` |", "presets/README.md") for name in presets.names()),
        *((f"loss {loss}", f"`{loss}`", controls) for loss in LOSSES),
        *((f"alarm {rule.name}", f"| `{rule.name}` |", diagnosis) for rule in rules()),
        *((f"data set {name}", f"`{name}`", "ganterm/docs/presets.md") for name in DATASETS),
    ]
    missing = [
        f"{what}: add a row with {row} to a table of {page}"
        for what, row, page in wanted
        if row not in (README if page == "README.md" else ALL_PAGES)
    ]
    for picture in re.findall(r"(screenshots/[^)]+\.png)\)", ALL_PAGES):
        # What a terminal shows in pixels of its own is in no SVG.
        no_svg = "/presets/" in picture or "kitty" in picture
        if not no_svg and not (ROOT / picture).with_suffix(".svg").is_file():
            missing.append(f"{picture}: add its SVG beside it")
    assert not missing, "\n".join(missing)


def test_the_alarm_bench_runs_as_told(tmp_path: Path) -> None:
    """As the README gives it, for one short run on points, whose losses run away."""
    commands = [command for command in COMMANDS if "ganterm bench alarms" in command]
    assert [command.split()[3] for command in commands] == ["collect", "examine", "report"]
    for command in commands:
        words = shlex.split(command)
        words = [*GANTERM, *words[1:-1], str(tmp_path), "--only", "diverging_ring-0"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 0, done.stderr
    assert "| divergence | 1 of 1 (3 to 100 %) |" in done.stdout


@pytest.mark.parametrize("command", [c for c in COMMANDS if "ganterm bench losses" in c])
def test_the_table_of_losses_is_made_and_goes_on(command: str, tmp_path: Path) -> None:
    """As the README gives it, but for a few steps of two losses on the embedded digits."""
    words = shlex.split(command.replace("--data-dir DIR", ""))
    words = [*GANTERM, *words[1:]]
    words += ["--losses", "hinge", "began", "--networks", "mlp", "--seeds", "1", "--steps", "3"]
    words += ["--data", "mnist10k", "--jobs", "1", "--out", str(tmp_path / "table.jsonl")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| mlp, 3 |")]
    assert [row.split("|")[2].strip() for row in rows] == ["`hinge`", "`began`"]
    again = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
    assert again.stdout == done.stdout
    assert len((tmp_path / "table.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("command", [c for c in COMMANDS if "ganterm bench quality" in c])
def test_the_quality_commands_run(command: str, tmp_path: Path) -> None:
    """As the README gives them, but for a few steps and one seed."""
    words = shlex.split(command.replace("--data-dir DIR", ""))
    words = [*GANTERM, *words[1:]]
    words += ["--seeds", "1", "--jobs", "1", "--out", str(tmp_path), "--set", "expected.steps=3"]
    if "pictures" in words:
        words += ["--set", "data.name=mnist10k"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    names = [word for word in words if word in presets.names()]
    assert names
    for name in names:
        assert any(row.startswith(f"| {name} |") for row in rows)
    if "pictures" in words:
        assert sorted(path.stem for path in tmp_path.glob("*.png")) == sorted(names)
