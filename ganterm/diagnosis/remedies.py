"""What to try against what is wrong: remedies that work now, under the controls in force.

Each function gives a Remedy, or None where it would change nothing or cannot be done. In a rule's
list the way back to an earlier healthy state has the first place, since what undoes the harm goes
before what prevents the next; then what slows the side that runs ahead of the other, then what acts
at once, then what changes the game.
"""

from __future__ import annotations

from ganterm.core.controls import KNOBS, Controls
from ganterm.core.findings import Remedy
from ganterm.losses import LOSSES, choices_of

R1 = 0.1
"""Weight at which R1 cures both collapse presets."""


def available(*cures: Remedy | None) -> tuple[Remedy, ...]:
    """The remedies that there are."""
    return tuple(cure for cure in cures if cure is not None)


def lower(controls: Controls, name: str, why: str) -> Remedy | None:
    """A press of the key that lowers a control, unless it is as low as it goes."""
    return _key_press(controls, name, -1, why)


def higher(controls: Controls, name: str, why: str) -> Remedy | None:
    """A press of the key that raises a control, unless it is as high as it goes."""
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
    """Fewer G updates where there are several: R1 does not cure a G that runs ahead of D."""
    if controls.l > controls.k:
        return lower(controls, "l", "G runs ahead of D")
    return lower(controls, "l", "fewer G updates a step")


def set_to(controls: Controls, name: str, value: float, why: str) -> Remedy | None:
    """A command that gives a control another value, held inside its range."""
    knob = KNOBS[name]
    wanted = knob.check(min(max(float(f"{value:.3g}"), knob.low), knob.high))
    if wanted == controls.value(name):
        return None
    return Remedy(f":{name} {wanted:g}", why)


def raise_to(controls: Controls, name: str, value: float, why: str) -> Remedy | None:
    """A command that raises a control to a value, where it is lower."""
    lower_now = float(controls.value(name)) < value
    return set_to(controls, name, value, why) if lower_now else None


def divide(controls: Controls, name: str, by: float, why: str) -> Remedy | None:
    """A command that divides a control."""
    return set_to(controls, name, float(controls.value(name)) / by, why)


def gradient_is_penalised(controls: Controls) -> bool:
    """Whether anything holds D's gradient already."""
    own = "penalty_weight" in LOSSES[controls.loss].uses and controls.penalty_weight > 0
    return own or controls.r1 > 0


def add_r1(controls: Controls, why: str) -> Remedy | None:
    """R1 where nothing holds D's gradient yet."""
    if gradient_is_penalised(controls) or LOSSES[controls.loss].d_kind != "score":
        return None
    return set_to(controls, "r1", R1, why)


def switch(controls: Controls, loss: str, why: str) -> Remedy | None:
    """Another loss, where D can have it."""
    if loss == controls.loss or loss not in choices_of(controls, "loss"):
        return None
    return Remedy(f":loss {loss}", why)
