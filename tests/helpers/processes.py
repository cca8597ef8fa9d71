"""Which tests start processes of their own."""

from __future__ import annotations

import multiprocessing
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from types import CodeType, FunctionType
from typing import Any

import pytest

from tests.helpers.terminal import Terminal

_STARTERS: tuple[Any, ...] = (subprocess, multiprocessing, ProcessPoolExecutor, Terminal)


def starts_processes(item: pytest.Function) -> bool:
    """Whether a test, one of its fixtures, or a helper that they call starts a process."""
    # pytest has no public way from a test to the functions of its fixtures.
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    functions = [item.function, *(each.func for found in fixtures for each in found)]
    visited: set[CodeType] = set()
    return any(_reaches_a_starter(function, visited) for function in functions)


def _reaches_a_starter(function: Callable[..., Any], visited: set[CodeType]) -> bool:
    function = getattr(function, "hypothesis", function)
    function = getattr(function, "inner_test", function)
    if not isinstance(function, FunctionType) or function.__code__ in visited:
        return False
    visited.add(function.__code__)
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        if any(value is starter for starter in _STARTERS):
            return True
        ours = getattr(value, "__module__", None) or ""
        if ours.startswith("tests.") and _reaches_a_starter(value, visited):
            return True
    return False


def _names(code: CodeType) -> Iterator[str]:
    """All global names and attributes in a function and the functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
