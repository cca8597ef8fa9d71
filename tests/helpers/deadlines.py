"""How long tests wait before they fail.

Every deadline of a test goes through `patient`, so that one number fits them all to a slow or
loaded machine: GANTERM_TEST_PATIENCE=3 waits three times as long. A test that passes takes no
longer for it.
"""

from __future__ import annotations

import os

PATIENCE = float(os.environ.get("GANTERM_TEST_PATIENCE", "1"))
"""What each deadline is multiplied by; 1 suits an idle machine with two cores."""


def patient(seconds: float) -> float:
    """A deadline of so many seconds on an idle machine, as long as it is to be here."""
    return seconds * PATIENCE
