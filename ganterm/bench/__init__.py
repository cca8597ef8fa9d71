"""Benchmarks. ``bench`` measures what the dashboard costs on this machine, as ratios of speeds.

It trains the same networks in several programs: headless; with the dashboard, on a pty of 120x36;
headless without diagnosis; by a loop as tutorials write it, with ganterm's number of threads and
with torch's own; on CUDA also with CUDA graphs. The programs start together and then run in turns,
each stopped (SIGSTOP) while another runs, so that other load on the machine affects all of them
alike. From time to time all are started anew: depending on its place in memory, a process can be
some percent faster or slower for its whole life.
"""

from ganterm.bench.turns import bench

__all__ = ["bench"]
