"""A stand-in for CUDA graphs on a CPU: the operations that work does, done again on its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

READ_BACK = ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal")


class Tape(TorchDispatchMode):
    """As a CUDA graph it keeps what the device was told and nothing of what the host thought.

    Numbers and places of memory are those of the capture, random numbers are drawn anew from the
    same generators, and what is read back to the host is an error. To capture leaves a trace, which
    a CUDA graph does not.
    """

    def __init__(self, generators: Iterable[torch.Generator]) -> None:
        super().__init__()
        self._known = {_address(each) for each in (torch.default_generator, *generators)}
        self._done: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], list[Tensor]]]
        self._done = []

    def capture(self, work: Callable[[], list[Tensor]]) -> list[Tensor]:
        with self:
            return work()

    def replay(self) -> None:
        with torch.no_grad():
            for operation, args, kwargs, made in self._done:
                again = tensors_in(operation(*args, **kwargs))
                for place, value in zip(made, again, strict=True):
                    if place.data_ptr() != value.data_ptr():
                        place.copy_(value)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = tree_leaves((args, kwargs))
        # One-hot looks at the range of its labels, on a CPU alone.
        of_labels = isinstance(args[0], Tensor) and args[0].dtype == torch.int64
        if func._schema.name in READ_BACK and not of_labels:
            raise RuntimeError(f"{func} reads back what lies on the device")
        for generator in given:
            if isinstance(generator, torch.Generator) and _address(generator) not in self._known:
                raise RuntimeError(f"{func} draws from a generator that is not registered")
        # As they are now: an operation may give a tensor another shape later.
        kept_args, kept_kwargs = tree_map_only(Tensor, torch.detach, (args, kwargs))
        result = func(*args, **kwargs)
        made = tensors_in(result)
        memory = {tensor.untyped_storage().data_ptr() for tensor in tensors_in(given)}
        writes = any(
            argument.alias_info and argument.alias_info.is_write
            for argument in func._schema.arguments
        )
        views = all(tensor.untyped_storage().data_ptr() in memory for tensor in made)
        shapes = views and (not writes or torch.Tag.inplace_view in func.tags)
        if func._schema.name not in READ_BACK and not shapes:
            self._done.append((func, kept_args, kept_kwargs, [each.detach() for each in made]))
        return result


def _address(generator: torch.Generator) -> int:
    """The address of the generator itself; each operation gets another Python object for it."""
    address: int = generator._cdata  # type: ignore[attr-defined]
    return address


def tensors_in(something: Any) -> list[Tensor]:
    """Those among the leaves of lists, tuples and tables."""
    return [leaf for leaf in tree_leaves(something) if isinstance(leaf, Tensor)]
