"""What a preset says of its data."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

FOLDER_ONLY = ("folder", "side", "memory_mb")
"""Keys that only the data set "folder" reads."""


class DataSection(BaseModel):
    """Which data set, how much of it, and how many samples a batch holds.

    ``classes``: names or numbers of the classes to keep (empty: all). ``limit``: the first so many
    samples (0: all). ``folder``, ``side`` and ``memory_mb`` belong to the data set "folder": where
    the pictures lie (empty: ``--data-dir``), the side in pixels they are cropped and resized to,
    and the size above which they are streamed instead of held in memory. ``held_out``: pictures
    that the training never sees, for diagnosis (0: none); see ``load.parted``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    name: str = "mnist10k"
    batch_size: int = Field(64, ge=2, le=16_384)
    classes: list[str | int] = Field([], max_length=1000)
    limit: int = Field(0, ge=0, le=10**12)
    folder: str = Field("", max_length=400)
    side: int = Field(64, ge=8, le=512)
    memory_mb: int = Field(2048, ge=1, le=1 << 24)
    held_out: int = Field(256, ge=0, le=65_536)
