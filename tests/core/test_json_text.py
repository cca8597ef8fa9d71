"""JSON keeps what is written, in its shortest form, and refuses what ganterm never writes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from ganterm.core.json_text import json_bytes, json_line, parse_json, shortest

FLOATS = nps.arrays(np.float32, st.integers(0, 8), elements=st.floats(width=32))
USUAL = st.floats(2.0**-33, 2.0**33, width=32) | st.floats(-(2.0**33), -(2.0**-33), width=32)


@given(FLOATS)
def test_a_float32_number_reads_back_as_it_was(values: np.ndarray) -> None:
    back = [math.nan if v is None else v for v in json.loads(json_bytes(values))]
    finite = np.where(np.isfinite(values), values, np.nan)
    assert np.array_equal(np.array(back, np.float32), finite, equal_nan=True)


@given(nps.arrays(np.float32, 8, elements=USUAL))
def test_a_usual_float32_number_has_the_fewest_digits(values: np.ndarray) -> None:
    assert shortest(values).tolist() == [float(str(value)) for value in values]


def test_numpys_values_are_plain_and_what_is_not_finite_is_null() -> None:
    table = {"a": np.float32(0.1), "b": np.int64(3), "c": np.array([[True]]), "d": math.inf}
    assert json_bytes(table) == b'{"a":0.1,"b":3,"c":[[true]],"d":null}'
    assert json_bytes({"x": [], "y": 1}, indent=2) == b'{\n  "x": [],\n  "y": 1\n}'
    assert json_line({"x": "\u202eé"}) == '{"x": "\\u202e\\u00e9"}'
    with pytest.raises(TypeError, match="object cannot be written"):
        json_bytes(object())


@pytest.mark.parametrize(
    "content",
    [b"", b"NaN", b"[" * 100_000, b"1" + b"0" * 30, b"[1, -%s]" % (b"9" * 19), b'"\xff"', b"{}x"],
)
def test_what_is_no_json_of_ours_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(content)


def test_what_is_json_is_read() -> None:
    assert parse_json(b'{"a": [0.1234567890123456789, 123456789012345678, null]}') == {
        "a": [0.1234567890123456789, 123456789012345678, None]
    }
