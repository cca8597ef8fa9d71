"""Where a run stands between two iterations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ganterm.controls import Controls
from ganterm.session.protocol import Counters, State


@dataclass
class Standing:
    """What the loop changes and the rest of the trainer's room reads; all in one thread.

    ``scheduled``: the last step whose scheduled changes are in ``controls``; ``scalars``: the
    newest row that was copied out.
    """

    step: int
    branch: int
    controls: Controls
    counters: Counters
    scheduled: int
    scalars: Mapping[str, float]
    state: State = "running"
