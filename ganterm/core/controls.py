"""The live hyperparameters: their ranges, keys and help texts, and one consistent set of values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ganterm.core.text import clean, nearest

Value = float | int | str

LOSS_NAMES = (
    "non_saturating",
    "minimax",
    "lsgan",
    "hinge",
    "wgan",
    "wgan_gp",
    "dragan",
    "ragan",
    "rpgan",
    "rpgan_r1_r2",
    "softmax",
    "ebgan",
    "began",
)
"""The losses in the order in which the keys o and O walk through them; ``losses/`` defines them."""


class ControlError(ValueError):
    """An invalid name or value of a control; the message says what would be valid."""


@dataclass(frozen=True, kw_only=True)
class Knob:
    """The description of one control: all but its value.

    ``low`` and ``high`` are inclusive. A key press multiplies the value by ``factor`` if there is
    one, and adds ``increment`` otherwise; a control with ``choices`` takes the next one. A control
    with ``only_with`` has an effect only while one of those controls is above 0, and one with
    ``only_for`` only if D has that option.
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
    only_with: tuple[str, ...] = ()
    only_for: str = ""

    @property
    def range(self) -> str:
        """The valid values, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.low:g} to {self.high:g}"

    def check(self, value: object) -> Value:
        """The value in the control's type; ControlError for a wrong type, NaN or a wrong value."""
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
            return int(value)  # type: ignore[call-overload, no-any-return]
        return float(value)  # type: ignore[arg-type]

    def parse(self, text: str) -> Value:
        """The value of a text that a user typed; ControlError where it is invalid."""
        text = text.strip()
        if self.choices:
            return self.check(text)
        try:
            number: object = int(text[:64]) if self.whole else float(text[:64])
        except ValueError:
            number = text
        return self.check(number)

    def nudge(self, value: Value, direction: int, choices: tuple[str, ...] | None = None) -> Value:
        """The next value down (-1) or up (+1), clipped to the range.

        Choices form a circle, of all of them or of ``choices``.
        """
        if self.choices:
            choices = choices or self.choices
            return choices[(choices.index(str(value)) + direction) % len(choices)]
        number = float(value)
        if self.factor is not None and number > 0:
            number *= self.factor**direction
        else:
            number += direction * self.increment
        number = min(max(number, self.low), self.high)
        # Rounded to six digits, so that a step down and a step up give the same number again.
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


def _knob(default: Value, **description: Any) -> Any:
    return field(default=default, metadata={"knob": Knob(**description)})


