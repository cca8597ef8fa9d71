"""The user's command that is run with an alarm."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import Any

import orjson

PATIENCE = 60.0
"""Seconds that the command may take; then it is killed, which is told."""
VARIABLE = "GANTERM_ALARM"


def run_hook(command: tuple[str, ...], alarm: Mapping[str, Any], tell: Callable[..., None]) -> None:
    """Run ``command`` without a shell, ``alarm`` as JSON in GANTERM_ALARM; nobody waits for it.

    ``tell(kind, **data)`` logs a note where it cannot be run, fails, or takes too long.
    """
    told = orjson.dumps(alarm, option=orjson.OPT_SERIALIZE_NUMPY).decode()

    def work() -> None:
        trouble = None
        try:
            done = subprocess.run(
                command,
                env={**os.environ, VARIABLE: told},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=PATIENCE,
                check=False,
            )
            if done.returncode:
                trouble = f"exit code {done.returncode}"
        except OSError as error:
            trouble = str(error.strerror)
        except subprocess.TimeoutExpired:
            trouble = f"killed after {PATIENCE:.0f} s"
        if trouble:
            tell("note", text=f"--on-alarm {command[0]}: {trouble}")

    threading.Thread(target=work, name="ganterm-on-alarm", daemon=True).start()
