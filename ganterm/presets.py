"""The Preset: everything that a run is started from; one TOML file each, validated when loaded."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError

from ganterm import data
from ganterm.core.controls import KNOBS, ControlError, Controls
from ganterm.core.errors import UserError
from ganterm.core.text import clean, nearest
from ganterm.data.options import DataSection
from ganterm.losses import LOSSES, controls_with
from ganterm.networks import DISCRIMINATORS, GENERATORS
from ganterm.networks.options import DiscriminatorOptions, GeneratorOptions, NetworkOptions
from ganterm.sections import (
    ExpectedSection,
    OptimizerSection,
    OptimizerSide,
    RunSection,
    ScheduledChange,
    Section,
)
from ganterm.system.folders import expanded
from ganterm.system.toml import MAX_LINE, content, parse_toml

M = TypeVar("M", bound=BaseModel)


class Preset(Section):
    """A whole preset. Its sections validate their own tables."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )

    title: str = Field("", max_length=200)
    about: str = Field("", max_length=500)
    data: DataSection = DataSection()
    generator: SerializeAsAny[GeneratorOptions]
    discriminator: SerializeAsAny[DiscriminatorOptions]
    optimizer: OptimizerSection = OptimizerSection()
    controls: Controls = Controls()
    run: RunSection = RunSection()
    schedule: list[ScheduledChange] = Field([], max_length=1000)
    expected: ExpectedSection | None = None

    @classmethod
    def from_table(cls, table: Mapping[str, Any], source: str) -> Preset:
        """The preset of parsed TOML; UserError names ``source``, the key and what is valid."""
        table = dict(table)
        sections = {
            name: table.get(name, {}) for name in ("generator", "discriminator", "controls")
        }
        for name, section in sections.items():
            if not isinstance(section, Mapping):
                raise UserError(f"{source}: [{name}] must be a table")
        try:
            table["generator"] = _network(sections["generator"], GENERATORS, "generator", source)
            table["discriminator"] = _network(
                sections["discriminator"], DISCRIMINATORS, "discriminator", source
            )
            table["controls"] = Controls.from_table(sections["controls"])
            preset = _validate(cls, table, source)
            preset._check_schedule()
            preset._check_combinations(source)
        except ControlError as error:
            raise UserError(f"{source}: {error}") from None
        if preset.data.name not in data.DATASETS:
            raise UserError(
                f"{source}: data.name: '{clean(preset.data.name, 40)}' is not a data set; "
                f"{nearest(preset.data.name, data.DATASETS)}"
            )
        return preset

    def _check_schedule(self) -> None:
        for change in self.schedule:
            for name, value in change.set.items():
                controls_with(self.controls, name, value)

    def _check_combinations(self, source: str) -> None:
        """Refuse combinations of values that are valid by themselves."""
        g, d, loss = self.generator, self.discriminator, LOSSES[self.controls.loss]
        problem = None
        if loss.d_kind != d.d_kind:
            choices = ", ".join(other.name for other in LOSSES.values() if other.d_kind == d.d_kind)
            problem = (
                f"loss {loss.name} does not fit discriminator.network {d.network}; valid: {choices}"
            )
        elif self.data.batch_size % d.pack:
            problem = f"data.batch_size {self.data.batch_size} is not a multiple of pack {d.pack}"
        elif g.codes and not d.auxiliary:
            problem = "generator.codes needs discriminator.auxiliary = true, which reads the code"
        elif g.codes and d.conditional != "none":
            problem = "generator.codes are G's own: discriminator.conditional must be none"
        elif (d.conditional != "none" or d.auxiliary) and g.conditional == "none":
            problem = "D uses labels: generator.conditional must be onehot or embedding"
        elif g.conditional != "none" and d.conditional == "none" and not d.auxiliary:
            problem = (
                "G gets labels but D does not: set discriminator.conditional or "
                "discriminator.auxiliary"
            )
        if problem:
            raise UserError(f"{source}: {problem}")

    @cached_property
    def scheduled(self) -> dict[int, dict[str, str | int | float]]:
        """The scheduled changes by step; later entries for one step win."""
        steps: dict[int, dict[str, str | int | float]] = {}
        for change in self.schedule:
            steps.setdefault(change.step, {}).update(change.set)
        return steps

    @property
    def time_on_cpu(self) -> str:
        """How long it takes on 2 CPU cores until samples are good, in words."""
        if self.expected is None:
            return "unknown"
        minutes = self.expected.minutes
        return f"{minutes:g} min" if minutes else "needs GPU"

    def table(self) -> dict[str, Any]:
        """The preset as plain tables, with all defaults included."""
        table = self.model_dump(exclude_none=True)
        table["controls"] = self.controls.table()
        if not self.schedule:
            del table["schedule"]
        return table

    def toml(self) -> str:
        """The preset as TOML, which ``from_table`` turns into an equal preset."""
        return tomli_w.dumps(self.table())


def _network(
    table: Mapping[str, Any],
    registry: Mapping[str, type[Any]],
    section: str,
    source: str,
) -> NetworkOptions:
    name = table.get("network")
    if not isinstance(name, str) or name not in registry:
        problem = "is missing" if name is None else f"'{clean(name, 40)}' is not known"
        raise UserError(f"{source}: {section}.network {problem}; {nearest(str(name), registry)}")
    options: NetworkOptions = _validate(registry[name], table, source, section)
    return options