@dataclass(frozen=True)
class Controls:
    """One consistent set of the live hyperparameters, as one iteration uses it.

    Keys, the `:` prompt, presets and schedules change them. The trainer, the panel, the command
    line, the event log and the help screen all read this table, so a new control is one field
    here. A change replaces the whole object, so an iteration never sees half of it.
    """

    loss: str = _knob(
        "non_saturating",
        label="loss",
        help="The adversarial loss. Networks and optimizer moments stay when it changes.",
        choices=LOSS_NAMES,
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
        help="WGAN: D's weights are clipped to -clip..clip after each D update.",
        low=1e-5,
        high=10.0,
        factor=1.25,
        for_all_losses=False,
    )
    penalty_weight: float = _knob(
        10.0,
        label="penalty weight",
        help="Weight of the loss's own gradient penalty (lambda, or gamma).",
        low=0.0,
        high=1000.0,
        factor=1.25,
        increment=0.1,
        for_all_losses=False,
    )
    r1: float = _knob(
        0.0,
        label="R1",
        help="Adds gamma/2 times the mean squared gradient of D at real samples to any loss.",
        low=0.0,
        high=1000.0,
        factor=1.25,
        increment=0.01,
    )
    r2: float = _knob(
        0.0,
        label="R2",
        help="Adds gamma/2 times the mean squared gradient of D at fake samples to any loss.",
        low=0.0,
        high=1000.0,
        factor=1.25,
        increment=0.01,
    )
    r_every: int = _knob(
        1,
        label="R1, R2 every",
        help="R1 and R2 act in every n-th D update only, with n times the weight.",
        low=1,
        high=64,
        whole=True,
        only_with=("r1", "r2"),
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
    label_noise: float = _knob(
        0.0,
        label="label noise",
        help="Each sample's target moves towards the other side by a random amount up to this.",
        low=0.0,
        high=0.5,
        increment=0.05,
        for_all_losses=False,
    )
    label_flips: float = _knob(
        0.0,
        label="label flips",
        help="Share of D's real and fake samples that swap sides, drawn for each batch.",
        low=0.0,
        high=0.5,
        increment=0.01,
    )
    instance_noise: float = _knob(
        0.0,
        label="instance noise",
        help="Standard deviation of Gaussian noise on everything D sees (data span -1..1).",
        low=0.0,
        high=2.0,
        increment=0.05,
    )
    noise_steps: int = _knob(
        0,
        label="noise ends at",
        help="The instance noise falls linearly to 0 at this step. 0: it stays constant.",
        low=0,
        high=100_000_000,
        whole=True,
        increment=1000,
        only_with=("instance_noise",),
    )
    d_input_dropout: float = _knob(
        0.0,
        label="D input dropout",
        help="Share of D's inputs set to zero, on real and fake alike, against co-adaptation.",
        low=0.0,
        high=0.9,
        increment=0.05,
    )
    top_k: float = _knob(
        1.0,
        label="top k",
        help="G learns from this share of its samples only: those that D scores highest.",
        low=0.05,
        high=1.0,
        increment=0.05,
    )
    grad_clip: float = _knob(
        0.0,
        label="gradient clip",
        help="Largest gradient norm of D and of G; larger ones are scaled down to it. 0: no limit.",
        low=0.0,
        high=10_000.0,
        factor=1.25,
        increment=1,
    )
    ema: float = _knob(
        0.999,
        label="averaging",
        help="Share of the averaged generator that is kept in each step. 0: no averaging.",
        low=0.0,
        high=0.99999,
        increment=0.01,
    )
    aux_d: float = _knob(
        1.0,
        label="label weight D",
        only_for="auxiliary",
        help="ACGAN, InfoGAN: weight of the label loss in D's loss.",
        low=0.0,
        high=100.0,
        factor=1.25,
        increment=0.1,
    )
    aux_g: float = _knob(
        1.0,
        label="label weight G",
        only_for="auxiliary",
        help="ACGAN, InfoGAN: weight of the label loss of fakes in G's loss.",
        low=0.0,
        high=100.0,
        factor=1.25,
        increment=0.1,
    )
    margin: float = _knob(
        1.0,
        label="margin",
        help="EBGAN: the error up to which D is rewarded for reconstructing fakes badly.",
        low=0.0,
        high=1000.0,
        factor=1.25,
        increment=0.1,
        for_all_losses=False,
    )
    pull_away: float = _knob(
        0.1,
        label="pull away",
        help="EBGAN: weight of the term that keeps the codes of G's samples apart.",
        low=0.0,
        high=100.0,
        factor=1.25,
        increment=0.1,
        for_all_losses=False,
    )
    gamma: float = _knob(
        0.5,
        label="gamma",
        help="BEGAN: D's error on fakes relative to reals. Lower: cleaner, but less diverse.",
        low=0.0,
        high=1.0,
        increment=0.05,
        for_all_losses=False,
    )
    balance_rate: float = _knob(
        0.001,
        label="balance rate",
        help="BEGAN: how fast the balance k of its loss moves.",
        low=1e-6,
        high=1.0,
        factor=1.25,
        for_all_losses=False,
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
        """These controls with one value changed; ControlError for an invalid name or value."""
        return replace(self, **{name: knob_of(name).check(value)})  # type: ignore[arg-type]

    def value(self, name: str) -> Value:
        """The value of the control called ``name``; ControlError where there is none."""
        knob_of(name)
        value: Value = getattr(self, name)
        return value

    def table(self) -> dict[str, Value]:
        """Name to value, in the order of the panel."""
        return {name: getattr(self, name) for name in KNOBS}


KNOBS: dict[str, Knob] = {
    f.name: replace(f.metadata["knob"], name=f.name) for f in fields(Controls)
}


def knob_of(name: str) -> Knob:
    """The knob called ``name``; ControlError with the nearest name where there is none."""
    if name not in KNOBS:
        raise ControlError(f"there is no control '{clean(name, 40)}'; {nearest(name, KNOBS)}")
    return KNOBS[name]


def parse_assignment(text: str) -> tuple[str, Value]:
    """The name and value in ``lr_d 1e-4`` or ``lr_d=1e-4``; ControlError where one is invalid."""
    name, _, value = text.strip().replace("=", " ", 1).partition(" ")
    knob = knob_of(name)
    if not value.strip():
        raise ControlError(f"{name} needs a value: {knob.range}")
    return name, knob.parse(value)
