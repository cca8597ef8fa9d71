"""The adversarial losses, one small object each, a file for each family.

A file lists its objects as ``LOSSES``, and that alone makes them choices of the control ``loss``.
The catalogue (names, help, guide lines) must load without torch, hence the imports inside the
formulas.
"""

import sys

from ganterm.core.registry import gathered
from ganterm.losses.loss import Loss

LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in sorted(gathered(sys.modules[__name__], "LOSSES"), key=lambda loss: loss.rank)
}
