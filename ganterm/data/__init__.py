"""The data sets, one file for each family.

A file lists its sets as ``SOURCES``, which is all it takes to make them choices of ``data.name``.
The catalogue loads without torch: the ``load`` functions import it when they are called.
"""

import sys

from ganterm.core.registry import gathered
from ganterm.data.source import DataSource

DATASETS: dict[str, DataSource] = {
    source.name: source for source in gathered(sys.modules[__name__], "SOURCES")
}
