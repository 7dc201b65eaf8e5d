"""The fields of a record's type: their names, what stands for their values in JSON, and single values there and back.

Conditions and orders look at stored documents. For most types what is stored compares as the value does: numbers, and
texts as a name or a date. For others it does not (``"2026-01-01T00:00:00Z"`` and ``"2026-01-01T01:00:00+01:00"`` are
one moment, ``"10.5"`` is more than ``"9"``): there values must be decoded before they are compared.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import math
import operator
import typing
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec

from .errors import UsageError, ValidationError
from .paths import has_surrogate, show, split_message

__all__ = ["DecHook", "EncHook", "FieldKind", "Scalars", "record_fields", "tag_field", "type_name"]

EncHook = Callable[[Any], Any]
DecHook = Callable[[type, Any], Any]

FieldKind = Literal["text", "integer", "number", "bool", "value", "composite", "any"]
"""What a field holds in the stored document, null and absent aside.

``text``: a text in the order of the values (`str`, `uuid.UUID`, `datetime.date`, a text `Literal` or `Enum`).
``integer``, ``number``, ``bool``: as they say. ``value``: something whose order is not that of the values (moments,
durations, decimals, bytes, own types). ``composite``: a list or an object. ``any``: one or the other.
"""

Scalar = None | bool | int | float | str


# ---- names


def record_fields(table: str, type: Any) -> dict[str, str] | None:
    """Python name to the name in the document; ``None`` when any field goes.

    Raises:
        UsageError: no type of record.
    """
    origin = typing.get_origin(type) or type
    if origin in (Any, object, dict, bytes):
        return None
    if isinstance(origin, builtin_type) and issubclass(origin, msgspec.Struct):
        if origin.__struct_config__.array_like:
            raise UsageError(f"table {table!r}: {type_name(type)} is array_like; records are JSON objects")
        return {field.name: field.encode_name for field in msgspec.structs.fields(origin)}
    if hasattr(origin, "__dataclass_fields__"):
        import dataclasses  # imports a lot, and who has one has imported it

        return {field.name: field.name for field in dataclasses.fields(origin)}
    if typing.is_typeddict(origin):
        return {name: name for name in typing.get_type_hints(origin)}
    raise UsageError(
        f"table {table!r}: a record is a msgspec.Struct, dataclass, TypedDict, dict or bytes, not {type_name(type)}"
    )


builtin_type = type


def tag_field(type: Any) -> str | None:
    """The field that tells a tagged Struct, in the document only."""
    config = getattr(typing.get_origin(type) or type, "__struct_config__", None)
    return None if config is None else config.tag_field


def type_name(type: Any) -> str:
    """The type's name, for messages."""
    return getattr(type, "__name__", None) or str(type)


# ---- values


class Scalars:
    """Single values of a type's fields, as they stand in the document and back."""

    def __init__(self, table: str, type: Any, encode: Callable[[Any], bytes], dec_hook: DecHook | None):
        """Look at the type's fields.

        Args:
            table: the table's name, for messages.
            type: of the records; ``None`` when any field goes.
            encode: makes JSON of a value.
            dec_hook: makes a value of a type that msgspec does not know.
        """
        self._table = table
        self._typed = type is not None
        self._encode = encode
        self._dec_hook = dec_hook
        self._nodes = {} if type is None else _nodes(type)
        self._decoders: dict[str, Callable[[bytes], Any]] = {}
        self.kinds: dict[str, FieldKind] = {name: _kind(nodes) for name, nodes in self._nodes.items()}
        """By Python name; empty when any field goes."""

    def is_instant(self, field: str) -> bool:
        """Whether the field holds a `datetime.datetime` and nothing else, null and absent aside."""
        nodes = self._nodes.get(field)
        return bool(nodes) and all(isinstance(node, msgspec.inspect.DateTimeType) for node in nodes or ())

    def encode(self, field: str, value: Any) -> Scalar:
        """What the document holds where the field has this value.

        Not whether the field's type can have it: a text is looked for in a field of numbers, and not found.

        Raises:
            UsageError: no document can hold it, or not as a single value; or the field's type compares values that
                this is none of.
        """
        if value is None or type(value) is bool:
            return value
        kind = self.kinds.get(field, "any")
        stands_for_itself = isinstance(value, (int, float, str))
        if (not stands_for_itself and not self._typed) or (isinstance(value, _BYTES) and kind != "value"):
            raise self._not_comparable(field, value, "is none that the table can hold; next: give it as it is stored")
        try:
            # Exact types go as they are: as JSON a NaN would be null.
            scalar = value if type(value) in (int, float, str) else msgspec.json.decode(self._encode(value))
        except Exception as error:
            raise self._not_comparable(field, value, f"cannot be stored: {error}") from error
        problem = _problem(scalar)
        if problem:
            raise self._not_comparable(field, value, problem)
        if kind == "value":
            try:
                self.decode(field, scalar)
            except ValidationError as error:
                raise self._not_comparable(field, value, f"is no value of this field: {error.problem}") from error
        return scalar  # type: ignore[no-any-return]

    def decode(self, field: str, stored: Any) -> Any:
        """The value that a field of a document stands for; null and absent as they are.

        Raises:
            ValidationError: it stands for none.
        """
        if stored is None or stored is msgspec.UNSET or field not in self._nodes:
            return stored
        decode = self._decoders.get(field)
        if decode is None:
            annotation = _annotation(self._nodes[field])
            decode = self._decoders[field] = msgspec.json.Decoder(annotation, dec_hook=self._dec_hook).decode
        try:
            return decode(msgspec.json.encode(stored))
        except msgspec.DecodeError as error:
            problem, _ = split_message(str(error))
            raise ValidationError(problem, table=self._table, path=f"$.{field}") from error

    def _not_comparable(self, field: str, value: object, problem: str) -> UsageError:
        return UsageError(f"table {self._table!r}: a condition on {field!r}: {show(value)} {problem}")


