"""The file of a classifier: 16-bit floats in safetensors, with a description in the header.

Names, shapes, types and values are checked before a file is used. Nothing is ever unpickled.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ganterm.diagnosis.classifier import network
from ganterm.diagnosis.classifier.network import Weights

_KEY = "ganterm"
"""Name of the header's only entry: the library would write several in any order."""

_MOST_BYTES = 2**26
"""Most bytes of a file that is read; the shipped one has under 200,000."""


class Untrusted(Exception):  # noqa: N818 - it is the file that is wrong, not the program
    """A file that is not a valid classifier; the message says why."""


class FileHeader(BaseModel):
    """The header: the fields of ``Classifier`` that describe its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset_sha256: str
    classes: tuple[str, ...]
    accuracy: float = Field(ge=0, le=1)
    held_out: int = Field(ge=1)


def to_bytes(weights: Weights, header: FileHeader) -> bytes:
    """The content of a file; the same bytes for the same weights and header."""
    halves = {name: weight.detach().cpu().half() for name, weight in weights.items()}
    return save(halves, {_KEY: header.model_dump_json()})


def read(path: Path, shape: tuple[int, ...]) -> tuple[Weights, FileHeader]:
    """Read the weights, float32 on the CPU, for pictures of ``shape``, and the header.

    Untrusted if the file is broken or holds something else; OSError if it cannot be read.
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
        raise Untrusted("its header does not describe a classifier") from None
    for name, weight in weights.items():
        if tuple(weight.shape) != expected[name] or not weight.is_floating_point():
            raise Untrusted(f"{name} has another shape or type")
        if not weight.isfinite().all():
            raise Untrusted(f"{name} is not finite")
    return {name: weight.float() for name, weight in weights.items()}, header
