"""Remarks about a folder's pictures before training: what is odd, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganterm.core.text import clean
from ganterm.data.listing import Listing
from ganterm.data.source import Remark

DARK, BRIGHT = 32, 223
"""Bounds in 0..255: a picture is nearly black if its brightest value is below the first, and nearly
white if its darkest is above the second.
"""
FLAT = 8
"""Least difference between brightest and darkest value; below it a picture has one colour."""
ALIKE = 2.0
"""Least mean distance of pictures to their mean, averaged over pixels; below it they are nearly the
same. Aligned faces have 40 and more, digits in black frames 20.
"""
LOOKED_AT = 512
UNREAD_PERCENT = 5
"""Unread picture files, in % of those used, from which a warning is shown."""
_SPLITS = (
    "train training trainset test testing testset val valid validation dev eval evaluation "
    "holdout held_out heldout unlabeled unlabelled"
)


def file_remarks(listing: Listing, names: Sequence[str], root: Path) -> list[Remark]:
    """Remarks on what was left out of a folder, of which the pictures ``names`` are used."""
    remarks, used = [], len(names)
    if listing.unread:
        count = listing.unread.total()
        subject = "1 file is" if count == 1 else f"{count:,} files are"
        many = 100 * listing.unread_pictures >= UNREAD_PERCENT * used and listing.unread_pictures
        text = f"{subject} not read: {listing.unread_kinds()}"
        if many:
            text += f"; only {used:,} pictures are used; convert the others to PNG or JPEG"
        remarks.append(Remark("unread", text, "Files that are not read", warns=bool(many)))
    if listing.away:
        count = len(listing.away)
        subject = "1 folder is" if count == 1 else f"{count:,} folders are"
        text = f"{subject} not looked into: {'; '.join(listing.away[:3])}"
        remarks.append(Remark("folders", text, "Folders left out", warns=True))
    if remark := _splits(names, root):
        remarks.append(remark)
    return remarks


def _splits(names: Sequence[str], root: Path) -> Remark | None:
    """A remark where classes have the usual names of parts of a data set."""
    classes = sorted({name.partition("/")[0] for name in names if "/" in name})
    parts = [name for name in classes if name.lower().replace("-", "_") in _SPLITS.split()]
    # One such folder by itself hides the classes within it.
    alone = len(classes) == 1 and any(name.count("/") > 1 for name in names)
    if not parts or not (alone or len(parts) > 1):
        return None
    shown = ", ".join(clean(name, 40) for name in parts)
    verb = "looks like a part" if len(parts) == 1 else "look like parts"
    best = next((name for name in parts if name.lower().startswith("train")), parts[0])
    return Remark(
        "splits",
        f"{shown} {verb} of one data set, but here a folder is a class; to train on one of them "
        f"alone: --set data.folder={clean(root / best, 120)}",
        "Parts taken for classes",
        warns=True,
    )


def pixel_remarks(
    samples: NDArray[np.uint8],
    lowest: NDArray[np.uint8],
    highest: NDArray[np.uint8],
    different: int,
    batch_size: int,
) -> list[Remark]:
    """Remarks on pictures as they will be trained on.

    ``samples`` (n, channels, side, side): the first of them. ``lowest`` and ``highest`` (m,): each
    picture's extremes. ``different``: number of distinct pictures.
    """
    count = len(lowest)
    low, high = float(np.median(lowest)), float(np.median(highest))
    reach = f"values of {low:.0f} to {high:.0f} of 0 to 255"
    some = samples[:: max(1, len(samples) // LOOKED_AT)].astype(np.float32)
    apart = float(np.abs(some - some.mean(axis=0)).mean())
    warn = []
    if high < DARK:
        warn.append(
            ("dark", "Nearly black", f"the pictures are nearly black, {reach}; brighten them first")
        )
    elif low > BRIGHT:
        warn.append(
            ("bright", "Nearly white", f"the pictures are nearly white, {reach}; darken them first")
        )
    elif high - low < FLAT:
        warn.append(("flat", "Nearly one colour", f"each picture is nearly of one colour, {reach}"))
    if different == 1:
        text = "there is only one picture" if count == 1 else f"all {count:,} pictures are the same"
        warn.append(("alike", "One picture", f"{text}; G can only memorise it: add others"))
    elif apart < ALIKE:
        text = f"the pictures are nearly all the same, {apart:.2g} of 255 from their mean"
        warn.append(("alike", "Nearly one picture", f"{text}; add others"))
    elif 10 * different <= count:
        text = f"of {count:,} pictures only {different:,} are different; add others"
        warn.append(("alike", "Copies", text))
    elif count < batch_size:
        text = f"{count:,} pictures are fewer than a batch, data.batch_size {batch_size:,}"
        warn.append(("few", "Few pictures", f"{text}: G will memorise them; add others"))
    return [Remark(name, message, title, warns=True) for name, title, message in warn]
