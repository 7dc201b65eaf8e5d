"""Records and keys: what may be stored, and how a record becomes bytes and back.

The data model is the same on every backend and is checked before anything is logged, so that what one accepts all
accept, and what was accepted can be read back:

* A key is a non-empty `str` of at most 480 UTF-8 bytes without NUL and lone surrogates.
* A record is at most 64 MiB encoded, and nested at most 200 levels deep (how deep a decoder can go depends on the
  stack of whoever opens the store later).
* A record must survive its own encoding: it is encoded, decoded as the table's type, and compared. That refuses
  what JSON cannot hold (NaN and infinity become null, bytes become text, tuples become lists) and what does not
  fit the type, with the path to it. Integers are of 64 bits (-2**63 to 2**64 - 1).
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from .backend import TableKind
from .errors import TransactionTooLargeError, UsageError, ValidationError
from .paths import (
    Attributes,
    children,
    compares_by_identity,
    find_path,
    first_difference,
    has_surrogate,
    nesting_depth,
    show,
    split_message,
)

__all__ = [
    "KEY_BYTES_MAX",
    "RECORD_BYTES_MAX",
    "DecHook",
    "EncHook",
    "RecordCodec",
    "check_key",
    "check_table_name",
]

KEY_BYTES_MAX = 480
RECORD_BYTES_MAX = 64 * 1024 * 1024
DEPTH_MAX = 200
TABLE_NAME_BYTES_MAX = 200

EncHook = Callable[[Any], Any]
DecHook = Callable[[type, Any], Any]

T = TypeVar("T")


def check_key(table: str, key: object) -> str:
    """The key as a plain `str`.

    Raises:
        ValidationError: it is none that can be stored.
    """
    if type(key) is str and key.isascii() and 0 < len(key) <= KEY_BYTES_MAX and "\0" not in key:
        return key
    if not isinstance(key, str):
        raise ValidationError(f"a key is a str, not {type(key).__name__}", table=table, key=key)
    key = str.__str__(key)
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise ValidationError("the key holds a lone surrogate", table=table, key=key) from error
    if not size:
        raise ValidationError("a key is not empty", table=table, key=key)
    if size > KEY_BYTES_MAX:
        raise ValidationError(f"the key has {size} UTF-8 bytes, the limit is {KEY_BYTES_MAX}", table=table, key=key)
    if "\0" in key:
        raise ValidationError("the key holds a NUL character", table=table, key=key)
    return key


def check_table_name(name: object) -> str:
    """The table's name as a plain `str`.

    Raises:
        UsageError: it is none: not a str, empty, over 200 UTF-8 bytes, or with control characters.
    """
    if not isinstance(name, str) or not name or not name.isprintable():
        raise UsageError(f"a table's name is a non-empty str of printable characters, not {name!r}")
    if len(name.encode()) > TABLE_NAME_BYTES_MAX:
        raise UsageError(f"the table name {name[:40]!r}... has more than {TABLE_NAME_BYTES_MAX} UTF-8 bytes")
    return str.__str__(name)


class RecordCodec(Generic[T]):
    """Encodes, checks and decodes the records of one table."""

    def __init__(
        self,
        table: str,
        type: Any = Any,
        *,
        id: str | None = None,
        enc_hook: EncHook | None = None,
        dec_hook: DecHook | None = None,
    ):
        """Prepare for a type of record.

        Args:
            table: the table's name, for messages.
            type: a `msgspec.Struct`, dataclass, TypedDict, `dict`, `bytes`, or `Any` for any JSON value.
            id: the attribute (or dict key) that holds the key.
            enc_hook: makes an encodable value of one that msgspec does not know.
            dec_hook: makes a value of a type that msgspec does not know.

        Raises:
            UsageError: another type, or an `id` that the type does not have.
        """
        self.table = table
        self.type = type
        self.kind: TableKind = "bytes" if type is bytes else "json"
        self.fields = _fields(table, type)
        """Python name to encoded name; ``None`` when any field goes."""
        self.id = id
        if id is not None and (self.kind == "bytes" or (self.fields is not None and id not in self.fields)):
            raise UsageError(f"table {table!r}: id={id!r} is no field of {_name(type)}")
        self._encode = msgspec.json.Encoder(enc_hook=enc_hook).encode
        self._pack = msgspec.msgpack.Encoder(enc_hook=enc_hook).encode
        try:
            self._decode = msgspec.json.Decoder(type, dec_hook=dec_hook).decode
        except TypeError as error:
            raise UsageError(f"table {table!r}: {_name(type)} cannot be stored: {error}") from error

    def encode(self, key: str, record: T) -> bytes:
        """The record's bytes.

        Raises:
            ValidationError: it would not come back equal.
            TransactionTooLargeError: it is over 64 MiB.
        """
        if self.kind == "bytes":
            return self._encode_bytes(key, record)
        try:
            image = self._encode(record)
            self._pack(record)  # refuses integers over 64 bits
            decoded = self._decode(image)
        except Exception as error:
            raise self._refused(key, record, error) from error
        if decoded != record and not self._same_by_bytes(record, decoded, image):
            raise self._changed(key, record, decoded)
        if self.id is not None:
            self._check_id(key, record)
        if len(image) > 2 * DEPTH_MAX:  # less has no room for so many levels
            self._check_image(key, image)
        return image

    def decode(self, key: str, image: bytes) -> T:
        """The record, new and the caller's own.

        Raises:
            ValidationError: the stored record does not fit the table's type.
        """
        if self.kind == "bytes":
            return image  # type: ignore[return-value]
        try:
            return self._decode(image)  # type: ignore[no-any-return]
        except msgspec.DecodeError as error:
            problem, path = split_message(str(error))
            raise ValidationError(
                f"the stored record is no {_name(self.type)}: {problem}", table=self.table, key=key, path=path
            ) from error

    def key_of(self, record: T) -> str:
        """The key that the record carries in its id field.

        Raises:
            UsageError: the table has no id field.
            ValidationError: the record has none.
        """
        if self.id is None:
            raise UsageError(f"table {self.table!r} has no id field; next: pass the key, or declare id=")
        try:
            key = record[self.id] if isinstance(record, Mapping) else getattr(record, self.id)
        except (KeyError, AttributeError) as error:
            raise ValidationError(f"the record has no {self.id!r}", table=self.table) from error
        return check_key(self.table, key)

    def patch(self, key: str, image: bytes, changes: Mapping[str, Any]) -> tuple[bytes, T]:
        """The stored document with some fields set or, by `msgspec.UNSET`, removed; all others as they are.

        Raises:
            ValidationError: an unknown field, the id, or a value that does not fit.
        """
        document = self._document(key, image)
        names = {field: self._encoded_name(key, field) for field in changes}
        for field, value in changes.items():
            if value is msgspec.UNSET:
                document.pop(names[field], None)
            else:
                document[names[field]] = value
        try:
            patched = self._encode(document)
            record = self._decode(patched)
            self._pack(record)
        except Exception as error:
            raise self._refused(key, changes, error) from error
        self._check_patched(key, record, patched, changes, names)
        self._check_image(key, patched)
        return patched, record

    def keep_unknown(self, key: str, before: bytes, after: bytes) -> bytes:
        """`after`, with the fields of `before` that the type does not know."""
        if self.fields is None or self.kind == "bytes":
            return after
        old = self._document(key, before)
        known = {*self.fields.values(), _tag_field(self.type)}
        if all(field in known for field in old):
            return after
        new = self._document(key, after)
        merged = {field: new.pop(field, raw) for field, raw in old.items() if field in new or field not in known}
        return self._encode(merged | new)

    # ---- why not

    def _encode_bytes(self, key: str, record: object) -> bytes:
        if not isinstance(record, (bytes, bytearray, memoryview)):
            raise ValidationError(f"a bytes table holds bytes, not {type(record).__name__}", table=self.table, key=key)
        if len(image := bytes(record)) > RECORD_BYTES_MAX:
            raise self._too_large(key, len(image))
        return image

    def _document(self, key: str, image: bytes) -> dict[str, Any]:
        if self.kind == "bytes":
            raise UsageError(f"table {self.table!r} holds bytes: there are no fields to patch")
        try:
            return dict(_decode_document(image))
        except msgspec.DecodeError as error:
            raise ValidationError(
                "the record is no JSON object: there are no fields to patch", table=self.table, key=key
            ) from error

    def _encoded_name(self, key: str, field: str) -> str:
        if not isinstance(field, str):
            raise ValidationError(
                f"a field's name is a str, not {type(field).__name__}", table=self.table, key=key, path=f"$.{field}"
            )
        if field == self.id:
            raise ValidationError("the id cannot change", table=self.table, key=key, path=f"$.{field}")
        if self.fields is None:
            return field
        if field not in self.fields:
            raise ValidationError(
                f"{_name(self.type)} has no field {field!r} (it has {', '.join(self.fields)})",
                table=self.table, key=key, path=f"$.{field}",
            )  # fmt: skip
        return self.fields[field]

    def _check_patched(
        self, key: str, record: Any, patched: bytes, changes: Mapping[str, Any], names: dict[str, str]
    ) -> None:
        stored: Mapping[str, Any] = record if isinstance(record, Mapping) else Attributes(record)
        again = None
        for field, value in changes.items():
            if value is msgspec.UNSET:
                continue
            found = stored[field]
            if found == value:
                continue
            if type(found) is not type(value) or not compares_by_identity(value):
                raise self._changed(key, value, found, f"$.{field}")
            again = again or _decode_document(patched)
            if self._encode(found) != bytes(again[names[field]]):
                raise self._changed(key, value, found, f"$.{field}")

    def _same_by_bytes(self, record: T, decoded: T, image: bytes) -> bool:
        """For types that do not say what equal is: the same bytes are the same record."""
        return type(record) is type(decoded) and compares_by_identity(record) and self._encode(decoded) == image

    def _check_id(self, key: str, record: T) -> None:
        if self.key_of(record) != key:
            raise ValidationError(
                f"the record's {self.id!r} is not the key it is stored under", table=self.table, key=key,
                path=f"$.{self.id}",
            )  # fmt: skip

    def _check_image(self, key: str, image: bytes) -> None:
        if len(image) > RECORD_BYTES_MAX:
            raise self._too_large(key, len(image))
        if image.count(b"[") + image.count(b"{") > DEPTH_MAX and nesting_depth(image) > DEPTH_MAX:
            raise ValidationError(f"the record is nested more than {DEPTH_MAX} levels deep", table=self.table, key=key)

    def _too_large(self, key: str, size: int) -> TransactionTooLargeError:
        return TransactionTooLargeError(
            f"table {self.table!r}: the record {key!r} has {size} bytes, the limit is {RECORD_BYTES_MAX}; "
            "nothing was written; next: split it"
        )

    def _refused(self, key: str, record: object, error: Exception) -> Exception:
        if isinstance(error, OverflowError):
            path = find_path(record, "$", lambda value: isinstance(value, int) and not -(2**63) <= value < 2**64)
            return ValidationError("an integer does not fit in 64 bits", table=self.table, key=key, path=path or "$")
        if isinstance(error, UnicodeEncodeError):
            path = find_path(record, "$", has_surrogate)
            return ValidationError("text holds a lone surrogate", table=self.table, key=key, path=path or "$")
        if isinstance(error, RecursionError):
            return ValidationError("the record is nested too deeply", table=self.table, key=key)
        if isinstance(error, (msgspec.MsgspecError, TypeError, ValueError)):
            problem, path = split_message(str(error))
            if path == "$" and not isinstance(error, msgspec.MsgspecError):
                path = find_path(record, "$", self._is_unencodable) or "$"
            return ValidationError(problem, table=self.table, key=key, path=path)
        return error

    def _is_unencodable(self, value: object) -> bool:
        if children(value, "$"):
            return False  # what is inside it is looked at by itself
        try:
            self._encode(value)
        except (TypeError, ValueError, msgspec.MsgspecError):
            return True
        return False

    def _changed(self, key: str, record: object, decoded: object, path: str = "$") -> ValidationError:
        where, before, after = first_difference(record, decoded, path)
        return ValidationError(
            f"{show(before)} cannot be stored: it would come back as {show(after)}",
            table=self.table, key=key, path=where,
        )  # fmt: skip


_decode_document = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _fields(table: str, type: Any) -> dict[str, str] | None:
    origin = typing.get_origin(type) or type
    if origin in (Any, object, dict, bytes):
        return None
    if isinstance(origin, builtin_type) and issubclass(origin, msgspec.Struct):
        if origin.__struct_config__.array_like:
            raise UsageError(f"table {table!r}: {_name(type)} is array_like; records are JSON objects")
        return {field.name: field.encode_name for field in msgspec.structs.fields(origin)}
    if dataclasses.is_dataclass(origin):
        return {field.name: field.name for field in dataclasses.fields(origin)}
    if typing.is_typeddict(origin):
        return {name: name for name in typing.get_type_hints(origin)}
    raise UsageError(
        f"table {table!r}: a record is a msgspec.Struct, dataclass, TypedDict, dict or bytes, not {_name(type)}"
    )


builtin_type = type


def _tag_field(type: Any) -> str | None:
    config = getattr(typing.get_origin(type) or type, "__struct_config__", None)
    return None if config is None else config.tag_field


def _name(type: Any) -> str:
    return getattr(type, "__name__", None) or str(type)
