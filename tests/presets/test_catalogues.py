"""Every file of a catalogue lists what it defines. A failure says what to add, and where."""

from __future__ import annotations

import pkgutil
from collections import Counter
from importlib import import_module

import pytest

import ganterm.losses
from ganterm import presets
from ganterm.core.controls import LOSS_NAMES
from ganterm.core.registry import gathered
from ganterm.data import DATASETS
from ganterm.diagnosis.exam import Exam
from ganterm.diagnosis.rule import Rule, rules
from ganterm.losses.loss import Loss
from ganterm.networks import DISCRIMINATORS, GENERATORS
from ganterm.networks.options import DiscriminatorOptions, GeneratorOptions

LISTS = [
    ("ganterm.losses", Loss, "LOSSES"),
    ("ganterm.diagnosis.exams", Exam, "EXAMS"),
    ("ganterm.diagnosis.alarms", Rule, "RULES"),
    ("ganterm.networks", GeneratorOptions, "GENERATORS"),
    ("ganterm.networks", DiscriminatorOptions, "DISCRIMINATORS"),
]


@pytest.mark.parametrize(("package", "base", "attribute"), LISTS)
def test_what_a_file_defines_is_listed_in_it(package: str, base: type, attribute: str) -> None:
    for module in pkgutil.iter_modules(import_module(package).__path__):
        if module.ispkg:
            continue
        names = vars(import_module(f"{package}.{module.name}"))
        listed = {e if isinstance(e, type) else type(e) for e in names.get(attribute, ())}
        for name, value in names.items():
            own = isinstance(value, type) and value.__module__ == f"{package}.{module.name}"
            if not own or not issubclass(value, base) or value is base or name.startswith("_"):
                continue
            # A class that others of the file extend is a base, not an entry.
            entry = value in listed or any(issubclass(other, value) for other in listed)
            assert entry, f"{package}.{module.name}: add {name} to {attribute} at its end"


def test_the_keys_walk_through_every_loss() -> None:
    for loss in gathered(ganterm.losses, "LOSSES"):
        assert loss.name in LOSS_NAMES, f"ganterm/core/controls.py: add {loss.name} to LOSS_NAMES"


def test_no_two_entries_share_a_name() -> None:
    for rule_name, count in Counter(rule.name for rule in rules()).items():
        assert count == 1, f"alarm '{rule_name}': give one of the {count} rules another `name`"


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_every_alarm_has_a_title(rule: Rule) -> None:
    assert getattr(rule, "title", ""), f"alarm '{rule.name}': set `title` in its class"


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_has_a_title_and_a_size(name: str) -> None:
    source = DATASETS[name]
    for attribute in ("title", "kind", "size"):
        assert getattr(source, attribute), f"data set '{name}': set `{attribute}` in SOURCES"


@pytest.mark.parametrize("options", [*GENERATORS.values(), *DISCRIMINATORS.values()])
def test_every_network_can_be_left_at_its_defaults(options: type) -> None:
    assert options().network, f"{options.__name__}: give every option a default"


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_says_what_it_is_and_how_long_it_takes(name: str) -> None:
    preset = presets.load(name)[1]
    for attribute in ("title", "about", "expected"):
        assert getattr(preset, attribute), f"presets/{name}.toml: add `{attribute}`"