def _validate(model: type[M], table: Mapping[str, Any], source: str, section: str = "") -> M:
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise UserError(f"{source}: {_first_problem(error, model, section)}") from None


def _first_problem(error: ValidationError, model: type[BaseModel], section: str) -> str:
    """One error, an unknown key before others, in a line with the key's dotted name."""
    problems = error.errors(include_url=False)
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    place = [str(part) for part in problem["loc"]]
    dotted = clean(".".join([section, *place] if section else place), 80)
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{dotted}'; {nearest(place[-1], _keys_at(model, place[:-1]))}"
    if problem["type"] == "model_type":
        return f"{dotted}: it must be a table, got {clean(repr(problem['input']), 60)}"
    if problem["type"] == "missing":
        return f"'{dotted}' is missing"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{dotted}: {message}, got {clean(repr(problem['input']), 60)}"


def _keys_at(model: type[BaseModel], place: list[str]) -> Iterable[str]:
    """The valid keys of the table at ``place``."""
    for part in place:
        field = model.model_fields.get(part)
        annotation = field.annotation if field else None
        # The type of an optional table is a union with None.
        models = [
            kind
            for kind in (annotation, *get_args(annotation))
            if isinstance(kind, type) and issubclass(kind, BaseModel)
        ]
        if models:
            model = models[0]
        elif part == "schedule":
            model = ScheduledChange
    return model.model_fields


def folder() -> Path:
    """The folder of the shipped presets: in the wheel, or in the checkout."""
    here = Path(__file__).parent
    in_wheel = here / "_presets"
    return in_wheel if in_wheel.is_dir() else here.parent / "presets"


def names() -> list[str]:
    """The names of the presets that come with ganterm, sorted."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def find(name_or_file: str) -> Path:
    """The file of a preset; UserError, with the nearest name, if there is none."""
    if name_or_file in names():
        return folder() / f"{name_or_file}.toml"
    looks_like_file = name_or_file.endswith(".toml") or os.sep in name_or_file
    if looks_like_file:
        path = expanded(name_or_file)
        try:
            kind = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"preset file '{clean(name_or_file)}' does not exist") from None
        except OSError as error:
            raise UserError(
                f"preset file '{clean(name_or_file)}': cannot be read: {error.strerror}"
            ) from None
        if not stat.S_ISREG(kind):
            raise UserError(f"preset file '{clean(name_or_file)}' is not a file")
        return path
    raise UserError(
        f"there is no preset '{clean(name_or_file, 60)}'; {nearest(name_or_file, names())}"
    )


def load(name_or_file: str, overrides: Sequence[str] = ()) -> tuple[str, Preset]:
    """A preset's short name and the preset, changed by overrides ``KEY=VALUE`` as of ``--set``.

    If a key is set more than once, the last override wins.
    """
    path = find(name_or_file)
    name = clean(path.stem, 60)
    source = f"preset {name}"
    table = parse_toml(content(path), source)
    preset = Preset.from_table(table, source)
    if not overrides:
        return name, preset
    # The file is valid by itself, so any error from here on is due to the overrides.
    for override in overrides:
        override_key(table, override)
    return name, Preset.from_table(table, "--set")


def check_once(overrides: Iterable[str]) -> None:
    """Raise UserError if a key is set more than once."""
    places = sorted(_place_of(override) for override in overrides)
    # In sorted order, the keys of a table come right after the table.
    for place, next_place in pairwise(places):
        if next_place[: len(place)] == place:
            key = clean(".".join(next_place), 60)
            raise UserError(f"--set {key}: set more than once; set it once")


def override_key(table: dict[str, Any], assignment: str) -> None:
    """Put one ``KEY=VALUE`` into ``table``. KEY is a control's name or any key's dotted name."""
    *sections, last = place = _place_of(assignment)
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            key = clean(".".join(place), 60)
            raise UserError(f"--set {key}: '{clean(section, 40)}' is not a table")
    table[last] = _value(assignment.partition("=")[2].strip())


def _place_of(assignment: str) -> list[str]:
    """The path of keys that ``KEY=VALUE`` sets; UserError for an invalid assignment."""
    key, equals, _ = assignment.partition("=")
    key = key.strip()
    if not equals or not key:
        raise UserError(f"--set {clean(assignment, 60)}: KEY=VALUE is needed, as in --set k=2")
    if len(assignment) > MAX_LINE or key.count(".") > 4:
        raise UserError(f"--set {clean(assignment, 40)}: too long to be a key and a value")
    place = key.split(".")
    if len(place) > 1 or key in Preset.model_fields:
        return place
    if key not in KNOBS:
        dotted = [f"{s}.{k}" for s, k in _dotted_keys()]
        raise UserError(f"--set {clean(key, 60)}: unknown key; {nearest(key, [*KNOBS, *dotted])}")
    return ["controls", key]


def _dotted_keys() -> Iterable[tuple[str, str]]:
    models: list[tuple[str, type[BaseModel]]] = [
        ("data", DataSection),
        ("optimizer", OptimizerSection),
        ("optimizer.d", OptimizerSide),
        ("optimizer.g", OptimizerSide),
        ("run", RunSection),
        ("expected", ExpectedSection),
        *[("generator", options) for options in GENERATORS.values()],
        *[("discriminator", options) for options in DISCRIMINATORS.values()],
    ]
    for section, model in models:
        for key in model.model_fields:
            yield section, key


def _value(text: str) -> Any:
    """The value of TOML text. Other text is a string, so that names need no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
