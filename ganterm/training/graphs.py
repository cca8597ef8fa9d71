"""A step that is played and taken back, so that what must happen once happens before training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from ganterm.core.controls import Controls
from ganterm.core.errors import UserError
from ganterm.core.text import clean
from ganterm.data.source import ProgressCallback
from ganterm.sections import RunSection
from ganterm.training.checkpoints.contents import game_generators, game_tensors
from ganterm.training.game import Game
from ganterm.training.plan import Batch, Turn


@contextmanager
def taken_back(game: Game) -> Iterator[None]:
    """Whatever is played within leaves no trace: not in a tensor, generator, counter or batch."""
    tensors = game_tensors(game)
    kept = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    generators = [(each, each.get_state()) for each in game_generators(game).values()]
    counters = game.step, game.d_updates
    position = game.batches.position
    try:
        yield
    finally:
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(kept[name])
        for generator, state in generators:
            generator.set_state(state)
        game.step, game.d_updates = counters
        reached = game.batches.position
        # To go anywhere costs a stream its workers.
        if reached.at != position.at or not torch.equal(reached.random, position.random):
            game.batches.go_to(position)


def rehearse(game: Game, run: RunSection, controls: Controls, tell: ProgressCallback) -> None:
    """Have the passes compiled where ``run`` says so, and see that what it wishes can be had here.

    Not every network and device can do all of it. UserError where one cannot, and where nothing
    was compiled though it should have been.
    """
    wishes = {
        "run.deterministic": run.deterministic,
        f"run.precision {run.precision}": run.precision != "float32",
        "run.compile": run.compile,
    }
    if not any(wishes.values()):
        return
    what = " with ".join(name for name, wished in wishes.items() if wished)
    try:
        with taken_back(game):
            if run.compile:
                tell("compiling the networks", None)
                _watch_compiling(partial(game.play, replace(controls, k=1, l=1)))
            else:
                game.play(replace(controls, k=1, l=1))
    except (RuntimeError, ImportError, OSError) as error:
        reason = in_a_line(error)
        raise UserError(f"{what}: the networks cannot be trained so here: {reason}") from None


def _watch_compiling(play: Callable[[], object]) -> None:
    """RuntimeError where ``play`` has torch compile nothing."""
    # It takes torch a while to import this, and most runs do without.
    import torch._dynamo.utils

    # What earlier runs of this process had compiled counts towards torch's limit.
    torch._dynamo.reset()
    told = torch._dynamo.utils.counters["stats"]
    before = told["unique_graphs"]
    play()
    if told["unique_graphs"] == before:
        raise RuntimeError("torch compiled nothing; is TORCH_COMPILE_DISABLE set?")


def in_a_line(error: BaseException) -> str:
    """What an error says first, with its type."""
    inner = getattr(error, "inner_exception", error)
    said = [line for line in str(inner).splitlines() if line.strip()] or [""]
    return clean(f"{type(inner).__name__}: {said[0]}", 200)


# Whole iterations as CUDA graphs: captured once, then replayed with one call each.
#
# A small network's iteration is some hundred short kernels; to launch them one by one takes the
# host longer than the GPU takes to run them. A graph launches them all together.

AFTER = 50
"""Turns that are played before one is captured, which takes as long as many of them: so a control
that is turned step by step is not captured at each."""
MOST = 8
"""Graphs kept; each holds the memory that an iteration works in. Turns beyond are only played."""
MOST_APART = 0.2
"""Of the way that a network's weights go in three steps, how far from their end a replay may come
besides what the same steps themselves do twice, where kernels round otherwise each time: Adam moves
a weight whose gradient is nothing but rounding as far as any other."""


class Graph(Protocol):
    """Work that is captured once and done again by each replay, on what then lies in memory."""

    def capture(self, work: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Remember what ``work`` does; what it returns is written anew by each replay."""

    def replay(self) -> None:
        """Do it."""


