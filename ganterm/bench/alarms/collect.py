"""Trains one run of the benchmark and keeps what is needed to examine it any number of times.

The folder of a run has ``rows.npy``, float32 (steps, METRICS); ``states/``, the weights of G every
TRUTH_EVERY steps and of D every ROUND_EVERY steps; and ``done.json`` once it is complete.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from ganterm.bench.alarms.settings import Run
from ganterm.core.json_text import json_bytes
from ganterm.core.metrics import METRICS, ON_DEVICE
from ganterm.launch import Launch

TRUTH_EVERY = 50
"""Steps between two points at which it is found out what G's samples are really like."""
ROUND_EVERY = 100
"""Steps between two rounds of exams; a multiple of TRUTH_EVERY."""


def collect(run: Run, out: Path) -> str:
    """Train a run with the trainer's own parts; returns a line to print.

    A refused update, at which the trainer would pause, ends the run.
    """
    from safetensors.torch import save_file

    from ganterm.training.recorder import RowBuffer
    from ganterm.training.setup import set_up

    folder = out / run.name
    if (folder / "done.json").exists():
        return f"{run.name}: there"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "states").mkdir(parents=True)
    preset = run.setting.build(run.seed)
    # Diagnosis is off: ``examine`` takes the exams afterwards.
    preset = preset.model_copy(update={"run": preset.run.model_copy(update={"diagnosis": 0.0})})
    with tempfile.TemporaryDirectory(prefix="ganterm-bench-") as runs:
        launch = Launch(run.name, preset, "cpu", None, None, Path(runs), "run")
        setup = set_up(launch, lambda doing, share: None)
        game, recorder, controls = setup.game, RowBuffer(setup.device), preset.controls
        parts = []
        for step in range(1, run.setting.steps + 1):
            for name, value in preset.scheduled.get(step, {}).items():
                controls = controls.with_(name, value)
            recorder.write(game.train_step(controls), float(step))
            if step % TRUTH_EVERY:
                continue
            scalars, elapsed = recorder.drain()
            values = (controls.k, controls.l, controls.lr_d, controls.lr_g)
            columns = np.tile(np.array(values, np.float32), (len(scalars), 1))
            parts.append(np.column_stack([scalars, columns, np.array(elapsed, np.float32)]))
            tensors = {f"g.{k}": v.contiguous() for k, v in game.generator.state_dict().items()}
            if step % ROUND_EVERY == 0:
                d = game.discriminator.state_dict()
                tensors |= {f"d.{k}": v.contiguous() for k, v in d.items()}
            save_file(tensors, folder / "states" / f"{step:06d}.safetensors")
            refused = (
                scalars[:, list(ON_DEVICE).index("refused_d")]
                + scalars[:, list(ON_DEVICE).index("refused_g")]
            )
            if refused.any():
                break
        setup.directory.close()
        game.batches.close()
    rows = np.concatenate(parts)
    assert rows.shape[1] == len(METRICS)
    np.save(folder / "rows.npy", rows)
    (folder / "done.json").write_bytes(json_bytes({"steps": len(rows)}))
    return f"{run.name}: {len(rows):,} steps"
