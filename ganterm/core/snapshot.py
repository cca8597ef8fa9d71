"""The frozen objects that cross the border between a trainer and whoever watches it. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ganterm.core.controls import Controls, Value
from ganterm.core.events import Event
from ganterm.core.findings import Alarm, Diagnosis, Outlook
from ganterm.core.history import HistoryView
from ganterm.core.metrics import METRICS

State = Literal["loading", "running", "paused", "finished", "stopped", "failed"]
ENDED: frozenset[State] = frozenset({"finished", "stopped", "failed"})

ViewName = Literal["samples", "classes", "real", "walk", "nearest"]
Painter = Literal["raw", "averaged", "both"]
VIEWS: dict[ViewName, str] = {
    "samples": "G's samples of the fixed noise",
    "classes": "one row a class, the same noise in each",
    "real": "real samples beside fakes",
    "walk": "from one latent point to another, a pair a row",
    "nearest": "each fake over its nearest training picture",
}


@dataclass(frozen=True)
class SetControl:
    """Change one control; acts for the first time in the next iteration."""

    name: str
    value: Value
    by: str = "key"


@dataclass(frozen=True)
class Pause:
    """Rest after the iteration under way."""


@dataclass(frozen=True)
class Unpause:
    """Go on."""


@dataclass(frozen=True)
class OneStep:
    """Run a single iteration and rest again."""


@dataclass(frozen=True)
class NewNoise:
    """Draw the fixed noise of the sample picture anew; training draws nothing for it."""


@dataclass(frozen=True)
class SaveSamples:
    """Write the sample picture of this step to the run directory."""


@dataclass(frozen=True)
class SaveCheckpoint:
    """Write a checkpoint that is the user's own: it stays until the user removes it."""


@dataclass(frozen=True)
class Rewind:
    """Go back to the newest healthy checkpoint, its controls included, and rest there."""

    by: str = "key"


@dataclass(frozen=True)
class Stop:
    """Finish the iteration under way, save, end. ``reason`` goes into the stop event."""

    reason: str = "asked to stop"


HANDED_OVER = "handed over to the background"
"""The reason in the stop event of a run that another process goes on with."""
HAND_OVER = "hand-over"
"""The key in the refused event of a run that cannot be handed over."""

Command = (
    SetControl | Pause | Unpause | OneStep | NewNoise | SaveSamples | SaveCheckpoint | Rewind | Stop
)


@dataclass(frozen=True)
class Refusal:
    """A command that was not obeyed, and why."""

    command: Command
    reason: str


@dataclass(frozen=True)
class View:
    """What a watcher wants to see of G, and, in a ``Sample``, what is seen.

    ``name`` "" is the run's first view. ``painter``: G as it is, its average, or both beside each
    other, which "samples" alone has. ``first``: the row to begin with where rows are many.
    """

    name: ViewName | Literal[""] = ""
    painter: Painter = "raw"
    first: int = 0


DEFAULT_VIEW = View()


@dataclass(frozen=True, eq=False)
class Sample:
    """What ``view`` shows at ``step``.

    ``images``: uint8 (n, height, width, channels), or ``points``: float32 (n, 2) with
    ``real_points`` (m, 2) to compare. ``across``: how many make a row, from left to right, 0 where
    the order means nothing; ``labels``: what each row is, of ``rows`` there are in all. ``beside``,
    as ``images`` or ``points``: the averaged generator's of the same noise in view "samples", real
    ones in "real", the nearest of each in "nearest"; there with ``distances`` (n,), Euclidean, of
    pixels 0..1. ``note``: what must be known to read it.
    """

    step: int
    images: NDArray[np.uint8] | None = None
    points: NDArray[np.float32] | None = None
    real_points: NDArray[np.float32] | None = None
    view: View = View("samples")
    across: int = 0
    labels: tuple[str, ...] = ()
    rows: int = 0
    beside: NDArray[Any] | None = None
    distances: NDArray[np.float32] | None = None
    note: str = ""


