"""Ctrl+C while the program is still being loaded: it ends at once, without a traceback.

Imported before anything else of ours; nothing changes where another program imports it.
"""

import signal
import sys
from pathlib import Path

_started = Path(sys.argv[0])
_ours = _started.stem == "ganterm" or _started.match("ganterm/__main__.py")
_handler = signal.getsignal(signal.SIGINT)
if _ours and _handler is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def take() -> None:
    """Have Ctrl+C raise KeyboardInterrupt again, unless whoever started us had it ignored."""
    if _handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, _handler)
