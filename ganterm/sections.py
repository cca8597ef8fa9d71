"""The sections of a preset, except those of data, networks and controls."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ganterm.core.limits import MOST_BETWEEN_ROWS, MOST_STEPS

Precision = Literal["float32", "bf16"]


class Section(BaseModel):
    """A table of a preset. Unknown keys and values of another type are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


OptimizerName = Literal["adam", "rmsprop", "sgd"]
_Share = Annotated[float, Field(ge=0, lt=1)]
_Betas = Annotated[list[_Share], Field(min_length=2, max_length=2)]
_Eps = Annotated[float, Field(gt=0, le=1)]
_Decay = Annotated[float, Field(ge=0, le=1)]
_Limit = Annotated[float, Field(ge=0, le=1e6)]

READ_BY: dict[str, frozenset[OptimizerName]] = {
    "betas": frozenset({"adam"}),
    "eps": frozenset({"adam", "rmsprop"}),
    "momentum": frozenset({"sgd", "rmsprop"}),
    "alpha": frozenset({"rmsprop"}),
}
"""The optimizers that read an option. All optimizers read an option that is not listed."""


class OptimizerSide(Section):
    """Options of D's or G's optimizer that differ from ``[optimizer]``; None: as there."""

    name: OptimizerName | None = None
    betas: _Betas | None = None
    eps: _Eps | None = None
    momentum: _Share | None = None
    alpha: _Share | None = None
    weight_decay: _Decay | None = None
    clip_value: _Limit | None = None


class OptimizerOptions(Section):
    """The options of an optimizer; learning rates are controls.

    ``clip_value``: each number of a gradient is limited to -clip_value..clip_value; 0: no limit.
    """

    name: OptimizerName = "adam"
    betas: _Betas = [0.5, 0.999]
    eps: _Eps = 1e-8
    momentum: _Share = 0.0
    alpha: _Share = 0.99
    weight_decay: _Decay = 0.0
    clip_value: _Limit = 0.0


class OptimizerSection(OptimizerOptions):
    """The optimizers of both networks; ``d`` and ``g`` override options for one of them."""

    d: OptimizerSide | None = None
    g: OptimizerSide | None = None

    def of(self, side: Literal["d", "g"]) -> OptimizerOptions:
        """All options of one network's optimizer."""
        common = {name: getattr(self, name) for name in OptimizerOptions.model_fields}
        own = self.d if side == "d" else self.g
        return OptimizerOptions(**common | (own or OptimizerSide()).model_dump(exclude_none=True))


class RunSection(Section):
    """How the run is carried out.

    ``threads``: number of CPU threads; 0 chooses one at the start and records it.
    ``deterministic``: use only kernels that give the same bits every time; a run is refused if a
    layer has none. ``record_every``: steps between two recorded rows. ``diagnosis``: share of
    training time for diagnosis; 0: none, 1: no limit. ``diagnose_every``: fewest steps between two
    rounds of exams. ``classifier``: train a classifier on labelled data, once, to count modes.
    ``checkpoint_minutes``: minutes between two checkpoints; 0: only one at the end.
    ``checkpoint_mb``: largest total size of checkpoints in MiB, not counting the newest, the
    healthy one and the user's own. ``precision`` and ``compile`` apply to the forward passes of G
    and D (bf16 by autocast; losses, penalties, norms and optimizers stay float32), but not to a
    pass of D under a gradient penalty, which is differentiated twice. ``cuda_graphs``: replay whole
    iterations as CUDA graphs, on CUDA devices.
    """

    seed: int = Field(0, ge=0, lt=2**63)
    threads: int = Field(0, ge=0, le=256)
    deterministic: bool = False
    record_every: int = Field(1, ge=1, le=MOST_BETWEEN_ROWS)
    diagnosis: float = Field(0.02, ge=0, le=1)
    diagnose_every: int = Field(250, ge=1, le=1_000_000)
    classifier: bool = True
    checkpoint_minutes: float = Field(5.0, ge=0, le=10_080)
    checkpoint_mb: int = Field(2048, ge=1, le=1 << 40)
    precision: Precision = "float32"
    compile: bool = False
    cuda_graphs: bool = False


DIAGNOSIS_ONLY = ("diagnose_every", "classifier")
"""Keys of ``[run]`` that have no effect if diagnosis is off."""


class ScheduledChange(Section):
    """Changes of controls that take effect in the iteration that completes as ``step``."""

    step: int = Field(ge=1, le=MOST_STEPS)
    set: dict[str, str | int | float] = Field(min_length=1)


class ExpectedSection(Section):
    """The step at which samples are good, and the minutes until then on 2 CPU cores.

    ``minutes``: 0 if nobody has trained the preset so far on a CPU.
    """

    steps: int = Field(ge=1, le=MOST_STEPS)
    minutes: float = Field(0.0, ge=0, le=1e6)
