"""Where a sitting begins: at the first step, or where a checkpoint of the run was taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ganterm.controls import Controls
from ganterm.errors import UserError
from ganterm.presets import Preset
from ganterm.session import health, records, runs
from ganterm.session.board import now
from ganterm.session.columns import read_history
from ganterm.session.findings import Alarm
from ganterm.session.history import History
from ganterm.session.protocol import ENDED, Counters, Event, SetControl
from ganterm.session.runs import CheckpointName
from ganterm.text import clean
from ganterm.training import restore, state
from ganterm.training.iteration import Game
from ganterm.training.restore import Checkpoint, Unusable
from ganterm.training.sampler import Sampler

LARGER = 8
"""Times that a checkpoint may be larger than one of these networks, to be read at all."""


@dataclass(frozen=True, eq=False)
class Beginning:
    """What a trainer starts with; the defaults are those of a new run.

    ``scheduled``: the last step whose scheduled changes are in ``controls``; ``pending``: changes
    that were asked for and act next. ``history`` and ``events``: what the newest branch holds of
    earlier sittings. ``checkpoint`` is the one resumed from; ``differs`` says why what comes will
    not be the same bit for bit.
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
        """Whether steps that were done are given up."""
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
    """Bring ``game`` and ``sampler`` to where a checkpoint was taken; nothing is written.

    ``data_differs``: in what the data may not be as they were. UserError, naming the newest good
    checkpoint, where this one cannot be used; then ``game`` and ``sampler`` are as they were.
    """
    known = runs.about(run)
    # Of other networks it is told how they differ, as long as they are not far larger.
    most = LARGER * state.size(game, sampler) + (1 << 26)

    def usable(candidate: CheckpointName) -> Checkpoint:
        found = restore.read(run, candidate, known.id, most)
        restore.check(found, game, sampler, preset.discriminator.d_kind)
        return found

    try:
        found = usable(name)
    except Unusable as error:
        raise UserError(_refusal(run, name, str(error), usable)) from None
    held = found.state
    state.put_back(game, sampler, found.tensors, held, preset.run.seed + held.step)
    ended = known.state in ENDED and (known.step, known.branch) == (held.step, held.branch)
    branch = held.branch
    if not ended:
        there = [checkpoint.branch for checkpoint in runs.checkpoints(run)]
        branch = 1 + max([known.branch, records.newest_number(run), *there])
    begun = Event(held.step, branch, now(), "resume")
    *events, _ = records.newest_branch([*records.read_events(run), begun])
    # A key that this ganterm has and that one had not is no change of the file.
    presets = {state.checksum(preset.toml()), state.checksum(runs.preset_content(run))}
    differs = state.differences(held, device, preset.run, presets)
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
    # One that no alarm speaks against is better than a newer one that is only sound.
    for other in dict.fromkeys([*health.healthy(run), *runs.checkpoints(run)]):
        if other == name:
            continue
        try:
            usable(other)
        except Unusable:
            continue
        return f"{refused}\nthe newest good one: {runs.command_from(run, other)}"
    return f"{refused}\nno other checkpoint of this run can be used"
