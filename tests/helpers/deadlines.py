"""How long tests wait before they fail.

One number is the deadline of every wait. It is generous: a test that passes takes no longer for it,
and a loaded machine needs it. GANTERM_TEST_PATIENCE=3 waits three times as long.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

DEADLINE = 240.0 * float(os.environ.get("GANTERM_TEST_PATIENCE", "1"))
"""Seconds until a wait fails."""


def until(condition: Callable[[], Any]) -> Any:
    """Call ``condition`` until it returns something true, and return that.

    Raises AssertionError after DEADLINE seconds.
    """
    end = time.monotonic() + DEADLINE
    while not (result := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return result
