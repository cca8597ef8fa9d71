"""What a wheel carries, and where presets are found from it and from a checkout."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from ganterm import presets

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_carries_presets_digits_and_their_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for preset in (ROOT / "presets").glob("*.toml"):
        assert f"ganterm/_presets/{preset.name}" in names
    assert {"ganterm/data/digits.xz", "ganterm/data/DIGITS.md", "ganterm/py.typed"} <= set(names)
    assert "ganterm/cli/commands.py" in names
    assert any(name.endswith("/mnist10k.safetensors") for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "screenshots"))]


def test_the_source_distribution_carries_no_old_run_directories(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert "tests/rundir/test_rundir.py" in names
    assert not [name for name in names if name.startswith("tests/rundir/data")]


def test_an_unpacked_wheel_finds_its_own_presets(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "from ganterm import presets; print(presets.folder()); print(*presets.names())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    folder, names = done.stdout.splitlines()
    assert Path(folder).resolve() == (tmp_path / "ganterm" / "_presets").resolve()
    assert names.split() == presets.names()


def test_a_checkout_reads_its_own_folder() -> None:
    if not (ROOT / "ganterm" / "_presets").exists():
        assert presets.folder() == ROOT / "presets"


def test_the_console_script_and_the_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"ganterm": "ganterm.__main__:main"}
    assert {"test", "dev"} <= set(project["optional-dependencies"])


def test_the_oldest_versions_of_ci_are_those_that_the_project_admits() -> None:
    """Where they differ: raise the bound in pyproject.toml and .ci/oldest.txt alike."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lowest = dict(line.split(",")[0].split(">=") for line in project["dependencies"])
    lines = (ROOT / ".ci" / "oldest.txt").read_text().splitlines()
    oldest = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert oldest.keys() == lowest.keys()
    for name, version in lowest.items():
        assert (oldest[name] + ".0.0").startswith(version + "."), name
