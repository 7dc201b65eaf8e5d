"""Many records at once: encoded as `RecordCodec.encode` does it, and compared with what comes back in one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from .codec import SHALLOW_BYTES_MAX, RecordCodec

__all__ = ["encode_all"]

T = TypeVar("T")

TOGETHER_MAX = 256
"""Records that are compared in one step."""


def encode_all(codec: RecordCodec[T], pairs: Sequence[tuple[str, T]]) -> list[bytes]:
    """The bytes of records that nobody changes meanwhile, in about two thirds of the time of `RecordCodec.encode`.

    Args:
        codec: of the table.
        pairs: keys, which are checked already, and records.

    Raises:
        ValidationError: the first that would not come back equal.
        TransactionTooLargeError: one is over 64 MiB.
    """
    images: list[bytes] = []
    for start in range(0, len(pairs), TOGETHER_MAX):
        some = pairs[start : start + TOGETHER_MAX]
        images += _together(codec, some) or [codec.encode(key, record) for key, record in some]
    return images


def _together(codec: RecordCodec[T], pairs: Sequence[tuple[str, T]]) -> list[bytes] | None:
    """Decode all of them as one array, and compare once; ``None`` leaves it to `encode` to say what is wrong."""
    if codec.kind == "bytes" or codec.version > 1 or codec._has_hooks:
        return None
    records = [record for _, record in pairs]
    try:
        images = [codec._encode(record) for record in records]
        codec._pack(records)
        decoded = codec._decode_array(b"[" + b",".join(images) + b"]")
    except Exception:  # noqa: BLE001 - whatever it is, `encode` comes to it, too
        return None
    if decoded != records:
        return None
    for (key, record), image in zip(pairs, images, strict=True):
        if codec.id is not None:
            codec._check_id(key, record)
        if len(image) > SHALLOW_BYTES_MAX:
            codec._check_image(key, image)
    return images
