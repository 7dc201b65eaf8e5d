"""The fields of a type: what stands for their values in the document, and single values there and back."""

import enum
import math
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessiondb import UNSET, UsageError, ValidationError
from sessiondb.codec import RecordCodec
from sessiondb.query import FieldReader

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    A = "a"


class Money:
    def __init__(self, cents):
        self.cents = cents

    def __eq__(self, other):
        return isinstance(other, Money) and self.cents == other.cents

    def __hash__(self):
        return hash(self.cents)

    def __repr__(self):
        return f"Money({self.cents})"


class Inner(msgspec.Struct):
    x: int


class Pair(NamedTuple):
    x: int
    y: int


def enc_hook(value):
    if isinstance(value, Money):
        return f"{value.cents} cents"
    raise NotImplementedError(f"no {type(value).__name__}")


def dec_hook(type, value):
    if type is Money:
        return Money(int(value.split()[0]))
    raise NotImplementedError(type)


KINDS: dict[str, list[Any]] = {
    "text": [
        str,
        str | None,
        str | None | msgspec.UnsetType,
        Literal["a", "b"],
        Literal["a", None],
        Color,
        Color | None,
        Word,
        uuid.UUID,
        date,
        date | None,
        Annotated[str, msgspec.Meta(min_length=1, title="x")],
    ],
    "integer": [int, int | None, Literal[1, 2], Level, Annotated[int, msgspec.Meta(ge=0)]],
    "number": [float, int | float, float | None, Annotated[float, msgspec.Meta(gt=0)] | None],
    "bool": [bool, bool | None],
    "value": [
        datetime,
        datetime | None,
        Annotated[datetime, msgspec.Meta(tz=True)],
        time,
        timedelta,
        Decimal,
        Decimal | None,
        bytes,
        bytearray,
        Money,
        Money | None,
        datetime | int,
    ],
    "composite": [
        list,
        list[int],
        dict,
        dict[str, int] | None,
        set[str],
        tuple[int, ...],
        tuple[int, int],
        Inner,
        Inner | None,
        Pair,
    ],
    "any": [Any, msgspec.Raw, int | str, bool | int, str | list[str], Literal[1, "a"], None],
}
CASES = [(kind, type) for kind, types in KINDS.items() for type in types]


def codec_of(type: Any, **options) -> RecordCodec[Any]:
    return RecordCodec("t", type, enc_hook=enc_hook, dec_hook=dec_hook, **options)


def codec_with(type: Any) -> RecordCodec[Any]:
    """Of records with one field, ``f``, of the type."""
    return codec_of(msgspec.defstruct("Record", [("f", type)], rename={"f": "F"}))


# ---- kinds


@pytest.mark.parametrize(("kind", "type"), CASES, ids=[f"{kind}-{type}" for kind, type in CASES])
def test_what_a_field_holds_is_known_from_its_type(kind, type):
    assert codec_with(type).field_kinds == {"f": kind}


def test_a_field_that_is_only_ever_absent_may_hold_anything():
    assert codec_with(msgspec.UnsetType).field_kinds == {"f": "any"}


def test_kinds_go_by_python_names_in_structs_dataclasses_and_typed_dicts():
    class Session(msgspec.Struct, rename="camel", tag="s", tag_field="kind"):
        repo_name: str
        created_at: datetime | None = None

    @dataclass
    class Job:
        id: str
        cost: "Decimal | None" = None
        steps: list[str] = field(default_factory=list)
        total: ClassVar[int] = 0

    class Doc(TypedDict):
        id: str
        n: NotRequired[int | None]

    assert codec_of(Session).field_kinds == {"repo_name": "text", "created_at": "value"}
    assert codec_of(Job).field_kinds == {"id": "text", "cost": "value", "steps": "composite"}
    assert codec_of(Doc).field_kinds == {"id": "text", "n": "integer"}
    for kinds, fields in ((codec_of(type).field_kinds, codec_of(type).fields) for type in (Session, Job, Doc)):
        assert list(kinds) == list(fields)


