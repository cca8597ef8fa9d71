"""Remarks on a folder's pictures before training: what is odd about them, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganterm.core.text import clean
from ganterm.data.listing import Listing
from ganterm.data.source import Remark

DARK, BRIGHT = 32, 223
"""Bounds on values, 0..255. Pictures are nearly black if the brightest value of a typical one is
below the first, and nearly white if the darkest is above the second.
"""
FLAT = 8
"""Brightest minus darkest value, 0..255, below which a picture counts as of one colour."""
ALIKE = 2.0
"""Mean absolute distance, 0..255, of pixels to the mean picture, below which pictures count as
nearly the same. Aligned faces have 40 and more, digits in black frames 20.
"""
EXAMINED = 512
"""About how many pictures the mean distance is computed from."""
UNREAD_PERCENT = 5
"""A warning is shown if at least this many picture files, in % of those used, are not read."""
_SPLITS = (
    "train training trainset test testing testset val valid validation dev eval evaluation "
    "holdout held_out heldout unlabeled unlabelled"
)


def file_remarks(listing: Listing, names: Sequence[str], root: Path) -> list[Remark]:
    """Remarks on files that are left out of a folder; the pictures ``names`` are used."""
    remarks, used = [], len(names)
    if listing.unread:
        count = listing.unread.total()
        subject = "1 file is" if count == 1 else f"{count:,} files are"
        many = 100 * listing.unread_pictures >= UNREAD_PERCENT * used and listing.unread_pictures
        text = f"{subject} not read: {listing.unread_kinds()}"
        if many:
            text += f"; only {used:,} pictures are used; convert the others to PNG or JPEG"
        remarks.append(Remark("unread", text, "Files that are not read", warns=bool(many)))
    if listing.unread_folders:
        count = len(listing.unread_folders)
        subject = "1 folder is" if count == 1 else f"{count:,} folders are"
        text = f"{subject} not looked into: {'; '.join(listing.unread_folders[:3])}"
        remarks.append(Remark("folders", text, "Folders left out", warns=True))
    if remark := _splits(names, root):
        remarks.append(remark)
    return remarks


def _splits(names: Sequence[str], root: Path) -> Remark | None:
    """A remark if classes have the usual names of the parts of a data set, such as "train"."""
    classes = sorted({name.partition("/")[0] for name in names if "/" in name})
    parts = [name for name in classes if name.lower().replace("-", "_") in _SPLITS.split()]
    # A single such folder makes one class of all the classes inside it.
    alone = len(classes) == 1 and any(name.count("/") > 1 for name in names)
    if not parts or not (alone or len(parts) > 1):
        return None
    titles = ", ".join(clean(name, 40) for name in parts)
    verb = "looks like a part" if len(parts) == 1 else "look like parts"
    best = next((name for name in parts if name.lower().startswith("train")), parts[0])
    return Remark(
        "splits",
        f"{titles} {verb} of one data set, but here a folder is a class; to train on one of them "
        f"alone: --set data.folder={clean(root / best, 120)}",
        "Parts taken for classes",
        warns=True,
    )


def pixel_remarks(
    samples: NDArray[np.uint8],
    lowest: NDArray[np.uint8],
    highest: NDArray[np.uint8],
    distinct: int,
    batch_size: int,
) -> list[Remark]:
    """Remarks on the m pictures that training will use.

    ``samples`` (n, channels, side, side): the first of them. ``lowest`` and ``highest`` (m,): the
    smallest and largest value of each. ``distinct``: number of different pictures.
    """
    count = len(lowest)
    low, high = float(np.median(lowest)), float(np.median(highest))
    values = f"values of {low:.0f} to {high:.0f} of 0 to 255"
    some = samples[:: max(1, len(samples) // EXAMINED)].astype(np.float32)
    distance = float(np.abs(some - some.mean(axis=0)).mean())
    warn = []
    if high < DARK:
        warn.append(
            (
                "dark",
                "Nearly black",
                f"the pictures are nearly black, {values}; brighten them first",
            )
        )
    elif low > BRIGHT:
        warn.append(
            (
                "bright",
                "Nearly white",
                f"the pictures are nearly white, {values}; darken them first",
            )
        )
    elif high - low < FLAT:
        warn.append(
            ("flat", "Nearly one colour", f"each picture is nearly of one colour, {values}")
        )
    if distinct == 1:
        text = "there is only one picture" if count == 1 else f"all {count:,} pictures are the same"
        warn.append(("alike", "One picture", f"{text}; G can only memorise it: add others"))
    elif distance < ALIKE:
        text = f"the pictures are nearly all the same, {distance:.2g} of 255 from their mean"
        warn.append(("alike", "Nearly one picture", f"{text}; add others"))
    elif 10 * distinct <= count:
        text = f"of {count:,} pictures only {distinct:,} are different; add others"
        warn.append(("alike", "Copies", text))
    elif count < batch_size:
        text = f"{count:,} pictures are fewer than a batch, data.batch_size {batch_size:,}"
        warn.append(("few", "Few pictures", f"{text}: G will memorise them; add others"))
    return [Remark(name, message, title, warns=True) for name, title, message in warn]
