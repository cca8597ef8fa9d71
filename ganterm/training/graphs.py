"""CUDA graphs of whole iterations, and trial iterations that leave no trace.

A small network's iteration is some hundred short kernels, and launching them one by one takes the
host longer than the GPU takes to run them. A graph is captured once and then launches all of them
with one call.
"""

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
from ganterm.training.plan import Batch, IterationPlan
from ganterm.training.torch_internals import count_compiled


@contextmanager
def undone(game: Game) -> Iterator[None]:
    """Undo all iterations run inside: tensors, generators, counters and the order of the data."""
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
        # Only where it moved: moving a stream restarts its workers.
        if reached.at != position.at or not torch.equal(reached.random, position.random):
            game.batches.go_to(position)


def rehearse(game: Game, run: RunSection, controls: Controls, tell: ProgressCallback) -> None:
    """Try one iteration with what ``run`` asks for, and undo it; compilation happens here.

    Not every network and device supports determinism, lower precision and compilation. UserError
    where one does not, and where torch compiled nothing although it should have.
    """
    options = {
        "run.deterministic": run.deterministic,
        f"run.precision {run.precision}": run.precision != "float32",
        "run.compile": run.compile,
    }
    if not any(options.values()):
        return
    what = " with ".join(name for name, chosen in options.items() if chosen)
    try:
        with undone(game):
            if run.compile:
                tell("compiling the networks", None)
                _check_compiling(partial(game.train_step, replace(controls, k=1, l=1)))
            else:
                game.train_step(replace(controls, k=1, l=1))
    except (RuntimeError, ImportError, OSError) as error:
        reason = in_a_line(error)
        raise UserError(f"{what}: the networks cannot be trained so here: {reason}") from None


def _check_compiling(run: Callable[[], object]) -> None:
    """Run an iteration; RuntimeError where torch compiles nothing in it."""
    if not count_compiled(run):
        raise RuntimeError("torch compiled nothing; is TORCH_COMPILE_DISABLE set?")


def in_a_line(error: BaseException) -> str:
    """The first line of an error, with its type."""
    inner = getattr(error, "inner_exception", error)
    lines = [line for line in str(inner).splitlines() if line.strip()] or [""]
    return clean(f"{type(inner).__name__}: {lines[0]}", 200)


AFTER = 50
"""Iterations of one kind that run normally before a graph is captured. A capture takes as long as
some dozens of iterations, and a control that is being adjusted would cost one for every key."""
MAX_GRAPHS = 8
"""Graphs kept at a time. Each holds the working memory of an iteration. Plans of further kinds run
without a graph."""
TOLERANCE = 0.2
"""How far the weights may end from where they should after a replay of three steps, as a share of
the way they moved. Kernels that round differently each time are allowed for besides: Adam moves a
weight whose gradient is only rounding as far as any other."""


