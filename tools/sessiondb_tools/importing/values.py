"""The encodings of values: bytes that a store holds, to values of Python. Nothing is executed.

``pickle`` `pickled` reads; ``json`` the command's strict reader; ``msgpack`` msgspec; ``text`` is UTF-8; ``bytes`` are
the bytes themselves, which make the target a table of bytes. ``zlib+`` before any of them decompresses first.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from sessiondb.codec import RECORD_BYTES_MAX

from ..exit_codes import USAGE, CommandError
from ..json_text import JsonProblem, parse
from .pickled import PickleProblem, read_pickle
from .plain import NotPlain
from .source import Choices, Entry, Unreadable

__all__ = ["ENCODINGS", "ValueProblem", "check_encoding", "decode", "made", "makes_bytes"]

ENCODINGS = ("pickle", "json", "msgpack", "text", "bytes")
BYTES = "bytes"
ZLIB = "zlib+"


class ValueProblem(Exception):
    """The bytes are not what the encoding says; says why."""


def check_encoding(encoding: str) -> str:
    """The name of an encoding.

    Raises:
        CommandError: it is none.
    """
    if encoding.removeprefix(ZLIB) not in ENCODINGS:
        raise CommandError(
            f"--values {encoding} is unknown; next: choose one of {', '.join(ENCODINGS)}, or {ZLIB} and one of them "
            f"({ZLIB}json)", USAGE,
        )  # fmt: skip
    return encoding


def makes_bytes(encoding: str | None) -> bool:
    """Whether the records are bytes, and their table one of bytes."""
    return encoding is not None and encoding.removeprefix(ZLIB) == BYTES


def made(
    choices: Choices, place: str, key: Callable[[], Any], value: Callable[[], Any], expires: str = ""
) -> Entry | Unreadable:
    """The entry with this key and value, as values of Python, or why there is none.

    Args:
        choices: of the command line.
        place: for messages.
        key: gives the key, or raises `ValueProblem`.
        value: likewise.
        expires: as in `Entry`.
    """
    text = None
    try:
        found = key()
        text = _shown(found)
        text = choices.plainer.key(found)
        content = value()
        if makes_bytes(choices.values) and isinstance(content, bytes):
            return Entry(place, text, content, len(content), expires)
        record, size = choices.plainer.plain(content)
    except (NotPlain, ValueProblem) as problem:
        return Unreadable(place, text, str(problem))
    return Entry(place, text, record, size, expires)


def _shown(key: Any) -> str:
    """A key as a message shows it; one that is nested may be too deep, or too large, to be written out."""
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return repr(key[:100])
    if isinstance(key, (bool, float, type(None))) or (isinstance(key, int) and key.bit_length() <= 64):
        return repr(key)
    if isinstance(key, tuple) and len(key) <= 8 and not any(isinstance(each, tuple) for each in key):
        return f"({', '.join(repr(each[:100]) if isinstance(each, str) else _shown(each) for each in key)})"
    return f"<{type(key).__name__}>"


def decode(data: bytes, encoding: str) -> Any:
    """The value that the bytes stand for.

    Raises:
        ValueProblem: they are not of this encoding, or larger than a record may be.
    """
    if len(data) > RECORD_BYTES_MAX:
        raise ValueProblem(f"it has {len(data)} bytes, the limit of a record is {RECORD_BYTES_MAX}")
    if encoding.startswith(ZLIB):
        data = _decompressed(data)
    return _DECODERS[encoding.removeprefix(ZLIB)](data)


def _decompressed(data: bytes) -> bytes:
    """At most as many bytes as a record may have: a few compressed ones can stand for any number."""
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, RECORD_BYTES_MAX)
    except zlib.error as error:
        raise ValueProblem(f"it is not compressed with zlib, or damaged ({error})") from None
    if not stream.eof:
        more = bool(stream.unconsumed_tail)
        raise ValueProblem("it is larger than a record can be" if more else "the compressed bytes are cut off")
    if stream.unused_data:
        raise ValueProblem("there is more behind the compressed bytes")
    return found


def _pickle(data: bytes) -> Any:
    try:
        return read_pickle(data)
    except PickleProblem as problem:
        compressed = data[:1] == b"\x78" and "damaged" in str(problem)
        hint = "; it may be compressed: --values zlib+pickle" if compressed else ""
        raise ValueProblem(f"{problem}{hint}") from None


def _json(data: bytes) -> Any:
    try:
        return parse(data)
    except JsonProblem as problem:
        raise ValueProblem(f"no JSON: {problem}") from None


def _msgpack(data: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        raise ValueProblem(f"no MessagePack: {error}") from None
    except RecursionError:
        raise ValueProblem("no MessagePack that can be read: nested too deeply") from None


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueProblem(f"no UTF-8 text (byte 0x{data[error.start]:02x} at offset {error.start})") from None


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    "pickle": _pickle,
    "json": _json,
    "msgpack": _msgpack,
    "text": _text,
    BYTES: bytes,
}
