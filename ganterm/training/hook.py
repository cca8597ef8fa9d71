"""The user's command that is run with an alarm."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ganterm.core.json_text import json_bytes
from ganterm.core.text import clean

PATIENCE = 60.0
"""Seconds that the command may take; then it is killed, which is told."""
VARIABLE = "GANTERM_ALARM"


def run_hook(command: tuple[str, ...], alarm: Mapping[str, Any], tell: Callable[..., None]) -> None:
    """Run ``command`` without a shell, ``alarm`` as JSON in GANTERM_ALARM; nobody waits for it.

    ``tell(kind, **data)`` logs a note where it cannot be run, fails, or takes too long.
    """
    program = clean(command[0], 60)
    try:
        told = json_bytes(alarm).decode()
        process = subprocess.Popen(
            command,
            env={**os.environ, VARIABLE: told},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the run goes on
        why = getattr(error, "strerror", None) or clean(f"{type(error).__name__}: {error}", 200)
        tell("note", text=f"--on-alarm {program}: {why}")
        return

    def wait() -> None:
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            tell("note", text=f"--on-alarm {program}: killed after {PATIENCE:.0f} s")
            return
        if code:
            tell("note", text=f"--on-alarm {program}: exit code {code}")

    threading.Thread(target=wait, name="ganterm-on-alarm", daemon=True).start()