_BYTES = (bytes, bytearray, memoryview)


def _problem(scalar: Any) -> str:
    if isinstance(scalar, (list, dict)):
        return "is no single value"
    if scalar is None or (isinstance(scalar, float) and not math.isfinite(scalar)):
        return "is no value in JSON; next: None finds a stored null"
    if isinstance(scalar, int) and not -(2**63) <= scalar < 2**64:
        return "does not fit in 64 bits"
    return "holds a lone surrogate" if has_surrogate(scalar) else ""


# ---- types, as msgspec sees them

_Nodes = tuple[msgspec.inspect.Type, ...]

_SCALARS: dict[type[msgspec.inspect.Type], tuple[FieldKind, Any]] = {
    msgspec.inspect.StrType: ("text", str),
    msgspec.inspect.UUIDType: ("text", uuid.UUID),
    msgspec.inspect.DateType: ("text", datetime.date),
    msgspec.inspect.IntType: ("integer", int),
    msgspec.inspect.FloatType: ("number", float),
    msgspec.inspect.BoolType: ("bool", bool),
    msgspec.inspect.DateTimeType: ("value", datetime.datetime),
    msgspec.inspect.TimeType: ("value", datetime.time),
    msgspec.inspect.TimeDeltaType: ("value", datetime.timedelta),
    msgspec.inspect.DecimalType: ("value", decimal.Decimal),
    msgspec.inspect.BytesType: ("value", bytes),
    msgspec.inspect.ByteArrayType: ("value", bytearray),
    msgspec.inspect.MemoryViewType: ("value", bytes),
    msgspec.inspect.AnyType: ("any", Any),
    msgspec.inspect.RawType: ("any", Any),
}


def _nodes(type: Any) -> dict[str, _Nodes]:
    """Each field's types, null and absent aside."""
    info: Any = msgspec.inspect.type_info(type)
    return {field.name: tuple(_alternatives(field.type)) for field in info.fields}


def _alternatives(node: Any) -> Iterable[msgspec.inspect.Type]:
    if isinstance(node, msgspec.inspect.Metadata):
        yield from _alternatives(node.type)
    elif isinstance(node, msgspec.inspect.UnionType):
        for member in node.types:
            yield from _alternatives(member)
    elif not isinstance(node, msgspec.inspect.NoneType) and getattr(node, "cls", None) is not msgspec.UnsetType:
        yield node


def _kind(nodes: _Nodes) -> FieldKind:
    kinds = {_node_kind(node) for node in nodes}
    if len(kinds) == 1:
        return kinds.pop()
    if kinds == {"integer", "number"}:
        return "number"
    return "value" if "value" in kinds else "any"


def _node_kind(node: msgspec.inspect.Type) -> FieldKind:
    if isinstance(node, msgspec.inspect.LiteralType):
        return _kind_of_values(value for value in node.values if value is not None)
    if isinstance(node, msgspec.inspect.EnumType):
        return _kind_of_values(member.value for member in node.cls)
    if isinstance(node, msgspec.inspect.CustomType):
        return "value"
    return _SCALARS.get(type(node), ("composite", Any))[0]


def _kind_of_values(values: Iterable[object]) -> FieldKind:
    types = {type(value) for value in values}
    if all(issubclass(type, str) for type in types):
        return "text"
    return "integer" if all(issubclass(type, int) for type in types) else "any"


def _annotation(nodes: _Nodes) -> Any:
    """A type to decode a single value as."""
    found: list[Any] = []
    for node in nodes:
        if isinstance(node, msgspec.inspect.LiteralType):
            found.append(Literal[node.values])
        elif isinstance(node, (msgspec.inspect.EnumType, msgspec.inspect.CustomType)):
            found.append(node.cls)
        else:
            found.append(_SCALARS.get(type(node), ("composite", Any))[1])
    return Any if not found or Any in found else functools.reduce(operator.or_, found)
