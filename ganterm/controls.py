"""The live hyperparameters: what keys, the `:` prompt, presets and schedules change.

One frozen dataclass; each field carries its range, step, keys and help. The trainer, the panel,
the command line, the event log and the help screen all read this table, so a new knob is one row.
A change swaps the whole object, hence one iteration always sees one consistent set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ganterm import losses
from ganterm.text import clean, nearest

Value = float | int | str


class ControlError(ValueError):
    """A control's name or value that cannot be; the message says what would be right."""


@dataclass(frozen=True, kw_only=True)
class Knob:
    """What is known of one control beside its value.

    ``low`` and ``high`` are inclusive. A key press multiplies by ``factor`` where there is one
    and adds ``increment`` otherwise; a control with ``choices`` walks through them.
    """

    name: str = ""
    label: str
    help: str
    low: float = 0.0
    high: float = 0.0
    factor: float | None = None
    increment: float = 1
    whole: bool = False
    choices: tuple[str, ...] = ()
    keys: tuple[str, str] | None = None
    for_all_losses: bool = True

    @property
    def range(self) -> str:
        """The valid values, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.low:g} to {self.high:g}"

    def check(self, value: object) -> Value:
        """The value in its own type; ControlError for a wrong type, NaN or one out of range."""
        if self.choices:
            if isinstance(value, str) and value in self.choices:
                return value
            raise ControlError(
                f"{self.name}: '{clean(value, 40)}' is not known; "
                f"{nearest(str(value), self.choices)}"
            )
        wrong = isinstance(value, bool) or not isinstance(value, int | float)
        if not wrong and isinstance(value, int):
            wrong = abs(value) > 10**9
        if wrong or not math.isfinite(value) or not self.low <= value <= self.high:  # type: ignore[arg-type, operator]
            shown = f"{value:g}" if isinstance(value, float) else clean(value, 40)
            raise ControlError(f"{self.name}: {shown} is not {self.range}")
        if self.whole:
            if value != int(value):  # type: ignore[call-overload]
                raise ControlError(f"{self.name}: {clean(value, 40)} is not {self.range}")
            return int(value)  # type: ignore[call-overload]
        return float(value)  # type: ignore[arg-type]

    def parse(self, text: str) -> Value:
        """The value that a user typed; ControlError where it is none."""
        text = text.strip()
        if self.choices:
            return self.check(text)
        try:
            number: object = int(text[:64]) if self.whole else float(text[:64])
        except ValueError:
            number = text
        return self.check(number)

    def nudge(self, value: Value, direction: int) -> Value:
        """The next value down (-1) or up (+1), held inside the range; choices go round."""
        if self.choices:
            place = (self.choices.index(str(value)) + direction) % len(self.choices)
            return self.choices[place]
        number = float(value)
        if self.factor is not None and number > 0:
            number *= self.factor**direction
        else:
            number += direction * self.increment
        number = min(max(number, self.low), self.high)
        # Six digits, so that down and up again is the same number.
        return int(number) if self.whole else float(f"{number:.6g}")

    def show(self, value: Value) -> str:
        """The value as panels, logs and messages print it."""
        if isinstance(value, str):
            return value
        if self.whole:
            return str(int(value))
        if self.factor is not None and 0 < value < 0.01:
            mantissa, exponent = f"{value:.2e}".split("e")
            return f"{mantissa}e{int(exponent)}"
        return f"{value:.4g}"


def _knob(default: Value, **known: Any) -> Any:
    return field(default=default, metadata={"knob": Knob(**known)})


@dataclass(frozen=True)
class Controls:
    """One consistent set of the live hyperparameters, as one iteration uses it."""

    loss: str = _knob(
        "non_saturating",
        label="loss",
        help="The adversarial loss. Networks and optimizer moments stay when it changes.",
        choices=tuple(losses.LOSSES),
        keys=("o", "O"),
    )
    k: int = _knob(
        1,
        label="k",
        help="D updates per step, each on a fresh real batch and fresh noise.",
        low=1,
        high=100,
        whole=True,
        keys=("k", "K"),
    )
    l: int = _knob(  # noqa: E741 (the field's own letter)
        1,
        label="l",
        help="G updates per step, each on fresh noise.",
        low=1,
        high=100,
        whole=True,
        keys=("l", "L"),
    )
    lr_d: float = _knob(
        2e-4,
        label="lr D",
        help="Learning rate of D. The optimizer's moments stay when it changes.",
        low=1e-8,
        high=1.0,
        factor=1.25,
        keys=("d", "D"),
    )
    lr_g: float = _knob(
        2e-4,
        label="lr G",
        help="Learning rate of G. The optimizer's moments stay when it changes.",
        low=1e-8,
        high=1.0,
        factor=1.25,
        keys=("g", "G"),
    )
    clip: float = _knob(
        0.01,
        label="clip",
        help="WGAN: D's weights are held in -clip..clip after each D update.",
        low=1e-5,
        high=10.0,
        factor=1.25,
        for_all_losses=False,
    )
    penalty_weight: float = _knob(
        10.0,
        label="penalty weight",
        help="Weight of the loss's gradient penalty (lambda).",
        low=0.0,
        high=1000.0,
        factor=1.25,
        increment=0.1,
        for_all_losses=False,
    )
    label_smoothing: float = _knob(
        0.0,
        label="label smoothing",
        help="One-sided: the target of real samples is lowered by this much.",
        low=0.0,
        high=0.5,
        increment=0.05,
        for_all_losses=False,
    )
    instance_noise: float = _knob(
        0.0,
        label="instance noise",
        help="Standard deviation of Gaussian noise on everything D sees (data span -1..1).",
        low=0.0,
        high=2.0,
        increment=0.05,
    )
    d_input_dropout: float = _knob(
        0.0,
        label="D input dropout",
        help="Share of D's inputs set to zero, on real and fake alike, against co-adaptation.",
        low=0.0,
        high=0.9,
        increment=0.05,
    )

    def __post_init__(self) -> None:
        for name, knob in KNOBS.items():
            object.__setattr__(self, name, knob.check(getattr(self, name)))

    @classmethod
    def from_table(cls, table: Mapping[str, object]) -> Controls:
        """Controls from a preset's ``[controls]``; ControlError names the wrong key or value."""
        for name in table:
            knob_of(name)
        return cls(**table)  # type: ignore[arg-type]

    def with_(self, name: str, value: object) -> Controls:
        """These controls with one changed; ControlError for a bad name or value."""
        return replace(self, **{name: knob_of(name).check(value)})  # type: ignore[arg-type]

    def value(self, name: str) -> Value:
        """The value of the control called ``name``."""
        knob_of(name)
        return getattr(self, name)

    def table(self) -> dict[str, Value]:
        """Name to value, in the order of the panel."""
        return {name: getattr(self, name) for name in KNOBS}

    def in_use(self, name: str) -> bool:
        """Whether the loss in force reads the control called ``name``."""
        return knob_of(name).for_all_losses or name in losses.LOSSES[self.loss].uses


KNOBS: dict[str, Knob] = {
    f.name: replace(f.metadata["knob"], name=f.name) for f in fields(Controls)
}


def knob_of(name: str) -> Knob:
    """The knob called ``name``; ControlError with the nearest name where there is none."""
    if name not in KNOBS:
        raise ControlError(f"there is no control '{clean(name, 40)}'; {nearest(name, KNOBS)}")
    return KNOBS[name]


def parse_assignment(text: str) -> tuple[str, Value]:
    """``lr_d 1e-4`` or ``lr_d=1e-4`` as (name, value); ControlError says what is wrong."""
    name, _, value = text.strip().replace("=", " ", 1).partition(" ")
    knob = knob_of(name)
    if not value.strip():
        raise ControlError(f"{name} needs a value: {knob.range}")
    return name, knob.parse(value)
