from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganterm.core.errors import UserError
from ganterm.core.events import NoteEvent
from ganterm.core.metrics import METRICS
from ganterm.core.snapshot import Sample
from ganterm.rundir import directory, writer
from ganterm.rundir.directory import RunDirectory, check_can_create, json_rows
from ganterm.system import files

NAMES = list(METRICS)


def some_rows(count: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, len(NAMES))).astype(np.float32)


def make(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "runs", "a", 'title = "x"\n', {"id": "1"})


def test_rows_come_back_bit_for_bit_from_both_places(tmp_path: Path) -> None:
    directory, rows = make(tmp_path), some_rows(50)
    whole = [NAMES.index(name) for name in ("k", "l", "refused_d", "refused_g")]
    rows[:, whole] = np.round(np.abs(rows[:, whole]))
    rows[3, 0] = np.nan
    rows[4, 1] = np.inf
    directory.rows(np.arange(1, 51), 0, rows)
    directory.close()
    schema, *lines = (directory.path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(schema) == {"schema": METRICS, "format": 1}
    table = [json.loads(line) for line in lines]
    assert [row["step"] for row in table] == list(range(1, 51))
    assert table[3]["d_loss"] is None
    assert table[3]["nonfinite"] == ["d_loss"]
    assert table[4]["nonfinite"] == ["g_loss"]
    assert "nonfinite" not in table[5]
    assert all(isinstance(row["k"], int) for row in table)
    for place, name in enumerate(NAMES):
        column = np.fromfile(directory.path / "history" / f"{name}.f4", "<f4")
        rebuilt = np.array([row[name] for row in table], dtype=np.float32)
        assert np.array_equal(column, rebuilt, equal_nan=True)
        finite = np.isfinite(rows[:, place])
        assert np.array_equal(column[finite], rows[finite, place])
    steps = np.fromfile(directory.path / "history" / "step.i8", "<i8")
    assert steps.tolist() == list(range(1, 51))


def test_json_rows_name_every_metric() -> None:
    row = json.loads(json_rows(np.array([7]), 2, some_rows(1)))
    assert row["step"] == 7
    assert row["branch"] == 2
    assert set(METRICS) <= set(row)


class FullDisk:
    """os.write that takes half of what it is given and then has no space, while ``full``."""

    def __init__(self) -> None:
        self.full = True
        self._write = os.write

    def __call__(self, handle: int, content: Any) -> int:
        if not self.full:
            return self._write(handle, content)
        if len(content) > 10:
            return self._write(handle, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_pauses_recording_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.05)
    directory = make(tmp_path)
    before = (directory.path / "metrics.jsonl").read_bytes()
    disk = FullDisk()
    monkeypatch.setattr(files.os, "write", disk)
    rows = some_rows(20)
    directory.rows(np.arange(1, 21), 0, rows)
    directory.event(NoteEvent(step=20, text="later"))
    for _ in range(100):
        if directory.trouble:
            break
        time.sleep(0.02)
    assert directory.trouble == "recording waits: No space left on device"
    assert (directory.path / "metrics.jsonl").read_bytes() == before, "no torn line"
    disk.full = False
    directory.close()
    lines = (directory.path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 21
    assert json.loads(lines[-1])["step"] == 20
    assert "later" in (directory.path / "events.jsonl").read_text()
    assert directory.trouble is None


def test_closing_on_a_disk_that_stays_full_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make(tmp_path)
    monkeypatch.setattr(files.os, "write", FullDisk())
    directory.rows(np.arange(1, 3), 0, some_rows(2))
    directory.close()
    assert directory.trouble is not None


def test_pictures_are_written_for_images_and_points(tmp_path: Path) -> None:
    directory = make(tmp_path)
    images = np.full((10, 28, 28, 1), 200, np.uint8)
    directory.sample(Sample(250, images=images), 0)
    points = np.array([[0.0, 0.5], [5.0, 5.0]], np.float32)
    directory.sample(Sample(251, points=points, real_points=points[:1]), 1)
    directory.close()
    grid = Image.open(directory.path / "samples" / "step_0000000250-b0.png")
    assert grid.size == (4 * 30 - 2, 3 * 30 - 2)
    assert grid.getpixel((5, 5)) == 200
    scatter = np.asarray(Image.open(directory.path / "samples" / "step_0000000251-b1.png"))
    assert (scatter == (255, 180, 84)).all(axis=2).sum() == 1, "one point inside, one beyond"


def test_run_json_and_no_leftovers(tmp_path: Path) -> None:
    directory = make(tmp_path)
    directory.update(state="finished")
    directory.close()
    about = json.loads((directory.path / "run.json").read_text())
    assert about == {"format": 1, "id": "1", "state": "finished"}
    assert not list(directory.path.rglob("*.tmp"))


def test_a_name_that_exists_names_resume(tmp_path: Path) -> None:
    make(tmp_path).close()
    with pytest.raises(UserError, match="resume"):
        make(tmp_path)


def test_a_runs_dir_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is not a folder"):
        check_can_create(tmp_path / "file" / "runs", "a")
    check_can_create(tmp_path / "not" / "there", "a")
    assert not (tmp_path / "not").exists()


def test_rows_that_can_no_longer_be_kept_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "MOST_WAITING", -1)
    made = make(tmp_path)
    assert made.alarm is None
    made.rows(np.arange(1, 4), 0, some_rows(3))
    assert made.alarm == "3 rows could not be kept"
    made.close()
