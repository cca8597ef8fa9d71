"""The ``[data]`` section of a preset."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FOLDER_ONLY = ("folder", "side", "memory_mb", "channels", "bits")
"""Keys that only the data set "folder" reads."""


class DataSection(BaseModel):
    """Which data set, how much of it, and the number of samples in a batch.

    ``classes``: names or numbers of the classes to keep (empty: all). ``limit``: number of samples
    to keep, from the first on (0: all). ``held_out``: number of pictures that training never sees,
    for diagnosis (0: none); see ``load.split_held_out``.

    The other keys belong to the data set "folder". ``folder``: where the pictures are
    (``--data-dir`` takes precedence). ``side``: pixels a side after cropping and resizing.
    ``memory_mb``: size in MiB, counted in colour, above which pictures are streamed from disk.
    ``channels``: 1 for grey, 3 for colour, 0 for what the pictures are. ``bits``: bits in use in a
    16-bit picture, 0 for as many as the largest value needs. ``reading``: version of the rules for
    reading files; 1 is for resuming runs that began before there was a 2.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    name: str = "mnist10k"
    batch_size: int = Field(64, ge=2, le=16_384)
    classes: list[str | int] = Field([], max_length=1000)
    limit: int = Field(0, ge=0, le=10**12)
    folder: str = Field("", max_length=4096)
    side: int = Field(64, ge=8, le=512)
    memory_mb: int = Field(2048, ge=1, le=1 << 24)
    channels: Literal[0, 1, 3] = 0
    bits: int = Field(0, ge=0, le=16)
    reading: Literal[1, 2] = 2
    held_out: int = Field(256, ge=0, le=65_536)
