"""Measures how good the alarms are: ``ganterm bench alarms collect|examine|report --out FOLDER``.

``collect`` trains all runs of ``settings``, each in a process of its own with one torch thread; if
it is interrupted, it goes on where it stopped. ``examine`` takes the exams of the runs and finds
out what really happened in them; repeat it when an exam has changed. ``report`` replays the rules,
which takes seconds, and prints the tables. All three take about an hour and a half of one slow
core, and the folder takes 2 GB.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import as_completed
from functools import partial
from pathlib import Path

from ganterm.bench.alarms.collect import collect
from ganterm.bench.alarms.settings import runs
from ganterm.bench.workers import worker_pool


def main(words: Sequence[str] | None = None) -> None:
    """Run the command with the arguments ``words``, or with those of the command line."""
    parser = argparse.ArgumentParser(prog="ganterm bench alarms", description=__doc__)
    parser.add_argument("what", choices=["collect", "examine", "report"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--data-dir", type=Path, help="folder with MNIST, to train the strong classifier of digits"
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--only", default="", help="beginning of the names of the runs to work on")
    parser.add_argument("--details", action="store_true", help="also list every run")
    args = parser.parse_args(words)
    # Sorted by seed, so that the first results are of all settings.
    selection = sorted(
        (run for run in runs() if run.name.startswith(args.only)), key=lambda run: run.seed
    )
    if args.what == "report":
        from ganterm.bench.alarms.report import details, read_results, table

        results = read_results(selection, args.out)
        if args.details:
            print(details(results), end="\n\n")
        for half in ("tuning", "reporting"):
            print(table(results, half), end="\n\n")
        return
    work = partial(collect, out=args.out)
    if args.what == "examine":
        from ganterm.bench.alarms.examine import examine
        from ganterm.bench.alarms.strong import strong_classifier

        selection = [run for run in selection if (args.out / run.name / "done.json").exists()]
        if any(run.setting.preset.startswith("mnist") for run in selection):
            accuracy = strong_classifier(args.out, args.data_dir).accuracy
            print(f"the strong classifier of digits: {accuracy:.2%} right")
        work = partial(examine, out=args.out, data_dir=args.data_dir)
    began = time.time()
    with worker_pool(args.jobs) as pool:
        for future in as_completed([pool.submit(work, run) for run in selection]):
            print(f"{time.time() - began:6.0f} s  {future.result()}", flush=True)


if __name__ == "__main__":
    main()
