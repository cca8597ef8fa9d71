"""Worker processes that share the work of a benchmark."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

from ganterm import search_path


def worker_pool(jobs: int) -> ProcessPoolExecutor:
    """A pool of ``jobs`` fresh processes that import nothing from the current folder."""
    # Python builds their command lines itself, so the option -P is set by the environment.
    os.environ[search_path.VARIABLE] = "1"
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
