"""UnitActivity that never answer, whatever a network is shown."""

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
"""Between what values a unit counts as active. One of a leaky ReLU that never gets above 0 is not
dead, as it still learns, but it bends nothing any more."""


class UnitActivity(TorchFunctionMode):
    """While entered, keeps which units of ``network`` were ever active, by the layer they are of.

    A unit is a number of a flat layer, or a channel, active if it is anywhere in any sample. The
    functions themselves are watched, so that a layer need not be a module of its own. What comes
    after the last layer is G's picture or D's score, whose ends are no fault: it does not count.
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
        """Share of dead units, 0..1, of the layers named or of all.

        NaN where there are none, or where a value was not finite.
        """
        wanted = None if layers is None else set(layers)
        of = [on for (name, _), on in self._active.items() if wanted is None or name in wanted]
        if self._unknown or not of:
            return math.nan
        return 1 - float(torch.cat(of).float().mean())

    def __enter__(self) -> UnitActivity:
        for name in layers_of(self._network):
            layer = self._network.get_submodule(name)
            self._hooks.enter_context(layer.register_forward_pre_hook(self._reached(name)))
        # In front of the root's own hook as a layer, should it be one.
        begun = self._network.register_forward_pre_hook(self._begun, prepend=True)
        self._hooks.enter_context(begun)
        self._hooks.enter_context(self._network.register_forward_hook(self._done))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._hooks.close()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let the function do its work, and look at what an activation made."""
        made = func(*args, **(kwargs or {}))
        between = ACTIVE.get(func)
        if between is not None and self._inside and self._layer is not None:
            self._see(self._layer, made.detach(), *between)
        return made

    def _see(self, layer: str, made: Tensor, low: float, high: float) -> None:
        if made.dim() < 2 or not len(made):
            return
        self._unknown |= not bool(made.isfinite().all())
        on = (made > low) & (made < high)
        self._pending.append((layer, on.transpose(0, 1).flatten(1).any(dim=1)))

    def _begun(self, *_: Any) -> None:
        self._inside, self._layer = True, None

    def _reached(self, name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            for layer, on in self._pending:
                key = (layer, len(on))
                self._active[key] = on | self._active.get(key, on)
            self._pending.clear()
            self._layer = name

        return hook

    def _done(self, *_: Any) -> None:
        self._pending.clear()
        self._inside = False
