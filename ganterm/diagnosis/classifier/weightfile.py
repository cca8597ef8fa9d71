"""A classifier in a file: safetensors of 16-bit floats, what is known of it in the header.

A file is foreign until its names, shapes, types and values have been looked at; nothing is ever
unpickled.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ganterm.diagnosis.classifier import network
from ganterm.diagnosis.classifier.network import Weights

_KEY = "ganterm"
"""One entry only, since the library writes several in any order."""

_MOST_BYTES = 2**26


class Untrusted(Exception):  # noqa: N818 - it is the file that is wrong, not the program
    """A file that is not what it should be; the message is the cause."""


class FileHeader(BaseModel):
    """What a file says of its classifier: see ``Classifier``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset_sha256: str
    classes: tuple[str, ...]
    accuracy: float = Field(ge=0, le=1)
    held_out: int = Field(ge=1)


def packed(weights: Weights, header: FileHeader) -> bytes:
    """The file's bytes, the same for the same content."""
    halves = {name: weight.detach().cpu().half() for name, weight in weights.items()}
    return save(halves, {_KEY: header.model_dump_json()})


def read(path: Path, shape: tuple[int, ...]) -> tuple[Weights, FileHeader]:
    """Weights, float32 on the CPU, for pictures of ``shape``, and what the file says of them.

    Untrusted where the file is broken or holds something else; OSError where it cannot be read.
    """
    if path.stat().st_size > _MOST_BYTES:
        raise Untrusted("it is too large")
    try:
        with safe_open(path, framework="pt") as file:
            header = FileHeader.model_validate_json((file.metadata() or {}).get(_KEY, ""))
            names = set(file.keys())
            expected = network.shapes(shape, len(header.classes))
            if names != set(expected):
                raise Untrusted("its tensors are not a classifier's")
            weights = {name: file.get_tensor(name) for name in expected}
    except SafetensorError as error:
        raise Untrusted(str(error)) from None
    except ValidationError:
        raise Untrusted("it does not say what it is") from None
    for name, weight in weights.items():
        if tuple(weight.shape) != expected[name] or not weight.is_floating_point():
            raise Untrusted(f"{name} is of another shape or type")
        if not weight.isfinite().all():
            raise Untrusted(f"{name} is not finite")
    return {name: weight.float() for name, weight in weights.items()}, header
