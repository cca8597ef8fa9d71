"""What the dashboard costs here, and the training speed, as ratios measured side by side.

The same networks are trained without a screen, with the dashboard on a pty of 120x36, without a
screen and without diagnosis, and as a tutorial would write it, once with as many threads as ganterm
takes and once with torch's own; on CUDA also replayed as CUDA graphs. All are started at once and
then run in turns, each stopped (SIGSTOP) while another runs, so that what the machine does
meanwhile falls on all of them alike; and all are started anew now and then, for where a process
happens to lie in memory makes it some percent faster or slower for as long as it lives.
"""

from ganterm.bench.turns import bench

__all__ = ["bench"]