@dataclass(frozen=True)
class Link:
    """How a watcher is connected with the trainer.

    ``here``: in one process; ``attached``: to another one, which speaks; ``stale``: it has not for
    ``age`` seconds; ``ended``: it has left for good. ``readonly``: commands are not taken.
    ``trouble``: what is wrong with what it says, or with the run's files; "" where nothing is.
    """

    state: Literal["here", "attached", "stale", "ended"] = "here"
    readonly: bool = False
    age: float = 0.0
    trouble: str = ""


@dataclass(frozen=True)
class RunInfo:
    """What stays the same throughout a run. ``views``: those it has, the first by default.

    ``diagnose_every``: steps between two rounds of diagnosis at least; 0 where it is off.
    ``samples``: how many the data set has, each of ``shape``.
    ``events_before``: how many events are of earlier sittings, where this one is a resume.
    """

    name: str = ""
    preset: str = ""
    title: str = ""
    data: str = ""
    device: str = ""
    threads: int = 0
    seed: int = 0
    batch_size: int = 0
    steps: int | None = None
    directory: str = ""
    parameters_g: int = 0
    parameters_d: int = 0
    views: tuple[ViewName, ...] = ("samples",)
    diagnose_every: int = 0
    events_before: int = 0
    id: str = ""
    samples: int = 0
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Counters:
    """What has been done so far; ``elapsed`` is seconds of training, pauses left out."""

    d_updates: int = 0
    g_updates: int = 0
    samples_seen: int = 0
    elapsed: float = 0.0


@dataclass(frozen=True)
class Rates:
    """Over the last few seconds; real samples count as images."""

    steps_per_s: float = 0.0
    images_per_s: float = 0.0


@dataclass(frozen=True)
class Failure:
    """Why a run could not go on. ``mistake``: the user's to mend, so exit code 2."""

    message: str
    mistake: bool = False
    trace: str = ""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The newest state of a run; immutable, newest wins.

    ``stopped_by``: an alarm's name, or "". ``healthy``: the step of the newest healthy checkpoint,
    None where there is none to go back to.
    """

    state: State = "loading"
    step: int = 0
    branch: int = 0
    info: RunInfo = RunInfo()
    controls: Controls = field(default_factory=Controls)
    counters: Counters = Counters()
    rates: Rates = Rates()
    scalars: Mapping[str, float] = field(
        default_factory=lambda: dict.fromkeys(METRICS, float("nan"))
    )
    sample: Sample | None = None
    diagnosis: Diagnosis = field(default_factory=Diagnosis)
    alarms: tuple[Alarm, ...] = ()
    outlook: Outlook = field(default_factory=Outlook)
    memory_bytes: int = 0
    doing: str = "starting"
    progress: float | None = None
    failure: Failure | None = None
    stopped_by: str = ""
    healthy: int | None = None


EMPTY = Snapshot()


class Session(Protocol):
    """The door, whoever stands behind it: a thread of this process or another process."""

    @property
    def snapshot(self) -> Snapshot:
        """The newest snapshot."""

    @property
    def history(self) -> HistoryView:
        """All that was recorded so far."""

    @property
    def link(self) -> Link:
        """How the trainer is connected with."""

    def events(self, after: int = 0) -> tuple[Event, ...]:
        """The events from number ``after`` on, oldest first."""

    def submit(self, command: Command) -> None:
        """Hand a command to the trainer, which obeys between two iterations."""

    def take_refusals(self) -> tuple[Refusal, ...]:
        """The commands refused since this was asked last, each once; no event tells of them."""

    def watch(self, samples_per_s: float, view: View = DEFAULT_VIEW) -> None:
        """Say how often sample pictures are wanted, 0 for none, and of what."""

    def note(self, kind: str, **data: Any) -> None:
        """Have an event of this watcher's put into the log."""
