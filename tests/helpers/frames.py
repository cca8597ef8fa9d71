"""Messages of the wire taken apart and put together by hand, so that they can say anything."""

from __future__ import annotations

from typing import Any

import msgspec

from ganterm.session import wire

HEAD = 4
"""Bytes of the length before a message."""
ARRAY = 1
"""Code of the msgpack extension that holds an array."""
PARTS = {"dtype", "shape", "content"}


def content(message: wire.ClientMessage | wire.ServerMessage) -> bytes:
    """A message without its length."""
    return wire.frame(message)[HEAD:]


def framed(content: bytes) -> bytes:
    """Any bytes with their length before them."""
    return len(content).to_bytes(HEAD) + content


def array(dtype: Any, shape: Any, content: Any, code: int = ARRAY) -> msgspec.msgpack.Ext:
    """An array as it travels."""
    return msgspec.msgpack.Ext(code, msgspec.msgpack.encode((dtype, shape, content)))


def table(content: bytes) -> Any:
    """What a message says; arrays are tables of ``PARTS``."""

    def opened(_: int, data: memoryview) -> dict[str, Any]:
        return dict(zip(("dtype", "shape", "content"), msgspec.msgpack.decode(data), strict=True))

    return msgspec.msgpack.decode(content, ext_hook=opened)


def packed(value: Any) -> bytes:
    """A message that says whatever ``value`` does; tables of ``PARTS`` are arrays."""

    def closed(value: Any) -> Any:
        if isinstance(value, dict):
            if value.keys() == PARTS:
                return array(**value)
            return {key: closed(item) for key, item in value.items()}
        return [closed(item) for item in value] if isinstance(value, list) else value

    return msgspec.msgpack.encode(closed(value))
