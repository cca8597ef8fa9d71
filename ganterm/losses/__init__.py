"""The adversarial losses: one small object each, one file for each family.

A file lists its objects as ``LOSSES``. A new loss also needs its name in ``LOSS_NAMES`` of
``core/controls.py``, which is the order in which the keys o and O walk through the losses. This
package loads without torch: the methods import torch when they are called.

The functions below say how the loss in force limits the other controls.
"""

import sys

from ganterm.core.controls import LOSS_NAMES, ControlError, Controls, knob_of
from ganterm.core.registry import gathered
from ganterm.losses.loss import Loss

_BY_NAME: dict[str, Loss] = {loss.name: loss for loss in gathered(sys.modules[__name__], "LOSSES")}
LOSSES: dict[str, Loss] = {name: _BY_NAME[name] for name in LOSS_NAMES}

_D_KINDS = {"score": "one that gives scores", "autoencoder": "an autoencoder"}


def in_use(controls: Controls, name: str) -> bool:
    """Whether anything reads the control ``name`` under the loss and the other values in force."""
    knob = knob_of(name)
    enabled = not knob.only_with or any(controls.value(other) for other in knob.only_with)
    return enabled and (knob.for_all_losses or name in LOSSES[controls.loss].uses)


def choices_of(controls: Controls, name: str) -> tuple[str, ...]:
    """The values that a control can take during the run; () if it has no choices.

    A loss can only be replaced by one for the same kind of D.
    """
    choices = knob_of(name).choices
    if name != "loss":
        return choices
    kind = LOSSES[controls.loss].d_kind
    return tuple(choice for choice in choices if LOSSES[choice].d_kind == kind)


def controls_with(controls: Controls, name: str, value: object) -> Controls:
    """``controls`` with one value changed.

    ControlError for an unknown name, a value out of range, or a loss that needs another kind of D.
    """
    changed = controls.with_(name, value)
    kind = LOSSES[changed.loss].d_kind
    if kind != LOSSES[controls.loss].d_kind:
        raise ControlError(
            f"{name}: {changed.loss} needs another D, {_D_KINDS[kind]}; this run can have "
            f"{', '.join(choices_of(controls, name))}"
        )
    return changed
