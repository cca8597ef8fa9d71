"""All that a run is started from: the preset and what the command line adds to it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from ganterm.core.errors import UserError
from ganterm.core.limits import MOST_STEPS
from ganterm.core.text import clean
from ganterm.system.folders import expanded
from ganterm.toml import parse_toml

if TYPE_CHECKING:
    from ganterm.presets import Preset

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


@dataclass(frozen=True)
class Launch:
    """What to train, where and how far. ``steps`` None means until stopped.

    ``stop_on``: names of alarms that end the run. ``on_alarm``: a command, and its arguments, that
    is run with each raised alarm.
    ``paused``: whether a run that goes on begins with a pause.
    ``checkpoint``: the one that a run which is there goes on from; "" for a new run.
    ``passed_over``: a newer one that is not taken, since an alarm speaks against it.
    """

    preset_name: str
    preset: Preset
    device: str = "auto"
    steps: int | None = None
    data_dir: Path | None = None
    runs_dir: Path = Path("runs")
    run_name: str = ""
    stop_on: tuple[str, ...] = ()
    on_alarm: tuple[str, ...] = ()
    checkpoint: str = ""
    paused: bool = False
    passed_over: str = ""

    def __post_init__(self) -> None:
        if not _DEVICE.fullmatch(self.device):
            raise UserError(
                f"--device '{clean(self.device, 40)}' is not known; "
                "valid: auto, cpu, cuda, cuda:N, mps"
            )
        if self.steps is not None and not 0 < self.steps <= MOST_STEPS:
            raise UserError(f"--steps: 1 to {MOST_STEPS:,} are possible")
        if self.data_dir is not None and not self.data_dir.is_dir():
            raise UserError(f"--data-dir {clean(self.data_dir)}: there is no such folder")
        if not self.checkpoint:
            self._settle_folder()
        if not self.run_name:
            stem = re.sub(r"[^A-Za-z0-9._-]", "_", self.preset_name).lstrip("._-")[:40] or "run"
            name = f"{stem}-{datetime.now():%Y%m%d-%H%M%S}"
            free = (n for n in (name, *(f"{name}-{i}" for i in range(2, 1000))))
            name = next(n for n in free if not os.path.lexists(self.runs_dir / n))
            object.__setattr__(self, "run_name", name)
        elif not NAME.fullmatch(self.run_name):
            raise UserError(
                f"--run '{clean(self.run_name, 60)}': a name has letters, digits, '.', '_' and '-' "
                "alone, 64 at most, and starts with a letter or digit"
            )

    def _settle_folder(self) -> None:
        """Have the preset name its folder of pictures by an absolute path, from where it is found
        again; ``data_dir`` goes before what the preset says."""
        data = self.preset.data
        folder = self.data_dir or (Path(data.folder) if data.folder else None)
        if data.name != "folder" or folder is None:
            return
        path = str(expanded(folder).absolute())
        try:
            path.encode()
        except UnicodeEncodeError:
            return  # No preset file can hold such a name: the run knows it as it was given.
        data = data.model_copy(update={"folder": path})
        object.__setattr__(self, "preset", self.preset.model_copy(update={"data": data}))

    def packed(self) -> bytes:
        """All of it, as JSON for another process of ours."""
        table = {field.name: getattr(self, field.name) for field in fields(self)}
        return orjson.dumps({**table, "preset": self.preset.toml()}, default=str)

    @classmethod
    def unpacked(cls, content: bytes) -> Launch:
        """The launch that was ``packed``."""
        from ganterm.presets import Preset

        table = orjson.loads(content)
        preset = Preset.from_table(parse_toml(table["preset"].encode(), "preset"), "preset")
        made = {
            "preset": preset,
            "runs_dir": Path(table["runs_dir"]),
            "data_dir": Path(table["data_dir"]) if table["data_dir"] else None,
            "stop_on": tuple(table["stop_on"]),
            "on_alarm": tuple(table["on_alarm"]),
        }
        return cls(**{**table, **made})
