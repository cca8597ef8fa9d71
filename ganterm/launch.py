"""What a run is started from: a preset, and what the command line adds to it."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ganterm.core.errors import UserError
from ganterm.core.json_text import json_bytes, parse_json
from ganterm.core.limits import MOST_STEPS
from ganterm.core.text import clean, nearest
from ganterm.rundir.find import (
    NAME,
    CheckpointName,
    DataOfRun,
    about,
    checkpoints,
    preset_table,
)
from ganterm.system.folders import expanded
from ganterm.system.toml import parse_toml

if TYPE_CHECKING:
    from ganterm.presets import Preset

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


@dataclass(frozen=True)
class Launch:
    """What to train, where, and for how many steps.

    ``steps``: None for a run without an end. ``stop_on``: alarms that end the run. ``on_alarm``: a
    command with its arguments, run for each alarm that is raised. ``checkpoint``: the one to resume
    from, "" for a new run. ``passed_over``: a newer one, which an alarm speaks against. ``paused``:
    the resumed run starts paused.
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
            self._make_folder_absolute()
        if not self.run_name:
            stem = re.sub(r"[^A-Za-z0-9._-]", "_", self.preset_name).lstrip("._-")[:40] or "run"
            name = f"{stem}-{datetime.now():%Y%m%d-%H%M%S}"
            candidates = (name, *(f"{name}-{i}" for i in range(2, 1000)))
            name = next(n for n in candidates if not os.path.lexists(self.runs_dir / n))
            object.__setattr__(self, "run_name", name)
        elif not NAME.fullmatch(self.run_name):
            raise UserError(
                f"--run '{clean(self.run_name, 60)}': a name has at most 64 letters, digits, '.', "
                "'_' and '-', and starts with a letter or digit"
            )

    def _make_folder_absolute(self) -> None:
        """Make the preset's folder of pictures absolute, so that a resume finds it from anywhere.

        ``data_dir`` takes precedence over the preset's folder.
        """
        data = self.preset.data
        folder = self.data_dir or (Path(data.folder) if data.folder else None)
        if data.name != "folder" or folder is None:
            return
        path = str(expanded(folder).absolute())
        try:
            path.encode()
        except UnicodeEncodeError:
            return  # The name is not valid Unicode, which TOML cannot hold: leave it as it is.
        data = data.model_copy(update={"folder": path})
        object.__setattr__(self, "preset", self.preset.model_copy(update={"data": data}))

    @property
    def checkpoints(self) -> tuple[CheckpointName, CheckpointName | None]:
        """``checkpoint`` and ``passed_over`` of a launch that resumes a run."""
        name = CheckpointName.parse(self.checkpoint)
        assert name is not None
        return name, CheckpointName.parse(self.passed_over)

    def to_json(self) -> bytes:
        """The launch as JSON, to be sent to another process."""
        table = {field.name: getattr(self, field.name) for field in fields(self)}
        table["preset"] = self.preset.toml()
        table["runs_dir"] = str(self.runs_dir)
        table["data_dir"] = str(self.data_dir) if self.data_dir else None
        return json_bytes(table)

    @classmethod
    def from_json(cls, content: bytes) -> Launch:
        """Read what ``to_json`` wrote."""
        from ganterm.presets import Preset

        table = parse_json(content)
        preset = Preset.from_table(parse_toml(table["preset"].encode(), "preset"), "preset")
        values = {
            "preset": preset,
            "runs_dir": Path(table["runs_dir"]),
            "data_dir": Path(table["data_dir"]) if table["data_dir"] else None,
            "stop_on": tuple(table["stop_on"]),
            "on_alarm": tuple(table["on_alarm"]),
        }
        return cls(**{**table, **values})


