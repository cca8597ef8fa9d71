"""Train one run of the bench and keep what is needed to examine it as often as one likes.

A run's folder holds ``rows.npy``, float32 (steps, METRICS), the networks every ``TRUTH_EVERY``
steps (D at rounds only), and ``done.json`` once it is complete.
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
ROUND_EVERY = 100


def collect(run: Run, out: Path) -> str:
    """Train and keep; the trainer's own pieces, in the trainer's order.

    A step that is refused, where the trainer would pause, ends the run.
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
    # Diagnosis comes afterwards, from the networks kept.
    untold = preset.model_copy(update={"run": preset.run.model_copy(update={"diagnosis": 0.0})})
    with tempfile.TemporaryDirectory(prefix="ganterm-bench-") as runs:
        launch = Launch(run.name, untold, "cpu", None, None, Path(runs), "run")
        setup = set_up(launch, lambda doing, share: None)
        game, recorder, controls = setup.game, RowBuffer(setup.device), untold.controls
        parts = []
        for step in range(1, run.setting.steps + 1):
            for name, value in untold.scheduled.get(step, {}).items():
                controls = controls.with_(name, value)
            recorder.write(game.train_step(controls), float(step))
            if step % TRUTH_EVERY:
                continue
            made, elapsed = recorder.drain()
            fixed = (controls.k, controls.l, controls.lr_d, controls.lr_g)
            known = np.tile(np.array(fixed, np.float32), (len(made), 1))
            parts.append(np.column_stack([made, known, np.array(elapsed, np.float32)]))
            tensors = {f"g.{k}": v.contiguous() for k, v in game.generator.state_dict().items()}
            if step % ROUND_EVERY == 0:
                d = game.discriminator.state_dict()
                tensors |= {f"d.{k}": v.contiguous() for k, v in d.items()}
            save_file(tensors, folder / "states" / f"{step:06d}.safetensors")
            refused = (
                made[:, list(ON_DEVICE).index("refused_d")]
                + made[:, list(ON_DEVICE).index("refused_g")]
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