def test_generic_types_are_resolved():
    class Struct(msgspec.Struct, Generic[T]):
        f: T

    @dataclass
    class Data(Generic[T]):
        f: T

    class Doc(TypedDict, Generic[T]):
        f: T

    for type in (Struct, Data, Doc):
        assert codec_of(type[datetime]).field_kinds == {"f": "value"}
        assert codec_of(type[datetime]).decode_scalar("f", "2026-01-01T00:00:00") == datetime(2026, 1, 1)
        assert codec_of(type[int]).field_kinds == {"f": "integer"}
        assert codec_of(type).field_kinds == {"f": "any"}


@pytest.mark.parametrize("type", [Any, dict, dict[str, int], bytes], ids=str)
def test_where_any_field_goes_no_kind_is_known(type):
    assert codec_of(type).field_kinds == {}


def test_an_instant_is_a_datetime_and_nothing_else():
    assert codec_with(datetime).is_instant("f")
    assert codec_with(datetime | None).is_instant("f")
    assert codec_with(Annotated[datetime, msgspec.Meta(tz=False)] | None | msgspec.UnsetType).is_instant("f")
    for type in (datetime | int, time, date, str, Any, Money, msgspec.UnsetType):
        assert not codec_with(type).is_instant("f")
    assert not codec_with(datetime).is_instant("g")
    assert not codec_of(dict).is_instant("f")


# ---- single values

VALUES: list[tuple[Any, Any, Any]] = [
    (str, "ä", "ä"),
    (str, "", ""),
    (int, -(2**63), -(2**63)),
    (int, 2**64 - 1, 2**64 - 1),
    (float, 1.5, 1.5),
    (float, 1, 1.0),
    (bool, True, True),
    (Literal["a"], "a", "a"),
    (Color, Color.RED, "red"),
    (Level, Level.HIGH, 2),
    (Word, Word.A, "a"),
    (uuid.UUID, uuid.UUID(int=10), "00000000-0000-0000-0000-00000000000a"),
    (date, date(2026, 1, 2), "2026-01-02"),
    (datetime, datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00Z"),
    (datetime, datetime(2026, 1, 2, 3), "2026-01-02T03:00:00"),
    (time, time(1, 2), "01:02:00"),
    (timedelta, timedelta(hours=1), "PT3600S"),
    (Decimal, Decimal("1.50"), "1.50"),
    (bytes, b"x", "eA=="),
    (Money, Money(5), "5 cents"),
    (datetime | int, 5, 5),
    (datetime | int, datetime(2026, 1, 2), "2026-01-02T00:00:00"),
]


@pytest.mark.parametrize(("type", "value", "stored"), VALUES, ids=[repr(value) for _, value, _ in VALUES])
@pytest.mark.parametrize("optional", [False, True])
def test_a_value_is_encoded_as_it_stands_in_the_document_and_decoded_again(type, value, stored, optional):
    codec = codec_with(type | None if optional else type)
    scalar = codec.encode_scalar("f", value)
    assert scalar == stored
    record = codec.type(value)
    assert FieldReader(["F"]).read(codec.encode("k", record)) == (stored,)
    assert codec.decode_scalar("f", stored) == value
    assert codec.decode_scalar("f", stored).__class__ is codec.decode("k", codec.encode("k", record)).f.__class__


def test_null_and_absent_stand_for_themselves():
    for type in (int, Money, datetime, list):
        codec = codec_with(type)
        assert codec.encode_scalar("f", None) is None
        assert codec.decode_scalar("f", None) is None
        assert codec.decode_scalar("f", UNSET) is UNSET


@pytest.mark.parametrize("type", [int, str, Any])
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([1], "no single value"),
        ({"a": 1}, "no single value"),
        ((1, 2), "no single value"),
        ({1}, "no single value"),
        (Inner(1), "no single value"),
        (math.nan, "no value in JSON"),
        (math.inf, "no value in JSON"),
        (-math.inf, "no value in JSON"),
        (2**64, "64 bits"),
        (-(2**63) - 1, "64 bits"),
        ("\ud800", "lone surrogate"),
        (..., "cannot be stored: no ellipsis"),
        (UNSET, "cannot be stored"),
        (b"x", "none that the table can hold"),
    ],
    ids=repr,
)
def test_what_no_document_can_hold_is_no_condition(type, value, problem):
    with pytest.raises(UsageError, match=f"table 't': a condition on 'f': .*{problem}"):
        codec_with(type).encode_scalar("f", value)


