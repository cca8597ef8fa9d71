"""Where a sitting begins: at the first step, or at a checkpoint of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ganterm.core.controls import Controls
from ganterm.core.errors import UserError
from ganterm.core.events import Event, ResumeEvent
from ganterm.core.findings import Alarm
from ganterm.core.history import History
from ganterm.core.snapshot import ENDED, Counters, SetControl
from ganterm.core.text import clean
from ganterm.presets import Preset
from ganterm.rundir import find, reader
from ganterm.rundir.columns import read_history
from ganterm.rundir.find import CheckpointName
from ganterm.training.checkpoints import contents, health, restore
from ganterm.training.checkpoints.restore import Checkpoint, Unusable
from ganterm.training.game import Game
from ganterm.training.sampler import Sampler

LARGER = 8
"""A checkpoint is not read if it is more times larger than one of these networks. One of slightly
different networks is read, so that the error can say how they differ."""


@dataclass(frozen=True, eq=False)
class Beginning:
    """The state that a sitting starts with; the defaults are those of a new run.

    ``controls`` contain the scheduled changes up to the step ``scheduled``; ``pending`` are changes
    that act next. ``history`` and ``events`` are the newest branch's, from earlier sittings.
    ``checkpoint`` is the one resumed from; ``differs`` says why the rest will not be bit-identical.
    """

    controls: Controls
    history: History
    step: int = 0
    branch: int = 0
    scheduled: int = 0
    counters: Counters = field(default_factory=Counters)
    pending: tuple[SetControl, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    streaks: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    checkpoint: CheckpointName | None = None
    differs: tuple[str, ...] = ()

    @property
    def discards(self) -> bool:
        """Whether completed steps are discarded."""
        return self.checkpoint is not None and self.branch != self.checkpoint.branch


def from_checkpoint(
    run: Path,
    name: CheckpointName,
    preset: Preset,
    device: torch.device,
    game: Game,
    sampler: Sampler,
    data_differs: tuple[str, ...] = (),
) -> Beginning:
    """Restore ``game`` and ``sampler`` from a checkpoint; nothing is written.

    ``data_differs`` says how the data may have changed. UserError, with the newest good checkpoint,
    where this one cannot be used; ``game`` and ``sampler`` are unchanged then.
    """
    known = find.about(run)
    most = LARGER * contents.size(game, sampler) + (1 << 26)

    def usable(candidate: CheckpointName) -> Checkpoint:
        found = restore.read(run, candidate, known.id, most)
        restore.check(found, game, sampler, preset.discriminator.d_kind)
        return found

    try:
        found = usable(name)
    except Unusable as error:
        raise UserError(_refusal(run, name, str(error), usable)) from None
    held = found.state
    contents.put_back(game, sampler, found.tensors, held, preset.run.seed + held.step)
    ended = known.state in ENDED and (known.step, known.branch) == (held.step, held.branch)
    branch = held.branch
    if not ended:
        there = [checkpoint.branch for checkpoint in find.checkpoints(run)]
        branch = 1 + max([known.branch, reader.newest_number(run), *there])
    begun = ResumeEvent(step=held.step, branch=branch, checkpoint=str(name), differs=())
    *events, _ = reader.newest_branch([*reader.read_events(run), begun])
    # Both spellings: options that are newer than the run are no change of its file.
    presets = {contents.checksum(preset.toml()), contents.checksum(find.preset_content(run))}
    differs = contents.differences(held, device, preset.run, presets)
    return Beginning(
        Controls.from_table(held.controls),
        read_history(run, preset.run.record_every, held.step),
        held.step,
        branch,
        held.scheduled,
        held.counters,
        tuple(held.pending),
        tuple(held.alarms),
        held.streaks,
        tuple(events),
        name,
        tuple(clean(difference) for difference in (*differs, *data_differs)),
    )


def _refusal(
    run: Path, name: CheckpointName, reason: str, usable: Callable[[CheckpointName], Checkpoint]
) -> str:
    refused = f"checkpoint {name} of run '{clean(run.name)}' cannot be used: {reason}"
    # A healthy checkpoint is better than a newer one that is merely readable.
    for other in dict.fromkeys([*health.healthy(run), *find.checkpoints(run)]):
        if other == name:
            continue
        try:
            usable(other)
        except Unusable:
            continue
        return f"{refused}\nthe newest good one: {find.command_from(run, other)}"
    return f"{refused}\nno other checkpoint of this run can be used"


def first_usable(
    run: Path, names: Iterable[CheckpointName], game: Game, sampler: Sampler, d_kind: str
) -> Checkpoint:
    """The first usable one of some checkpoints; Unusable, with the reason, where none is."""
    reason = "there is no healthy checkpoint to go back to"
    for name in names:
        try:
            found = restore.read(run, name, find.about(run).id)
            restore.check(found, game, sampler, d_kind)
        except Unusable as error:
            reason = f"checkpoint {name} cannot be used: {error}"
        else:
            return found
    raise Unusable(reason)
