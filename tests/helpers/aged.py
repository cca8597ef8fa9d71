"""A run that looks as if it had trained for long: its history, made up, and a checkpoint there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from ganterm.core.metrics import METRICS
from ganterm.rundir.find import CheckpointName, newest
from ganterm.training.checkpoints.storage import MANIFEST, STATE


def age(run: Path, step: int) -> None:
    """Have a run that has ended stand at ``step``, with a row for each: noise, and one spike."""
    random = np.random.default_rng(0)
    history = run / "history"
    np.arange(1, step + 1, dtype="<i8").tofile(history / "step.i8")
    np.zeros(step, "<i4").tofile(history / "branch.i4")
    for name in METRICS:
        values = random.random(step, np.float32)
        values[step // 3] = 9.0
        values.astype("<f4").tofile(history / f"{name}.f4")
    last = newest(run)
    assert last is not None
    folder = run / "checkpoints" / str(last)
    state = json.loads((folder / STATE).read_text()) | {"step": step}
    manifest = json.loads((folder / MANIFEST).read_text())
    content = json.dumps(state).encode()
    digest = hashlib.sha256(content).hexdigest()
    manifest["files"][STATE] = {"bytes": len(content), "sha256": digest}
    (folder / STATE).write_bytes(content)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    made = CheckpointName(0, step)
    folder.rename(folder.with_name(str(made)))
    (run / "checkpoints" / "LATEST").write_text(f"{made}\n")
    about = json.loads((run / "run.json").read_text()) | {"step": step, "steps": None}
    (run / "run.json").write_text(json.dumps(about))