class CudaGraph:
    """A CUDA graph; ``generators`` are those that its work draws from beside the device's own."""

    def __init__(self, generators: Iterable[torch.Generator]) -> None:
        default = torch.cuda.default_generators[torch.cuda.current_device()]
        self._generators = [default, *generators]
        self._graph = torch.cuda.CUDAGraph()
        # Later ones find generators by themselves, and complain. (It is not compared as a text.)
        if torch.__version__ < "2.14":
            for generator in self._generators[1:]:
                self._graph.register_generator_state(generator)

    def capture(self, work: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Remember the work, which is done once before: what is made at first use is made then.

        RuntimeError where it cannot be captured; the caller's stream and generators are sound then.
        """
        # One a capture: with a graph go the buffers that cuBLAS keeps for its stream.
        outer, stream = torch.cuda.current_stream(), torch.cuda.Stream()
        stream.wait_stream(outer)
        try:
            # A capture that fails leaves its own context without leaving its stream.
            with torch.cuda.stream(stream):
                self._rehearse(work)
                # Threads that pin memory for a data loader do what no capturing thread may.
                with torch.cuda.graph(
                    self._graph, stream=stream, capture_error_mode="thread_local"
                ):
                    return work()
        except RuntimeError as error:
            for generator in self._generators:
                # Before torch 2.14 theirs would go on waiting for the end of the capture.
                generator.graphsafe_set_state(generator.clone_state())
            raise _first(error) from None
        finally:
            outer.wait_stream(stream)

    def replay(self) -> None:
        """Queue it on the current stream."""
        self._graph.replay()

    @staticmethod
    def _rehearse(work: Callable[[], list[Tensor]]) -> None:
        """Do it once, such that what waits for the device fails here and not in the capture."""
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode(before)


def _first(error: RuntimeError) -> RuntimeError:
    """What went wrong first, where an error is all that its end had to say about a capture."""
    while isinstance(error.__context__, RuntimeError):
        error = error.__context__
    return error


GRAPHS: dict[str, Callable[[Iterable[torch.Generator]], Graph]] = {"cuda": CudaGraph}
"""By the type of the device."""


@dataclass(frozen=True)
class Captured:
    """A graph, the places it reads its real batches from, and the scalars it writes."""

    graph: Graph
    places: Sequence[Batch]
    scalars: list[Tensor]

    def replay(self, turn: Turn) -> list[Tensor]:
        """Do the work of a turn of the same settings and kind, on its own batches."""
        for place in self.places:
            for held, drawn in zip(place, turn.next_batch(), strict=True):
                if held is not None and drawn is not None:
                    held.copy_(drawn)
        self.graph.replay()
        return self.scalars


class Replayer:
    """Plays the iterations of ``game``, from graphs once their settings have been in force a while.

    Rates and the level of the instance noise lie on the device and may change from step to step;
    where any other control changes, the graphs are dropped. A graph is used only if replays of it
    have come to the same as the work itself: bit for bit where the run is ``deterministic``, else
    to nearly the same weights. ``trouble`` says why nothing is replayed any more, where so.
    """

    def __init__(self, game: Game, deterministic: bool) -> None:
        self.trouble = ""
        self._game = game
        self._weights = {"D": game.weights_d, "G": game.weights_g}
        self._deterministic = deterministic
        self._controls: Controls | None = None
        self._settings: Controls | None = None
        self._captured: dict[Hashable, Captured] = {}
        self._played: Counter[Hashable] = Counter()
        self._dials = [torch.zeros((), device=game.device) for _ in range(3)]
        self._dialled = [0.0, 0.0, 0.0]

    def play(self, controls: Controls) -> list[Tensor]:
        """One iteration, as ``Game.play``; the scalars are written anew by the next one."""
        turn = self._game.turn(controls)
        self._drop_outdated(turn)
        captured = self._captured.get(turn.kind)
        if captured is None and self._is_due(turn.kind):
            drawn = [turn.next_batch() for _ in range(turn.reals)]
            captured = self._captured_or_none(turn, drawn)
            turn = turn.fed(drawn)
        work = self._game.work if captured is None else captured.replay
        scalars = work(self._on_device(turn))
        self._game.done(turn)
        return scalars

    def capture(self, controls: Controls) -> None:
        """Have turns like the coming one replayed; RuntimeError where they cannot be."""
        turn = self._game.turn(controls)
        self._drop_outdated(turn)
        with taken_back(self._game):
            self._capture(turn, [turn.next_batch() for _ in range(turn.reals)])

    def _drop_outdated(self, turn: Turn) -> None:
        """Drop the graphs of other settings."""
        if turn.controls is self._controls:
            return
        self._controls = turn.controls
        if turn.settings != self._settings:
            self._settings = turn.settings
            self._captured.clear()
            self._played.clear()

    def _is_due(self, kind: Hashable) -> bool:
        self._played[kind] += 1
        return self._played[kind] > AFTER and len(self._captured) < MOST and not self.trouble

    def _captured_or_none(self, turn: Turn, drawn: Sequence[Batch]) -> Captured | None:
        try:
            return self._capture(turn, drawn)
        except RuntimeError as error:
            self.trouble = f"steps are not replayed from CUDA graphs any more: {in_a_line(error)}"
            # They draw from generators that a capture which failed has left.
            self._captured.clear()
            return None

    def _capture(self, turn: Turn, drawn: Sequence[Batch]) -> Captured:
        # Between two turns alike another one: a graph that holds the numbers of its first turn,
        # rather than the places where they lie, comes to something else.
        other = replace(
            turn,
            lr_d=turn.controls.lr_d * 10,
            lr_g=turn.controls.lr_g * 10,
            noise=None if turn.noise is None else turn.noise * 2,
        )
        unlike = [(-x, None if labels is None else labels.flip(0)) for x, labels in drawn]
        trial = [(turn, drawn), (other, unlike), (turn, drawn)]
        plain, again = (self._outcome(trial, self._game.work) for _ in range(2))
        places = [(x.clone(), None if labels is None else labels.clone()) for x, labels in drawn]
        graph = GRAPHS[self._game.device.type]([self._game.noise])
        on_device = self._on_device(turn)
        with taken_back(self._game):
            scalars = graph.capture(lambda: self._game.work(on_device.fed(places)))
        captured = Captured(graph, places, scalars)
        self._compare(plain, again, self._outcome(trial, captured.replay))
        self._captured[turn.kind] = captured
        return captured

    def _outcome(
        self, trial: Sequence[tuple[Turn, Sequence[Batch]]], work: Callable[[Turn], list[Tensor]]
    ) -> _Outcome:
        """What some turns come to that are done as ``work`` does them, which is taken back."""
        game = self._game
        with taken_back(game):
            for turn, drawn in trial:
                work(self._on_device(turn).fed(drawn))
            return _Outcome(
                {name: weights.flat.detach().clone() for name, weights in self._weights.items()},
                {name: tensor.clone() for name, tensor in game_tensors(game).items()},
                [generator.get_state() for generator in game_generators(game).values()],
            )

    def _compare(self, plain: _Outcome, again: _Outcome, replayed: _Outcome) -> None:
        """RuntimeError where a replay came to something else than the work itself, done twice."""
        if not all(map(torch.equal, plain.random, replayed.random)):
            raise RuntimeError("a replayed step draws other random numbers than one that is not")
        if self._deterministic:
            for name, tensor in plain.tensors.items():
                if not torch.equal(tensor, replayed.tensors[name]):
                    raise RuntimeError(f"a replayed step comes to another {name}")
        for network, end in plain.weights.items():
            moved = (end - self._weights[network].flat.detach()).norm()
            apart = (end - replayed.weights[network]).norm()
            usual = (end - again.weights[network]).norm()
            if not apart <= MOST_APART * moved + 3 * usual:
                raise RuntimeError(f"a replayed step moves {network} elsewhere")

    def _on_device(self, turn: Turn) -> Turn:
        """The same turn with its numbers on the device."""
        wanted = (float(turn.lr_d), float(turn.lr_g), float(turn.noise or 0))
        for place, value in enumerate(wanted):
            if self._dialled[place] != value:
                self._dials[place].fill_(value)
                self._dialled[place] = value
        lr_d, lr_g, noise = self._dials
        return replace(turn, lr_d=lr_d, lr_g=lr_g, noise=None if turn.noise is None else noise)


def replaying(
    game: Game, controls: Controls, deterministic: bool, tell: ProgressCallback
) -> Replayer:
    """A replayer of ``game`` that has captured what it starts with; UserError where it cannot."""
    device = game.device
    if device.type not in GRAPHS:
        raise UserError(
            f"run.cuda_graphs: there are none on {device}; use --device cuda, or leave it at false"
        )
    replayer = Replayer(game, deterministic)
    tell("capturing an iteration as a CUDA graph", None)
    try:
        replayer.capture(controls)
    except RuntimeError as error:
        raise UserError(f"run.cuda_graphs: {in_a_line(error)}; leave it at false") from None
    return replayer


@dataclass(frozen=True)
class _Outcome:
    """What there is after some turns; ``random``: the states of the generators."""

    weights: dict[str, Tensor]
    tensors: dict[str, Tensor]
    random: list[Tensor]
