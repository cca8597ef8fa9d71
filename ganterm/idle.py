"""Finds settings without effect: values that differ from their default and that nothing reads.

Losses, knobs and optimizers declare what they read, so nothing is listed here again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel

from ganterm.core.controls import KNOBS, Controls
from ganterm.data.options import FOLDER_ONLY
from ganterm.losses import LOSSES, controls_with, in_use
from ganterm.presets import Preset
from ganterm.sections import DIAGNOSIS_ONLY, READ_BY, OptimizerOptions, OptimizerSide

SIDES: tuple[Literal["d", "g"], ...] = ("d", "g")


def idle_settings(preset: Preset) -> list[str]:
    """A line for each setting of a preset that has no effect.

    A control that a scheduled change brings into use counts as used.
    """
    return [*_controls(preset), *_optimizer(preset), *_absent_parts(preset)]


def _controls(preset: Preset) -> Iterator[str]:
    stages = [preset.controls]
    for _, changes in sorted(preset.scheduled.items()):
        stage = stages[-1]
        for name, value in changes.items():
            stage = controls_with(stage, name, value)
        stages.append(stage)
    default = Controls()
    for name, knob in KNOBS.items():
        values = [stage.value(name) for stage in stages if stage.value(name) != default.value(name)]
        option = knob.only_for
        missing = option and not getattr(preset.discriminator, option)
        if not values or (any(in_use(stage, name) for stage in stages) and not missing):
            continue
        if missing:
            why = f"it needs discriminator.{option} = true"
        elif knob.only_with:
            why = f"it needs {' or '.join(knob.only_with)} above 0"
        else:
            losses = dict.fromkeys(stage.loss for stage in stages)
            readers = ", ".join(loss.name for loss in LOSSES.values() if name in loss.uses)
            why = f"loss {', '.join(losses)} does not read it; {readers} would"
        yield _line(name, knob.show(values[0]), why)


def _optimizer(preset: Preset) -> Iterator[str]:
    section, default = preset.optimizer, OptimizerOptions()
    own = {"d": section.d or OptimizerSide(), "g": section.g or OptimizerSide()}
    for key, readers in READ_BY.items():
        would = " and ".join(sorted(readers))
        shared = [side for side in SIDES if getattr(own[side], key) is None]
        names = {side: section.of(side).name for side in SIDES}
        value = getattr(section, key)
        if value != getattr(default, key) and not any(names[side] in readers for side in shared):
            which = " and ".join(dict.fromkeys(names[side] for side in shared))
            why = f"{which} does not read it; {would} would" if which else "D and G have their own"
            yield _line(f"optimizer.{key}", value, why)
        for side in SIDES:
            value = getattr(own[side], key)
            if value is not None and names[side] not in readers:
                why = f"{names[side]} does not read it; {would} would"
                yield _line(f"optimizer.{side}.{key}", value, why)


def _absent_parts(preset: Preset) -> Iterator[str]:
    """Settings of a part that the run does not have."""
    if preset.data.name != "folder":
        for key, value in _changed(preset.data, FOLDER_ONLY):
            why = f"it belongs to data.name = folder, not to {preset.data.name}"
            yield _line(f"data.{key}", value, why)
    if not preset.run.diagnosis:
        for key, value in _changed(preset.run, DIAGNOSIS_ONLY):
            yield _line(f"run.{key}", value, "run.diagnosis is 0")


def _changed(section: BaseModel, keys: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for key in keys:
        value = getattr(section, key)
        if value != type(section).model_fields[key].default:
            yield key, value


def _line(key: str, value: object, why: str) -> str:
    text = str(value).lower() if isinstance(value, bool) else value
    return f"{key} = {text} has no effect: {why}"
