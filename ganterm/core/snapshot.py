"""The frozen objects that pass between a trainer and its watchers. No torch."""

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
    "real": "real samples and fakes side by side",
    "walk": "from one latent point to another, a pair a row",
    "nearest": "each fake over its nearest training picture",
}


@dataclass(frozen=True)
class SetControl:
    """Change one control, from the next iteration on."""

    name: str
    value: Value
    by: str = "key"


@dataclass(frozen=True)
class Pause:
    """Pause after the present iteration."""


@dataclass(frozen=True)
class Unpause:
    """Continue after a pause."""


@dataclass(frozen=True)
class OneStep:
    """Run one iteration, then pause."""


@dataclass(frozen=True)
class NewNoise:
    """Draw new fixed noise for the sample picture; the random numbers of training stay the same."""


@dataclass(frozen=True)
class SaveSamples:
    """Write the sample picture of this step to the run directory."""


@dataclass(frozen=True)
class SaveCheckpoint:
    """Write a checkpoint that is kept until the user removes it."""


@dataclass(frozen=True)
class Rewind:
    """Go back to the newest healthy checkpoint, with its controls, and pause there."""

    by: str = "key"


@dataclass(frozen=True)
class Stop:
    """Finish the present iteration, save and end; ``reason`` goes into the stop event."""

    reason: str = "asked to stop"


HANDED_OVER = "handed over to the background"
"""The reason in the stop event of a run that another process continues."""
HAND_OVER = "hand-over"
"""The key in the refused event of a run that cannot be handed over."""

Command = (
    SetControl | Pause | Unpause | OneStep | NewNoise | SaveSamples | SaveCheckpoint | Rewind | Stop
)


@dataclass(frozen=True)
class Refusal:
    """A command that was refused, and the reason."""

    command: Command
    reason: str


@dataclass(frozen=True)
class View:
    """A view of G: the one that a watcher requests, or the one that a ``Sample`` shows.

    ``name`` "" is the run's first view. ``painter``: the generator that draws, raw or averaged, or
    both side by side, which only the view "samples" has. ``first``: the first row of a long table.
    """

    name: ViewName | Literal[""] = ""
    painter: Painter = "raw"
    first: int = 0


DEFAULT_VIEW = View()


@dataclass(frozen=True, eq=False)
class Sample:
    """The samples of ``view`` at ``step``.

    They are ``images``, uint8 (n, height, width, channels), or ``points``, float32 (n, 2), with
    ``real_points`` (m, 2) to compare. ``across``: samples in a row, 0 where their order has no
    meaning. ``labels``: the labels of the rows; ``rows``: the number of rows in all.

    ``beside`` has the form of ``images`` or ``points``. It holds the averaged generator's samples
    of the same noise in the view "samples", real ones in "real", and the nearest training pictures
    in "nearest". There, ``distances`` (n,) are Euclidean, of pixels in 0..1. ``note``: what a
    viewer must know.
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
    """A watcher's connection with the trainer.

    ``here``: both are in one process. ``attached``: the trainer's process answers. ``stale``: it
    has not answered for ``age`` seconds. ``ended``: it has left for good. ``readonly``: commands
    are refused. ``trouble``: what is wrong with its messages or the run's files, else "".
    """

    state: Literal["here", "attached", "stale", "ended"] = "here"
    readonly: bool = False
    age: float = 0.0
    trouble: str = ""


@dataclass(frozen=True)
class RunInfo:
    """Facts that stay the same throughout a run. ``views``: its views, the default one first.

    ``diagnose_every``: least steps between two rounds of diagnosis; 0 where diagnosis is off.
    ``samples``: the number of samples in the data set, each of ``shape``. ``events_before``: the
    number of events from before this resume; 0 in a run that was not resumed.
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
    """Totals so far; ``elapsed`` is the training time in seconds, without pauses."""

    d_updates: int = 0
    g_updates: int = 0
    samples_seen: int = 0
    elapsed: float = 0.0


@dataclass(frozen=True)
class Rates:
    """Speeds over the last few seconds; ``images_per_s`` counts real samples."""

    steps_per_s: float = 0.0
    images_per_s: float = 0.0


@dataclass(frozen=True)
class Failure:
    """Why a run has failed. ``mistake``: the user can mend it, so the exit code is 2."""

    message: str
    mistake: bool = False
    trace: str = ""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The newest state of a run; a newer snapshot replaces it.

    ``stopped_by``: the name of the alarm that stopped the run, or "". ``healthy``: the step of the
    newest healthy checkpoint, None where there is none. ``doing`` and ``progress`` (0..1 or None)
    describe the loading.
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
    """The access to a trainer, in a thread of this process or in another process."""

    @property
    def snapshot(self) -> Snapshot:
        """The newest snapshot."""

    @property
    def history(self) -> HistoryView:
        """All rows recorded so far."""

    @property
    def link(self) -> Link:
        """The connection with the trainer."""

    def events(self, after: int = 0) -> tuple[Event, ...]:
        """The events from number ``after`` on, oldest first."""

    def submit(self, command: Command) -> None:
        """Hand a command to the trainer, which carries it out between two iterations."""

    def take_refusals(self) -> tuple[Refusal, ...]:
        """The commands refused since the last call, each once; no event is logged for them."""

    def watch(self, samples_per_s: float, view: View = DEFAULT_VIEW) -> None:
        """Request sample pictures of ``view``, so many per second; 0 for none."""

    def note(self, kind: str, **data: Any) -> None:
        """Log an event of this watcher."""
