"""The data sets, a file each: what is known of them loads without torch, tensors on demand.

A file lists its sets as ``SOURCES``; that alone makes them choices of ``data.name``.
"""

import sys

from ganterm.core.registry import gathered
from ganterm.data.source import DataSource

DATASETS: dict[str, DataSource] = {
    source.name: source for source in gathered(sys.modules[__name__], "SOURCES")
}
