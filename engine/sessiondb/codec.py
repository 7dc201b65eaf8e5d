"""Records and keys: what may be stored, and how a record becomes bytes and back.

The data model is the same on every backend and is checked before anything is logged, so that what one accepts all
accept, and what was accepted can be read back:

* A key is a non-empty `str` of at most 480 UTF-8 bytes without NUL and lone surrogates.
* A record is at most 64 MiB encoded, and nested at most 200 levels deep (how deep a decoder can go depends on the
  stack of whoever opens the store later).
* A record must survive its own encoding: it is encoded, decoded as the table's type, and compared. That refuses
  what JSON cannot hold (NaN and infinity become null, bytes become text, tuples become lists) and what does not
  fit the type, with the path to it. Integers are of 64 bits (-2**63 to 2**64 - 1).
* In a table with record versions (`sessiondb.versions`) a record is a JSON object without a field of its own named
  ``$v``: the document has one that says its version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Generic, TypeVar

import msgspec

from .backend import TableKind
from .errors import TransactionTooLargeError, UsageError, ValidationError
from .fields import DecHook, EncHook, FieldKind, Scalar, Scalars, record_fields, tag_field, type_name
from .keys import KEY_BYTES_MAX, check_key, check_table_name
from .paths import Attributes, compares_by_identity, nesting_depth
from .refusals import Refusals
from .versions import BEHIND_MARKERS, VERSION_FIELD, Upgrade, Versions

__all__ = [
    "KEY_BYTES_MAX",
    "RECORD_BYTES_MAX",
    "DecHook",
    "EncHook",
    "RecordCodec",
    "check_key",
    "check_table_name",
]

RECORD_BYTES_MAX = 64 * 1024 * 1024
DEPTH_MAX = 200
SHALLOW_BYTES_MAX = 2 * DEPTH_MAX  # less has no room for so many levels

T = TypeVar("T")


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
        version: int = 1,
        upgrades: Mapping[int, Upgrade] | None = None,
    ):
        """Prepare for a type of record.

        Args:
            table: the table's name, for messages.
            type: a `msgspec.Struct`, dataclass, TypedDict, `dict`, `bytes`, or `Any` for any JSON value.
            id: the attribute (or dict key) that holds the key.
            enc_hook: makes an encodable value of one that msgspec does not know.
            dec_hook: makes a value of a type that msgspec does not know.
            version: of the records that are written from now on.
            upgrades: for every earlier version the function that makes a document of the next one.

        Raises:
            UsageError: another type, an `id` that the type does not have, or upgrade functions that do not lead from
                version 1 to `version`.
        """
        self.table = table
        self.type = type
        self.kind: TableKind = "bytes" if type is bytes else "json"
        self.fields = record_fields(table, type)
        """Python name to encoded name; ``None`` when any field goes."""
        self.id = id
        if id is not None and (self.kind == "bytes" or (self.fields is not None and id not in self.fields)):
            raise UsageError(f"table {table!r}: id={id!r} is no field of {type_name(type)}")
        self.version = version
        self._versions = Versions(table, version, upgrades)
        self._known_fields = {*(self.fields or {}).values(), tag_field(type)}
        self._checks_version = self._must_check_version()
        # A document that sorts below this may bear a marker; the others, nearly all, are cleared by one comparison.
        self._suspect = (b"\xff" if version > 1 else BEHIND_MARKERS) if self._checks_version else b""
        self._dec_hook = dec_hook
        self._encode = msgspec.json.Encoder(enc_hook=enc_hook).encode
        self._words = Refusals(table, type_name(type), self._encode)
        self._pack = msgspec.msgpack.Encoder(enc_hook=enc_hook).encode
        self._has_hooks = enc_hook is not None or dec_hook is not None
        self._decode: Callable[[bytes], Any] = bytes.__bytes__  # the very object that it gets
        try:
            if type is not bytes:
                self._decode = msgspec.json.Decoder(type, dec_hook=dec_hook).decode
        except TypeError as error:
            raise UsageError(f"table {table!r}: {type_name(type)} cannot be stored: {error}") from error

    def _must_check_version(self) -> bool:
        if self.version == 1:
            # An untyped table without versions shows documents as they are, any marker included.
            return self.fields is not None and VERSION_FIELD not in self._known_fields
        if self.kind == "bytes":
            raise UsageError(f"table {self.table!r} holds bytes, which have no versions")
        if VERSION_FIELD in self._known_fields or self.id == VERSION_FIELD:
            raise UsageError(
                f"table {self.table!r}: a field is stored as {VERSION_FIELD!r}, which version={self.version} needs "
                "for itself; next: give it another name"
            )
        return True

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
            raise self._words.refused(key, record, error) from error
        if decoded != record and not self._same_by_bytes(record, decoded, image):
            raise self._words.changed(key, record, decoded)
        if self.id is not None:
            self._check_id(key, record)
        if self.version > 1:
            image = self._marked(key, decoded, image)
        if len(image) > SHALLOW_BYTES_MAX:
            self._check_image(key, image)
        return image

    def decode(self, key: str, image: bytes) -> T:
        """The record, new and the caller's own.

        Raises:
            ValidationError: the stored record does not fit the table's type, or could not be upgraded.
            UnsupportedFormatError: it is of a later version.
        """
        if image < self._suspect:
            image = self._document(key, image)
        try:
            return self._decode(image)  # type: ignore[no-any-return]
        except (msgspec.DecodeError, LookupError) as error:  # a hook's KeyError is no missing record
            raise self._words.no_record(key, error) from error

    @cached_property
    def _decode_array(self) -> Callable[[bytes], list[Any]]:
        return msgspec.json.Decoder(list[self.type]).decode  # type: ignore[name-defined]

    # ---- versions

    def current(self, image: bytes) -> bool:
        """Whether the stored document is of the declared version, so that its fields are those of the type."""
        return image >= self._suspect or self._versions.is_current(image)

    def upgraded(self, key: str, image: bytes) -> bytes:
        """The stored document as it would be stored now: the same bytes if it is of the declared version.

        Raises:
            ValidationError: it could not be upgraded.
            UnsupportedFormatError: it is of a later version.
        """
        return image if self.current(image) else self._versions.marked(self._document(key, image))

    def check_replaced(self, key: str, image: bytes) -> None:
        """Make sure that overwriting the stored document loses nothing that this program does not know of.

        Raises:
            UnsupportedFormatError: it is of a later version.
        """
        if self._checks_version:
            self._versions.check_replaced(key, image)

    def _document(self, key: str, image: bytes) -> bytes:
        """The stored document without its marker; what becomes of it, if it is of an earlier version."""
        version, document = self._versions.split(key, image)
        if version == self.version:
            return document
        try:
            old = msgspec.json.decode(document)
        except msgspec.DecodeError as error:
            raise self._words.no_record(key, error) from error
        new = self._versions.upgrade(key, version, old)
        what = f"the record, upgraded from version {version} to {self.version},"
        try:
            document = self._untyped.encode(key, new)
            self._decode(document)
        except ValidationError as error:
            raise ValidationError(
                f"{what} cannot be stored: {error.problem}", table=self.table, key=key, path=error.path
            ) from error
        except msgspec.DecodeError as error:
            raise self._words.no_record(key, error, what) from error
        return document

    @cached_property
    def _untyped(self) -> RecordCodec[Any]:
        return RecordCodec(self.table, dict)

    def _marked(self, key: str, decoded: Any, document: bytes) -> bytes:
        if not isinstance(decoded, dict) and self.fields is None:
            raise ValidationError(
                f"a table with version={self.version} holds dicts, not {type(decoded).__name__}",
                table=self.table, key=key,
            )  # fmt: skip
        if self.fields is None and VERSION_FIELD in decoded:
            raise self._words.reserved(key)
        return self._versions.marked(document)

    # ---- single fields, for conditions

    @cached_property
    def _scalars(self) -> Scalars:
        return Scalars(self.table, None if self.fields is None else self.type, self._encode, self._dec_hook)

    @property
    def field_kinds(self) -> dict[str, FieldKind]:
        """Python name to what the field holds in the document; empty when any field goes."""
        return self._scalars.kinds

    def is_instant(self, field: str) -> bool:
        """Whether the field holds a `datetime.datetime` and nothing else, null and absent aside."""
        return self._scalars.is_instant(field)

    def encode_scalar(self, field: str, value: Any) -> Scalar:
        """What the document holds where the field has this value; see `fields.Scalars.encode`.

        Raises:
            UsageError: no document can hold it as a single value.
        """
        return self._scalars.encode(field, value)

    def decode_scalar(self, field: str, stored: Any) -> Any:
        """The value that a field of a document stands for; null and absent as they are.

        Raises:
            ValidationError: it stands for none.
        """
        return self._scalars.decode(field, stored)

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
            ValidationError: an unknown field, the id, or a value that does not fit; or it could not be upgraded.
            UnsupportedFormatError: the stored document is of a later version.
        """
        document = self._raw_fields(key, image)
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
            raise self._words.refused(key, changes, error) from error
        self._check_patched(key, record, patched, changes, names)
        patched = self._versions.marked(patched)
        self._check_image(key, patched)
        return patched, record

    def keep_unknown(self, key: str, before: bytes, after: bytes) -> bytes:
        """`after`, with the fields of `before` that the type does not know."""
        if self.fields is None or self.kind == "bytes":
            return after
        old, known = self._raw_fields(key, before), self._known_fields
        if all(field in known for field in old):
            return after
        new = self._raw_fields(key, after)
        merged = {field: new.pop(field, raw) for field, raw in old.items() if field in new or field not in known}
        image = self._versions.marked(self._encode(merged | new))
        self._check_image(key, image)
        return image

    # ---- why not

    def _encode_bytes(self, key: str, record: object) -> bytes:
        if not isinstance(record, (bytes, bytearray, memoryview)):
            raise ValidationError(f"a bytes table holds bytes, not {type(record).__name__}", table=self.table, key=key)
        if len(image := bytes(record)) > RECORD_BYTES_MAX:
            raise self._too_large(key, len(image))
        return image

    def _raw_fields(self, key: str, image: bytes) -> dict[str, Any]:
        if self.kind == "bytes":
            raise UsageError(f"table {self.table!r} holds bytes: there are no fields to patch")
        if self.version > 1:
            image = self._document(key, image)
        try:
            fields: dict[str, Any] = _decode_document(image)
        except msgspec.DecodeError as error:
            raise ValidationError(
                "the record is no JSON object: there are no fields to patch", table=self.table, key=key
            ) from error
        if VERSION_FIELD in fields:
            self.check_replaced(key, image)
        return fields

    def _encoded_name(self, key: str, field: str) -> str:
        if not isinstance(field, str):
            raise ValidationError(
                f"a field's name is a str, not {type(field).__name__}", table=self.table, key=key, path=f"$.{field}"
            )
        if field == self.id:
            raise ValidationError("the id cannot change", table=self.table, key=key, path=f"$.{field}")
        if self.fields is None:
            if field == VERSION_FIELD and self.version > 1:
                raise self._words.reserved(key)
            return field
        if field not in self.fields:
            raise ValidationError(
                f"{type_name(self.type)} has no field {field!r} (it has {', '.join(self.fields)})",
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
                raise self._words.changed(key, value, found, f"$.{field}")
            again = again or _decode_document(patched)
            if self._encode(found) != bytes(again[names[field]]):
                raise self._words.changed(key, value, found, f"$.{field}")

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


_decode_document = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