def resumption(
    run: Path,
    steps: int | None = None,
    checkpoint: str | None = None,
    device: str | None = None,
    data_dir: Path | None = None,
    stop_on: tuple[str, ...] | None = None,
) -> Launch:
    """A launch that resumes a run, by default from the checkpoint of ``health.to_resume``.

    Options that are None stay as they were. ``on_alarm`` is not restored: a run directory may come
    from anywhere and must not name commands. UserError if there is no such checkpoint, if no step
    is left, or if the run's files cannot be used.
    """
    run_info = about(run)
    name, passed_over = _checkpoint(run, checkpoint)
    goal = steps or run_info.steps
    command = f"ganterm resume {shlex.quote(str(run))}"
    if goal is not None and goal <= name.step:
        raise UserError(
            f"run '{clean(run.name)}' is at step {name.step:,} and is to end at {goal:,}: nothing "
            f"is left to do; to go on: {clean(command)} --steps {2 * name.step}"
        )
    # Imported here, because listing and watching runs must not load the catalogues' options.
    from ganterm.diagnosis.rule import alarm_names
    from ganterm.presets import Preset

    for alarm in run_info.stop_on if stop_on is None else ():
        if alarm not in alarm_names():
            raise UserError(
                f"{clean(run / 'run.json')}: stop_on: there is no alarm '{clean(alarm, 40)}'; "
                f"{nearest(alarm, alarm_names())}"
            )
    source = clean(run / "preset.toml")
    table = preset_table(run)
    if isinstance(table.get("data"), dict):
        # Runs from before this option read files by the first version of the rules.
        table["data"].setdefault("reading", 1)
    preset = Preset.from_table(table, source)
    folder = Path(run_info.data.folder) if run_info.data.folder else None
    if preset.data.name == "folder":
        data_dir = data_dir or _pictures(run, run_info.data, preset.data.folder)
    return Launch(
        preset_name=clean(run_info.preset, 64),
        preset=preset,
        device=device or run_info.device,
        steps=goal,
        data_dir=data_dir or (folder if folder and folder.is_dir() else None),
        runs_dir=run.parent,
        run_name=run.name,
        stop_on=tuple(run_info.stop_on) if stop_on is None else stop_on,
        checkpoint=str(name),
        passed_over=str(passed_over or ""),
    )


def _pictures(run: Path, data: DataOfRun, preset_folder: str) -> Path:
    """The folder of a run's pictures: where it was last, or where it has moved with the run.

    UserError, with the places where it was looked for, if there is none.
    """
    places = [Path(data.folder)] if data.folder else []
    if data.from_run:
        places.append(run / data.from_run)
    if preset_folder:
        folder = expanded(preset_folder)
        # The path of older runs is relative to the folder that contains "runs".
        starts = [run.parent.parent, run.parent, run, Path()]
        places += [start / folder for start in ([Path()] if folder.is_absolute() else starts)]
    # Resolve ".." by name: if the run has moved, links on the way mean nothing.
    candidates = [Path(os.path.normpath(place.absolute())) for place in places]
    candidates = list(dict.fromkeys(candidates))
    for folder in candidates:
        if folder.is_dir():
            return folder
    names = ", ".join(clean(folder, 100) for folder in candidates[:4]) or "nothing says where"
    raise UserError(
        f"the pictures of run '{clean(run.name)}' are not where they were; looked at: {names}\n"
        f"Say where they are: ganterm resume {shlex.quote(clean(run))} --data-dir FOLDER"
    )


def _checkpoint(run: Path, checkpoint: str | None) -> tuple[CheckpointName, CheckpointName | None]:
    """The checkpoint to resume from, and a newer one that is passed over, or None."""
    from ganterm.training.checkpoints import health

    if checkpoint is None:
        name, passed_over = health.to_resume(run)
        if name is None:
            raise UserError(
                f"run '{clean(run.name)}' has no checkpoint yet; to start it anew: "
                f"ganterm --preset {shlex.quote(clean(run / 'preset.toml'))}"
            )
        return name, passed_over
    valid = [str(name) for name in checkpoints(run)]
    name = CheckpointName.parse(checkpoint)
    if name is None or checkpoint not in valid:
        hint = nearest(checkpoint, valid) if valid else "there is none"
        raise UserError(f"--from '{clean(checkpoint, 60)}': no checkpoint of this run; {hint}")
    return name, None
