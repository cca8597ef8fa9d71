"""Remedies that are possible under the controls in force.

Each function returns a Remedy, or None if it would change nothing or is impossible. An alarm lists
its remedies in this order: go back to an earlier healthy state, slow the network that runs ahead,
change something that acts at once, change the loss.
"""

from __future__ import annotations

from typing import Literal

from ganterm.core.controls import KNOBS, Controls
from ganterm.core.findings import Remedy
from ganterm.losses import LOSSES, choices_of

R1 = 0.1
"""Weight of R1 that cures both presets that collapse."""


def available(*remedies: Remedy | None) -> tuple[Remedy, ...]:
    """The remedies that can be tried: all that are not None."""
    return tuple(remedy for remedy in remedies if remedy is not None)


def lower(controls: Controls, name: str, why: str) -> Remedy | None:
    """Press the key that lowers a control; None if it is at its lowest."""
    return _key_press(controls, name, -1, why)


def higher(controls: Controls, name: str, why: str) -> Remedy | None:
    """Press the key that raises a control; None if it is at its highest."""
    return _key_press(controls, name, +1, why)


def _key_press(controls: Controls, name: str, direction: int, why: str) -> Remedy | None:
    knob, value = KNOBS[name], controls.value(name)
    assert knob.keys is not None
    if knob.nudge(value, direction) == value:
        return None
    key = knob.keys[0 if direction < 0 else 1]
    way = "lower" if direction < 0 else "raise"
    return Remedy(key, f"{way} {knob.label}, now {knob.show(value)}: {why}")


def slow_g(controls: Controls) -> Remedy | None:
    """Make fewer G updates: R1 does not cure a G that runs ahead of D."""
    if controls.l > controls.k:
        return lower(controls, "l", "G runs ahead of D")
    return lower(controls, "l", "fewer G updates a step")


def set_to(controls: Controls, name: str, value: float, why: str) -> Remedy | None:
    """Set a control to a value, rounded to three digits and clamped to the control's range."""
    knob = KNOBS[name]
    target = knob.check(min(max(float(f"{value:.3g}"), knob.low), knob.high))
    if target == controls.value(name):
        return None
    return Remedy(f":{name} {target:g}", why)


def raise_to(controls: Controls, name: str, value: float, why: str) -> Remedy | None:
    """Raise a control to a value; None if it is as high already."""
    if float(controls.value(name)) >= value:
        return None
    return set_to(controls, name, value, why)


def divide(controls: Controls, name: str, by: float, why: str) -> Remedy | None:
    """Divide a control by a number."""
    return set_to(controls, name, float(controls.value(name)) / by, why)


def halve_rate(controls: Controls, network: Literal["D", "G"]) -> Remedy | None:
    """Halve the learning rate of D or G."""
    return divide(controls, f"lr_{network.lower()}", 2, f"half of {network}'s rate")


def gradient_is_penalised(controls: Controls) -> bool:
    """Whether R1 or the loss's own penalty acts on D's gradient."""
    own = "penalty_weight" in LOSSES[controls.loss].uses and controls.penalty_weight > 0
    return own or controls.r1 > 0


def add_r1(controls: Controls, why: str) -> Remedy | None:
    """Add R1; None if D's gradient is penalised already, or D is an autoencoder."""
    if gradient_is_penalised(controls) or LOSSES[controls.loss].d_kind != "score":
        return None
    return set_to(controls, "r1", R1, why)


def switch(controls: Controls, loss: str, why: str) -> Remedy | None:
    """Change the loss; None if it is in force already or needs another kind of D."""
    if loss == controls.loss or loss not in choices_of(controls, "loss"):
        return None
    return Remedy(f":loss {loss}", why)
