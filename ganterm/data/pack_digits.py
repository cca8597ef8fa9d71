"""``python -m ganterm.data.pack_digits RAW_FOLDER FILE``: build the embedded digits from MNIST."""

import sys
from pathlib import Path

from ganterm.data.digits import pack

if __name__ == "__main__":
    raw_folder, file = sys.argv[1:]
    Path(file).write_bytes(pack(Path(raw_folder)))
