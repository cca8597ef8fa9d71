"""Dead units: those that no sample activates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ganterm.diagnosis.anatomy import layers_of

Range = tuple[float, float]

_POSITIVE: Range = (0.0, math.inf)
ACTIVE: dict[Callable[..., Any], Range] = {
    functional.relu: _POSITIVE,
    torch.relu: _POSITIVE,
    Tensor.relu: _POSITIVE,
    functional.leaky_relu: _POSITIVE,
    functional.prelu: _POSITIVE,
    torch.tanh: (-0.99, 0.99),
    Tensor.tanh: (-0.99, 0.99),
    torch.sigmoid: (0.01, 0.99),
    Tensor.sigmoid: (0.01, 0.99),
}
"""The range of outputs, by activation function, in which a unit counts as active. A leaky ReLU that
stays below 0 still learns, but is linear for all samples, so it counts as dead.
"""


class UnitActivity(TorchFunctionMode):
    """Records, while it is entered, which units of each layer of ``network`` are ever active.

    A unit is one output of a flat layer, or one channel; it is active if it is so anywhere in any
    sample. Calls of activation functions are observed, so that an activation need not be a module.
    Activations after the last layer do not count: they bound G's picture or D's score, and values
    at these bounds are not a fault.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = network
        self._hooks = ExitStack()
        self._inside = False
        self._layer: str | None = None
        self._pending: list[tuple[str, Tensor]] = []
        self._active: dict[tuple[str, int], Tensor] = {}
        self._unknown = False

    def dead(self, layers: Iterable[str] | None = None) -> float:
        """Share of dead units, 0..1, in the named layers, or in all of them.

        NaN if they have no units, or if any value was not finite.
        """
        names = {name for name, _ in self._active} if layers is None else set(layers)
        active = [units for (name, _), units in self._active.items() if name in names]
        if self._unknown or not active:
            return math.nan
        return 1 - float(torch.cat(active).float().mean())

    def __enter__(self) -> UnitActivity:
        for name in layers_of(self._network):
            layer = self._network.get_submodule(name)
            self._hooks.enter_context(layer.register_forward_pre_hook(self._layer_hook(name)))
        # The network may be a layer itself: this hook must run before that of the layer.
        hook = self._network.register_forward_pre_hook(self._start_pass, prepend=True)
        self._hooks.enter_context(hook)
        self._hooks.enter_context(self._network.register_forward_hook(self._end_pass))
        super().__enter__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._hooks.close()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, and record the output of an activation."""
        output = func(*args, **(kwargs or {}))
        limits = ACTIVE.get(func)
        if limits is not None and self._inside and self._layer is not None:
            self._record(self._layer, output.detach(), *limits)
        return output

    def _record(self, layer: str, output: Tensor, low: float, high: float) -> None:
        """Keep the activity until a further layer is reached: only then does it count."""
        if output.dim() < 2 or not len(output):
            return
        self._unknown |= not bool(output.isfinite().all())
        active = (output > low) & (output < high)
        self._pending.append((layer, active.transpose(0, 1).flatten(1).any(dim=1)))

    def _start_pass(self, *_: Any) -> None:
        self._inside, self._layer = True, None

    def _layer_hook(self, name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            for layer, units in self._pending:
                key = (layer, len(units))
                self._active[key] = units | self._active.get(key, units)
            self._pending.clear()
            self._layer = name

        return hook

    def _end_pass(self, *_: Any) -> None:
        self._pending.clear()
        self._inside = False
