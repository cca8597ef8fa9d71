"""Run directories as kills, disks and attackers leave them: listed, attached to and resumed all the
same, or refused in a line or two."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ganterm.cli import commands, runs
from ganterm.core.errors import UserError
from ganterm.launch import resumption
from ganterm.rundir import find, reader
from ganterm.rundir.columns import read_history
from ganterm.rundir.follow import Follower
from tests.helpers.payloads import PAYLOADS, harm
from tests.session.test_injection import some_events
from tests.training.test_mutated_checkpoints import (
    NEWEST,
    confused,
    extend,
    flip,
    foreign,
    no_file,
    there,
    trained,
    truncate,
    zero_a_page,
)
from tests.training.test_resume import resumed

__all__ = ["there", "trained"]

SECONDS = 2.0
FILES = (
    *("run.json", "preset.toml", "events.jsonl", "metrics.jsonl", "run.lock"),
    *("history/step.i8", "history/branch.i4", "history/d_loss.f4", "history/index.json"),
    *("checkpoints/LATEST", "checkpoints/BEST", "diagnosis.jsonl"),
)
Mutation = Callable[[Path, random.Random], None]


def confuse(path: Path, draw: random.Random) -> None:
    """JSON lines of other types and sizes."""
    if path.name == "run.json":
        path.write_bytes(confused(path.read_bytes(), draw))
        return
    lines = [line for line in path.read_bytes().splitlines() if line.startswith(b"{")]
    changed = [confused(line, draw) for line in lines[: draw.choice((1, 3, 50))]]
    path.write_bytes(b"\n".join([*changed, *lines]) + b"\n" if lines else b"{}")


def hostile_events(path: Path, draw: random.Random) -> None:
    events = some_events(draw.choice(list(PAYLOADS.values())))
    tables: list[dict[str, Any]] = [event.table() for event in events]
    tables += [{**table, "step": draw.choice((-1, 10**18, 2**63 - 1))} for table in tables]
    path.write_text("\n".join(json.dumps(table) for table in tables))


def another_whole_file(path: Path, draw: random.Random) -> None:
    run = path.parents[path.parent.name in ("history", "checkpoints")]
    others = [run / name for name in ("run.json", "preset.toml", "metrics.jsonl")]
    path.write_bytes(draw.choice(others).read_bytes())


def on(harm: Mutation) -> Mutation:
    """A mutation of one of a checkpoint's files, for one of a run's."""

    def mutate(path: Path, draw: random.Random) -> None:
        class Chosen(random.Random):
            def choice(self, options: Any) -> Any:
                return path.name if TENSORS in options else super().choice(options)

        chosen = Chosen(draw.random())
        harm(path.parent, chosen)

    mutate.__name__ = harm.__name__
    return mutate


TENSORS = "tensors.safetensors"
MUTATIONS: list[Mutation] = [
    *map(on, (flip, truncate, zero_a_page, extend, foreign, no_file)),
    *(confuse, hostile_events, another_whole_file),
]


def looked_at(run: Path) -> str:
    """Do what `runs`, `attach` and `resume` do before a process is reached or torch is loaded."""
    told = list(runs.lines(runs.all_runs(run.parent)))
    assert len(told) == 1 + os.path.lexists(run / "run.json") and not harm("\n".join(told), 2000)
    told_json = [found.table() for found in runs.all_runs(run.parent)]
    assert json.loads(json.dumps(told_json)) == told_json
    try:
        follower = Follower(run)
        for _ in range(2):
            follower.look()
        assert not any(harm(str(event.table())) for event in follower.events)
        read_history(run, 1, 4)
        reader.read_diagnosis(run, 4)
        reader.newest_number(run)
        launch = resumption(run, 6)
        assert launch.checkpoint.startswith("step_")
        return "goes on"
    except UserError as error:
        assert str(error).count("\n") <= 1 and not harm(str(error), 2000)
        return "refused"


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_mutated_run_is_listed_and_read_or_refused(
    count: int, trained: Path, tmp_path: Path
) -> None:
    draw = random.Random(count)
    run = Path(shutil.copytree(trained, tmp_path / "runs" / "run"))
    assert looked_at(run) == "goes on"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes, tried = Counter[str](), Counter[str]()
    slowest = 0.0
    for number in range(count):
        file, mutate = draw.choice(FILES), draw.choice(MUTATIONS)
        path = run / file
        if not path.exists() or not path.stat().st_size:
            path.write_bytes(b'{"format": 1}\n')
        mutate(path, draw)
        began = time.thread_time()
        try:
            outcomes[looked_at(run)] += 1
        except Exception as error:
            raise AssertionError(f"number {number}: {mutate.__name__} of {file}") from error
        took = time.thread_time() - began
        slowest = max(slowest, took)
        assert took < SECONDS, (mutate.__name__, file)
        tried[mutate.__name__] += 1
        shutil.rmtree(run)
        shutil.copytree(trained, run)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{count} runs: {dict(outcomes)}, slowest {slowest:.2f} s, {grown:.0f} MB more")
    assert grown < 500
    assert len(tried) == len(MUTATIONS) and min(outcomes.values()) > count // 10


@pytest.mark.parametrize("file", [file for file in FILES if file != "run.lock"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "noise", "nothing"])
def test_a_run_with_a_file_that_is_none_resumes_or_says_why(
    kind: str, file: str, trained: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "runs" / "run"))
    (run / file).unlink(missing_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(run / file)
        case "folder":
            (run / file).mkdir()
        case "noise":
            (run / file).write_bytes(random.Random(0).randbytes(3000))
    try:
        session = resumed(run, 6)
    except UserError as error:
        assert str(error).count("\n") <= 1
        return
    failure = session.snapshot.failure
    if failure is None:
        assert session.snapshot.step == 6
    else:
        assert not failure.trace and failure.message.count("\n") <= 1
        assert not failure.mistake or find.newest(run) == NEWEST


NAMES = {
    "up": "../x",
    "below": "a/b",
    "absolute": "/tmp/x",
    "here": ".",
    "above": "..",
    "hidden": ".x",
    "option": "-x",
    "long": "x" * 300,
    "line": "a\nb",
    "space": "a b",
    "other letters": "ä",
    "escape": "\x1b[2J",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=list(NAMES))
def test_a_run_is_called_so_that_it_stays_in_its_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["ganterm", "--preset", "ring8", "--headless", f"--run={name}"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="2"):
        commands.main()
    told = capsys.readouterr().err
    assert "--run" in told and not harm(told, 500) and len(told.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_run_by_a_link_and_by_a_path_is_found_and_others_are_not(
    trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "linked").symlink_to(trained)
    assert find.find("linked", tmp_path / "runs") == tmp_path / "runs" / "linked"
    assert find.find(str(trained), tmp_path) == trained
    (found,) = runs.all_runs(tmp_path / "runs")
    assert found.directory == str(trained)
    (tmp_path / "runs" / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "runs" / "loop").symlink_to(tmp_path / "runs" / "loop")
    for name in ("nowhere", "loop", "..", "", "gone"):
        with pytest.raises(UserError):
            find.find(name, tmp_path / "runs")
    assert len(runs.all_runs(tmp_path / "runs")) == 1
