"""What is known of one live hyperparameter: its values, its keys, and how it is shown."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ganterm.text import clean, nearest

Value = float | int | str


class ControlError(ValueError):
    """A control's name or value that cannot be; the message says what would be right."""


@dataclass(frozen=True, kw_only=True)
class Knob:
    """What is known of one control beside its value.

    ``low`` and ``high`` are inclusive. A key press multiplies by ``factor`` where there is one
    and adds ``increment`` otherwise; a control with ``choices`` walks through them. One with
    ``only_with`` is read only while any of those controls is above 0; one with ``only_for`` where D
    has that option.
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

    def nudge(self, value: Value, direction: int, choices: tuple[str, ...] | None = None) -> Value:
        """The next value down (-1) or up (+1), held inside the range.

        Choices go round: all of them, or those given.
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
