"""The entry point of the console script and of ``python -m ganterm``."""

from __future__ import annotations

import gc
import signal
from typing import NoReturn


def main() -> NoReturn:
    """Load the commands and run the one on the command line."""
    # Ctrl+C during the imports ends the process at once, without a traceback.
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Imports leave no garbage, and looking for it would take a tenth of the start-up time.
    gc.disable()
    from ganterm.cli import commands

    gc.freeze()
    gc.enable()
    if interrupt is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    commands.main()


if __name__ == "__main__":
    main()
