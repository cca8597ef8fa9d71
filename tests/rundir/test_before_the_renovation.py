"""Run directories written by the program before its renovation are listed, read and resumed.

``data/points.tar.xz`` and ``data/images.tar.xz`` hold one run each, written by commit 2e6beab with
networks of 2 and 4 hidden units: eight Gaussians, steered by keys while it was trained, and twelve
pictures of 8 x 8. ``goes_on.jsonl`` beside it holds the rows that the same program wrote when it
resumed the run for eight more steps.
"""

from __future__ import annotations

import json
import math
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from ganterm.cli.commands import cli
from ganterm.core.events import ResumeEvent
from ganterm.core.json_text import json_bytes
from ganterm.core.metrics import METRICS
from ganterm.dashboard.draw.glyphs import Glyphs
from ganterm.dashboard.panels.events import describe
from ganterm.launch import resumption
from ganterm.rundir.columns import read_history
from ganterm.rundir.follow import Follower
from ganterm.rundir.reader import event_of, read_diagnosis, read_events
from ganterm.session.local import LocalSession
from tests.helpers.deadlines import DEADLINE

DATA = Path(__file__).parent / "data"
STEPS = {"points": 12, "images": 4}
MORE = 8


@pytest.fixture(params=STEPS)
def run(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """An old run directory in a folder of its own, which is the current one."""
    with tarfile.open(DATA / f"{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs" / request.param


def state_at(run: Path, step: int) -> dict[str, Any]:
    """The state.json of the checkpoint at a step."""
    state = run / "checkpoints" / f"step_{step:010}-b0" / "state.json"
    return json.loads(state.read_bytes())


def test_it_is_listed(run: Path) -> None:
    listed = CliRunner().invoke(cli, ["runs"]).output
    (line,) = [line for line in listed.splitlines() if line.startswith(run.name)]
    assert line.split()[1:3] == ["finished", str(STEPS[run.name])]


def test_its_history_is_read(run: Path) -> None:
    history, steps = read_history(run, 1, STEPS[run.name]).view, STEPS[run.name]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_bytes().splitlines()][1:]
    assert history.rows == len(rows) == steps
    for name in METRICS:
        _, values = history.newest(name, steps)
        written = [math.nan if row.get(name) is None else row[name] for row in rows]
        np.testing.assert_array_equal(values, np.array(written, np.float32), name)
    assert [found["step"] for found in read_diagnosis(run, steps)] == list(
        range(1, steps + 1) if run.name == "points" else []
    )


def test_its_events_are_read_shown_and_written_the_same(run: Path) -> None:
    lines = (run / "events.jsonl").read_bytes().splitlines()
    events = [event for line in lines if (event := event_of(line)) is not None]
    assert [json_bytes(event.table()) for event in events] == lines
    assert read_events(run) == events
    shown = [describe(event, Glyphs())[0] for event in events]
    assert shown[0] == "training starts" and f"{STEPS[run.name]} steps done" in shown[-1]
    if run.name == "points":
        assert {"paused", "lr G 1.00e-3 → 2.00e-3  (preset)", "k 2 → 1"} < set(shown)


def test_a_dashboard_follows_it(run: Path) -> None:
    follower = Follower(run)
    follower.look()
    assert follower.history.rows == STEPS[run.name]
    assert follower.events == tuple(read_events(run))


def test_it_goes_on_exactly(run: Path) -> None:
    steps = STEPS[run.name] + MORE
    before = state_at(run, STEPS[run.name])
    session = LocalSession(resumption(run, steps))
    session.start()
    assert session.ended.wait(DEADLINE)
    snapshot = session.snapshot
    assert snapshot.state == "finished", snapshot.failure
    after = state_at(run, steps)
    assert (after["step"], after["branch"], after["controls"]) == (steps, 0, before["controls"])
    # Both runs stand at one D update a step by then.
    assert after["d_updates"] == before["d_updates"] + MORE
    assert after["counters"]["g_updates"] == before["counters"]["g_updates"] + MORE
    (resume,) = [event for event in session.events() if isinstance(event, ResumeEvent)]
    # Another version of torch may draw other random numbers, and the event says so.
    if not resume.differs:
        expected = (Path.cwd() / "goes_on.jsonl").read_bytes().splitlines()
        rows = (run / "metrics.jsonl").read_bytes().splitlines()[-MORE:]
        for row, old in zip(map(json.loads, rows), map(json.loads, expected), strict=True):
            for name in old.keys() - {"elapsed"}:
                # Another processor may round otherwise.
                assert row[name] == pytest.approx(old[name], rel=1e-3, abs=1e-5), name
