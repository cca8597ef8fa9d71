"""The console script, and ``python -m ganterm``."""

from __future__ import annotations

import gc
from typing import NoReturn


def main() -> NoReturn:
    """Load the commands and run the one that was typed."""
    # Of what is being loaded nothing is garbage; to look for some takes a tenth of the start.
    gc.disable()
    from ganterm.cli import commands

    gc.freeze()
    gc.enable()
    commands.main()


if __name__ == "__main__":
    main()
