"""Processes that share the work of a bench."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

from ganterm import search_path


def worker_pool(jobs: int) -> ProcessPoolExecutor:
    """``jobs`` processes that start anew and import nothing from the current folder."""
    # Python builds the command line of these processes itself; options cannot be added to it.
    os.environ[search_path.VARIABLE] = "1"
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
