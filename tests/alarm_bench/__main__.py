from __future__ import annotations

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tests.alarm_bench.collect import collect
from tests.alarm_bench.settings import runs


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.alarm_bench")
    parser.add_argument("what", choices=["collect"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    began = time.time()
    chosen = [run for run in runs() if run.name.startswith(args.only)]
    chosen.sort(key=lambda run: run.seed)
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(collect, run, args.out) for run in chosen]):
            print(f"{time.time() - began:6.0f} s  {done.result()}", flush=True)


if __name__ == "__main__":
    main()
