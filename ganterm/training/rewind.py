"""Going back to a healthy checkpoint while the run lives: what it held, read whole before use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ganterm.session import runs
from ganterm.session.runs import CheckpointName
from ganterm.training import restore
from ganterm.training.iteration import Game
from ganterm.training.restore import Checkpoint, Unusable
from ganterm.training.sampler import Sampler


def first_usable(
    run: Path, names: Iterable[CheckpointName], game: Game, sampler: Sampler, d_kind: str
) -> Checkpoint:
    """The first of some checkpoints that is sound and fits; Unusable where none is, and why."""
    reason = "there is no healthy checkpoint to go back to"
    for name in names:
        try:
            found = restore.read(run, name, runs.about(run).id)
            restore.check(found, game, sampler, d_kind)
        except Unusable as error:
            reason = f"checkpoint {name} cannot be used: {error}"
        else:
            return found
    raise Unusable(reason)
