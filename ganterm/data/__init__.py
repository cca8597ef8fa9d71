"""The data sets, one file each; the catalogue loads without torch, tensors load on demand.

A file lists its sets as ``SOURCES``, which makes them choices of ``data.name``.
"""

import sys

from ganterm.core.registry import gathered
from ganterm.data.source import DataSource

DATASETS: dict[str, DataSource] = {
    source.name: source for source in gathered(sys.modules[__name__], "SOURCES")
}
