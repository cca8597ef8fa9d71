"""Warnings of known traps in how a run is set up, shown before its first step."""

from __future__ import annotations

from ganterm.core.findings import Remedy
from ganterm.diagnosis.remedies import available, set_to, switch
from ganterm.diagnosis.rule import Finding, Record, Rule
from ganterm.losses import LOSSES

REACH = 0.02
"""Share of the data's range by which G's output may fall short at either end."""


class Trap(Rule):
    """A warning that the networks of a run cannot work well."""

    severity = "warning"
    raise_after = 1
    clear_after = 1
    exams = False


class OutputRange(Trap):
    """G's last layer cannot produce all values of the data."""

    name = "output_range"
    title = "G cannot reach the data"

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge the bounds of G's last layer."""
        traits = record.traits
        if traits.g_range is None:
            return False
        (low, high), (g_low, g_high) = traits.data_range, traits.g_range
        tolerance = REACH * (high - low)
        if g_low <= low + tolerance and g_high >= high - tolerance:
            return False
        return Finding(
            f"The data are in {low:.3g} to {high:.3g}, but G's last layer gives {g_low:.3g} to "
            f"{g_high:.3g}: D recognises fakes by that alone; choose another generator.output.",
            {"data": [low, high], "g": [g_low, g_high]},
            0,
        )


class BatchNormUnderPenalty(Trap):
    """D has batch norm, which mixes samples, under a penalty on its gradient at each sample."""

    name = "penalty_batch_norm"
    title = "Batch norm under a gradient penalty"

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge D's layers and the controls in force."""
        penalties = self._penalties(record)
        if not record.traits.d_batch_norm or not penalties:
            return False
        return Finding(
            f"D has batch norm, so that a sample's gradient depends on the whole batch, but "
            f"{' and '.join(penalties)} limits the gradient of each sample; choose another "
            "discriminator.norm.",
            {"penalties": list(penalties)},
        )

    def remedies(self, record: Record) -> tuple[Remedy, ...]:
        """Turn the penalty off."""
        controls = record.controls
        other_loss = None
        if "penalty_weight" in LOSSES[controls.loss].uses:
            other_loss = switch(controls, "non_saturating", "a loss without a penalty")
        return available(
            other_loss,
            set_to(controls, "r1", 0, "no R1"),
            set_to(controls, "r2", 0, "no R2"),
        )

    @staticmethod
    def _penalties(record: Record) -> tuple[str, ...]:
        controls = record.controls
        loss = LOSSES[controls.loss]
        own = "penalty_weight" in loss.uses and controls.penalty_weight > 0
        weights = ((loss.title, own), ("R1", controls.r1 > 0), ("R2", controls.r2 > 0))
        return tuple(name for name, on in weights if on)


class SigmoidD(Trap):
    """D ends in a sigmoid, but losses expect raw scores."""

    name = "sigmoid_d"
    title = "D ends in a sigmoid"

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge D's last layer."""
        if not record.traits.d_sigmoid:
            return False
        return Finding(
            f"D ends in a sigmoid, but {LOSSES[record.controls.loss].title} needs raw scores: "
            "the gradient fades where D is sure.",
            {"loss": record.controls.loss},
            0,
        )


class UnevenUpsampling(Trap):
    """The kernel of a transposed convolution is no multiple of its stride (Odena et al. 2016)."""

    name = "uneven_upsampling"
    title = "Uneven upsampling"

    def judge(self, record: Record, raised: bool) -> Finding | bool | None:
        """Judge G's layers."""
        uneven = record.traits.uneven_upsampling
        if not uneven:
            return False
        return Finding(
            f"G's {', '.join(uneven[:3])}: a transposed convolution whose kernel is no multiple "
            "of its stride prints a checkerboard; set generator.kernel to 4, or choose another "
            "generator.up.",
            {"layers": list(uneven)},
            0,
        )


RULES = (OutputRange(), BatchNormUnderPenalty(), SigmoidD(), UnevenUpsampling())
