"""A step that is played and taken back, so that what must happen once happens before training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch

from ganterm.controls import Controls
from ganterm.data.source import Progress
from ganterm.errors import UserError
from ganterm.sections import RunSection
from ganterm.text import clean
from ganterm.training.iteration import Game
from ganterm.training.state import game_generators, game_tensors


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


def rehearse(game: Game, run: RunSection, controls: Controls, tell: Progress) -> None:
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