class Graph(Protocol):
    """Device work, captured once; each replay repeats it on the memory as it is then."""

    def capture(self, work: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Capture ``work``; each replay rewrites the tensors that it returned."""

    def replay(self) -> None:
        """Repeat the work."""


class CudaGraph:
    """A CUDA graph; its work draws from the device's generator and from ``generators``."""

    def __init__(self, generators: Iterable[torch.Generator]) -> None:
        default = torch.cuda.default_generators[torch.cuda.current_device()]
        self._generators = [default, *generators]
        self._graph = torch.cuda.CUDAGraph()
        # From 2.14 on torch finds generators itself and complains about registered ones. (Its
        # version is no plain string and compares by number.)
        if torch.__version__ < "2.14":
            for generator in self._generators[1:]:
                self._graph.register_generator_state(generator)

    def capture(self, work: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Run the work once, so that everything made at first use exists, and capture it.

        RuntimeError where it cannot be captured; stream and generators are usable afterwards.
        """
        # A stream for each capture: the graph keeps the buffers that cuBLAS allots to its stream.
        outer, stream = torch.cuda.current_stream(), torch.cuda.Stream()
        stream.wait_stream(outer)
        try:
            # The outer context, because a failing capture does not leave its stream.
            with torch.cuda.stream(stream):
                self._warm_up(work)
                # Threads that pin memory for a data loader do things that are forbidden during a
                # capture; "thread_local" forbids them to this thread alone.
                with torch.cuda.graph(
                    self._graph, stream=stream, capture_error_mode="thread_local"
                ):
                    return work()
        except RuntimeError as error:
            for generator in self._generators:
                # Before torch 2.14 their states keep waiting for the end of the capture.
                generator.graphsafe_set_state(generator.clone_state())
            raise _root(error) from None
        finally:
            outer.wait_stream(stream)

    def replay(self) -> None:
        """Queue the work on the current stream."""
        self._graph.replay()

    @staticmethod
    def _warm_up(work: Callable[[], list[Tensor]]) -> None:
        """Run the work once; a synchronisation fails here, with a clear error, not in a capture."""
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode(before)


def _root(error: RuntimeError) -> RuntimeError:
    """The first error of a chain: the last one only says that the capture ended badly."""
    while isinstance(error.__context__, RuntimeError):
        error = error.__context__
    return error


GRAPHS: dict[str, Callable[[Iterable[torch.Generator]], Graph]] = {"cuda": CudaGraph}
"""The kind of graph for each type of device."""


@dataclass(frozen=True)
class CapturedIteration:
    """A graph, the tensors it reads its real batches from, and the scalars it writes."""

    graph: Graph
    inputs: Sequence[Batch]
    scalars: list[Tensor]

    def replay(self, plan: IterationPlan) -> list[Tensor]:
        """Do the work of a plan of the same settings and kind, on the plan's batches."""
        for batch in self.inputs:
            for held, drawn in zip(batch, plan.next_batch(), strict=True):
                if held is not None and drawn is not None:
                    held.copy_(drawn)
        self.graph.replay()
        return self.scalars


class Replayer:
    """Runs the iterations of ``game``, from graphs once their settings have lasted a while.

    Learning rates and the noise level lie on the device and may change in every step. When any
    other control changes, all graphs are dropped. A new graph is compared with the plain iteration
    before it is used: bit for bit where the run is ``deterministic``, else by nearly equal weights.
    ``trouble`` says why graphs are no longer used, "" while they are.
    """

    def __init__(self, game: Game, deterministic: bool) -> None:
        self.trouble = ""
        self._game = game
        self._weights = {"D": game.weights_d, "G": game.weights_g}
        self._deterministic = deterministic
        self._controls: Controls | None = None
        self._settings: Controls | None = None
        self._captured: dict[Hashable, CapturedIteration] = {}
        self._iterations: Counter[Hashable] = Counter()
        self._numbers = [torch.zeros((), device=game.device) for _ in range(3)]
        self._values = [0.0, 0.0, 0.0]
        """The values that ``_numbers`` (lr_d, lr_g, noise) hold on the device."""

    def train_step(self, controls: Controls) -> list[Tensor]:
        """One iteration, as ``Game.train_step``; the next one rewrites the returned scalars."""
        plan = self._game.plan(controls)
        self._drop_outdated(plan)
        captured = self._captured.get(plan.kind)
        if captured is None and self._is_due(plan.kind):
            batches = [plan.next_batch() for _ in range(plan.real_batches)]
            captured = self._try_capture(plan, batches)
            plan = plan.with_batches(batches)
        compute = self._game.compute if captured is None else captured.replay
        scalars = compute(self._on_device(plan))
        self._game.finish(plan)
        return scalars

    def capture(self, controls: Controls) -> None:
        """Capture the next iteration under these controls; RuntimeError where that fails."""
        plan = self._game.plan(controls)
        self._drop_outdated(plan)
        with undone(self._game):
            self._capture(plan, [plan.next_batch() for _ in range(plan.real_batches)])

    def _drop_outdated(self, plan: IterationPlan) -> None:
        """Drop the graphs of other settings."""
        if plan.controls is self._controls:
            return
        self._controls = plan.controls
        if plan.settings != self._settings:
            self._settings = plan.settings
            self._captured.clear()
            self._iterations.clear()

    def _is_due(self, kind: Hashable) -> bool:
        self._iterations[kind] += 1
        enough = self._iterations[kind] > AFTER
        return enough and len(self._captured) < MAX_GRAPHS and not self.trouble

    def _try_capture(
        self, plan: IterationPlan, batches: Sequence[Batch]
    ) -> CapturedIteration | None:
        try:
            return self._capture(plan, batches)
        except RuntimeError as error:
            self.trouble = f"steps are not replayed from CUDA graphs any more: {in_a_line(error)}"
            # The others share generators whose registration the failed capture has ended.
            self._captured.clear()
            return None

    def _capture(self, plan: IterationPlan, batches: Sequence[Batch]) -> CapturedIteration:
        # The trial repeats the plan with a different one in between. A graph that has baked in the
        # numbers of its first plan, rather than their addresses, ends up elsewhere.
        other = replace(
            plan,
            lr_d=plan.controls.lr_d * 10,
            lr_g=plan.controls.lr_g * 10,
            noise=None if plan.noise is None else plan.noise * 2,
        )
        others = [(-x, None if labels is None else labels.flip(0)) for x, labels in batches]
        trial = [(plan, batches), (other, others), (plan, batches)]
        plain, again = (self._outcome(trial, self._game.compute) for _ in range(2))
        inputs = [(x.clone(), None if labels is None else labels.clone()) for x, labels in batches]
        graph = GRAPHS[self._game.device.type]([self._game.noise])
        on_device = self._on_device(plan)
        with undone(self._game):
            scalars = graph.capture(lambda: self._game.compute(on_device.with_batches(inputs)))
        captured = CapturedIteration(graph, inputs, scalars)
        self._compare(plain, again, self._outcome(trial, captured.replay))
        self._captured[plan.kind] = captured
        return captured

    def _outcome(
        self,
        trial: Sequence[tuple[IterationPlan, Sequence[Batch]]],
        compute: Callable[[IterationPlan], list[Tensor]],
    ) -> _Outcome:
        """The state after some plans run by ``compute``; they are undone."""
        game = self._game
        with undone(game):
            for plan, batches in trial:
                compute(self._on_device(plan).with_batches(batches))
            return _Outcome(
                {name: weights.flat.detach().clone() for name, weights in self._weights.items()},
                {name: tensor.clone() for name, tensor in game_tensors(game).items()},
                [generator.get_state() for generator in game_generators(game).values()],
            )

    def _compare(self, plain: _Outcome, again: _Outcome, replayed: _Outcome) -> None:
        """RuntimeError where a replay ends elsewhere than the plain iterations, run twice."""
        if not all(map(torch.equal, plain.random, replayed.random)):
            raise RuntimeError("a replayed step draws other random numbers than one that is not")
        if self._deterministic:
            for name, tensor in plain.tensors.items():
                if not torch.equal(tensor, replayed.tensors[name]):
                    raise RuntimeError(f"a replayed step comes to another {name}")
        for network, end in plain.weights.items():
            moved = (end - self._weights[network].flat.detach()).norm()
            apart = (end - replayed.weights[network]).norm()
            rounding = (end - again.weights[network]).norm()
            if not apart <= TOLERANCE * moved + 3 * rounding:
                raise RuntimeError(f"a replayed step moves {network} elsewhere")

    def _on_device(self, plan: IterationPlan) -> IterationPlan:
        """The same plan with its numbers on the device."""
        values = (float(plan.lr_d), float(plan.lr_g), float(plan.noise or 0))
        for place, value in enumerate(values):
            if self._values[place] != value:
                self._numbers[place].fill_(value)
                self._values[place] = value
        lr_d, lr_g, noise = self._numbers
        return replace(plan, lr_d=lr_d, lr_g=lr_g, noise=None if plan.noise is None else noise)


@dataclass(frozen=True)
class _Outcome:
    """The state after some iterations; ``random`` holds the states of the generators."""

    weights: dict[str, Tensor]
    tensors: dict[str, Tensor]
    random: list[Tensor]


def captured_game(
    game: Game, controls: Controls, deterministic: bool, tell: ProgressCallback
) -> Replayer:
    """A replayer of ``game`` with a graph of its first iteration; UserError where it has none."""
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