def test_a_value_of_another_type_is_looked_for_and_not_found():
    codec = codec_with(int)
    assert codec.encode_scalar("f", "3") == "3"
    assert codec.encode_scalar("f", 3.5) == 3.5
    assert codec.encode_scalar("f", date(2026, 1, 1)) == "2026-01-01"


@pytest.mark.parametrize(
    ("type", "value"),
    [(datetime, "yesterday"), (datetime, 5), (Decimal, "x"), (timedelta, "1 hour"), (Money, "many"), (bytes, "?")],
)
def test_where_values_are_compared_a_condition_must_be_one(type, value):
    with pytest.raises(UsageError, match="is no value of this field"):
        codec_with(type).encode_scalar("f", value)


@pytest.mark.parametrize(("type", "text"), [(datetime, "2026-01-02T00:00:00Z"), (Decimal, "1.5"), (Money, "5 cents")])
def test_a_value_may_be_given_as_it_is_stored(type, text):
    codec = codec_with(type)
    assert codec.encode_scalar("f", text) == text


def test_untyped_tables_compare_what_they_hold():
    codec = codec_of(dict)
    for value in (None, True, 5, 1.5, "x"):
        assert codec.encode_scalar("f", value) is value
        assert codec.decode_scalar("f", value) is value
    assert codec.encode_scalar("f", Word.A) == "a"
    assert codec.encode_scalar("f", Level.LOW) == 1
    for value in (datetime(2026, 1, 1), date(2026, 1, 1), Decimal(1), uuid.UUID(int=1), Color.RED, Money(1), b"x", [1]):
        with pytest.raises(UsageError, match="give it as it is stored"):
            codec.encode_scalar("f", value)


def test_a_stored_value_that_is_none_of_the_type_says_where():
    for stored in ("yesterday", 5, [1], True):
        with pytest.raises(ValidationError) as caught:
            codec_with(datetime).decode_scalar("f", stored)
        assert (caught.value.table, caught.value.path) == ("t", "$.f")


def test_moments_compare_by_value_whatever_their_text():
    codec = codec_with(datetime)
    texts = [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00+00:00",
        "2026-01-01T01:00:00+01:00",
        "2026-01-01T00:00:00.000Z",
    ]
    assert len({codec.decode_scalar("f", text) for text in texts}) == 1


scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
quick = settings(database=None, deadline=None, max_examples=100)


@quick
@given(value=scalars | st.text(st.characters(codec="utf-8")))
def test_a_plain_value_is_what_any_document_holds(value):
    for codec in (codec_of(dict), codec_with(Any)):
        scalar = codec.encode_scalar("f", value)
        assert scalar == value
        assert scalar.__class__ is value.__class__
        assert codec.decode_scalar("f", scalar) == value
    assert FieldReader(["f"]).read(codec_of(dict).encode("k", {"f": value})) == (value,)


@quick
@given(
    value=st.datetimes(timezones=st.none() | st.just(UTC) | st.timezones())
    | st.timedeltas(timedelta(-100_000), timedelta(100_000))
    | st.times()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.binary(max_size=20)
)
def test_values_come_back_from_their_scalars(value):
    codec = codec_with(type(value))
    scalar = codec.encode_scalar("f", value)
    assert isinstance(scalar, str)
    assert codec.decode_scalar("f", scalar) == codec.decode("k", msgspec.json.encode({"F": value})).f


@quick
@given(first=st.uuids() | st.dates(), second=st.uuids() | st.dates())
def test_the_text_of_a_text_field_is_in_the_order_of_its_values(first, second):
    if type(first) is not type(second):
        return
    codec = codec_with(type(first))
    texts = (codec.encode_scalar("f", first), codec.encode_scalar("f", second))
    assert (texts[0] < texts[1]) == (first < second)
