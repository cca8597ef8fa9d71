"""How a file that is dropped into a room becomes a choice: nothing has to be listed twice."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType
from typing import Any


def gathered(room: ModuleType, attribute: str) -> list[Any]:
    """What the modules of the package ``room`` list under ``attribute``, in the modules' order.

    Sub-packages are not looked into: they hold the tensor code, which the trainer's thread loads.
    """
    found: list[Any] = []
    for module in sorted(pkgutil.iter_modules(room.__path__), key=lambda m: m.name):
        if not module.ispkg:
            found += getattr(import_module(f"{room.__name__}.{module.name}"), attribute, ())
    return found
