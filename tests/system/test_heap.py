"""What was freed goes back to the system, wherever in the heap it lay."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, psutil
from ganterm.system.heap import give_back

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
blocks = [libc.malloc(size) for size in [100_000, 100] * 1000]
for block in blocks:
    ctypes.memset(block, 1, 100)
for large in blocks[::2]:
    ctypes.memset(large, 1, 100_000)
full = psutil.Process().memory_info().rss
for large in blocks[::2]:
    libc.free(large)
kept = psutil.Process().memory_info().rss
give_back()
given = psutil.Process().memory_info().rss
print((full - kept) / 1e6, (kept - given) / 1e6)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone keeps its heap so")
def test_freed_memory_between_what_is_in_use_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    by_itself, given = map(float, done.stdout.split())
    assert by_itself < 30, "nothing to show"
    assert given > 60
