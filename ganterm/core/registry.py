"""Catalogues made of files: a module that is added to a package becomes a choice by itself."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType
from typing import Any


def gathered(package: ModuleType, attribute: str) -> list[Any]:
    """The entries of the lists called ``attribute`` in a package's modules, in alphabetical order.

    Sub-packages are skipped: they hold the tensor code, which only the trainer's thread loads.
    """
    entries: list[Any] = []
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        if not module.ispkg:
            entries += getattr(import_module(f"{package.__name__}.{module.name}"), attribute, ())
    return entries
