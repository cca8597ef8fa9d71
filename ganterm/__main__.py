"""``python -m ganterm``."""

from ganterm.cli import main

if __name__ == "__main__":
    main()
