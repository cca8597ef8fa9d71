"""How good the alarms are: ``ganterm bench alarms collect|examine|report --out FOLDER``.

``collect`` trains all runs of ``settings``, each in a process of its own with one torch thread, and
goes on where it was broken off; ``examine`` takes the exams and the truth of what was kept, again
after every change of an exam; ``report`` replays the rules over it, in seconds, and prints the
tables. All of it took about an hour and a half of one slow core, and the folder takes 2 GB.
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
    """Run the command with these words, or with those of the command line."""
    parser = argparse.ArgumentParser(prog="ganterm bench alarms", description=__doc__)
    parser.add_argument("what", choices=["collect", "examine", "report"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, help="with MNIST, for the judge of digits")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--only", default="", help="runs whose names begin so")
    parser.add_argument("--details", action="store_true", help="report every run")
    args = parser.parse_args(words)
    # By seed, so that what is there early is of all settings.
    chosen = sorted(
        (run for run in runs() if run.name.startswith(args.only)), key=lambda run: run.seed
    )
    if args.what == "report":
        from ganterm.bench.alarms.report import details, judged, table

        found = judged(chosen, args.out)
        if args.details:
            print(details(found), end="\n\n")
        for half in ("tuning", "reporting"):
            print(table(found, half), end="\n\n")
        return
    work = partial(collect, out=args.out)
    if args.what == "examine":
        from ganterm.bench.alarms.examine import examine
        from ganterm.bench.alarms.strong import judge

        chosen = [run for run in chosen if (args.out / run.name / "done.json").exists()]
        if any(run.setting.preset.startswith("mnist") for run in chosen):
            print(f"the judge of digits: {judge(args.out, args.data_dir).accuracy:.2%} right")
        work = partial(examine, out=args.out, data_dir=args.data_dir)
    began = time.time()
    with worker_pool(args.jobs) as pool:
        for done in as_completed([pool.submit(work, run) for run in chosen]):
            print(f"{time.time() - began:6.0f} s  {done.result()}", flush=True)


if __name__ == "__main__":
    main()
