"""Record versions: old documents are upgraded when they are read, and stored so when they are written."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sessiondb
from properties.strategies import json_objects, json_values
from sessiondb import UNSET, UnsupportedFormatError, UsageError, ValidationError, absent, between
from sessiondb.codec import RECORD_BYTES_MAX, RecordCodec
from sessiondb.errors import DuplicateKeyError, TransactionTooLargeError
from sessiondb.query import FieldReader


class Session(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Version 3: 1 had ``name`` and ``tries``; 2 had ``repoName`` and ``tries``, a text."""

    repo_name: str
    attempts: int = 0


class OpenSession(msgspec.Struct, rename="camel"):
    repo_name: str
    attempts: int = 0


@dataclass
class Job:
    repoName: str
    attempts: int = 0


class Doc(TypedDict, total=False):
    repoName: str
    attempts: int


def v1_to_v2(document):
    document["repoName"] = document.pop("name")
    return document


def v2_to_v3(document):
    document["attempts"] = int(document.pop("tries", 0))
    return document


UPGRADES = {1: v1_to_v2, 2: v2_to_v3}
OLD = b'{"name":"shop","tries":"2"}'
MIDDLE = b'{"$v":2,"repoName":"shop","tries":"2"}'
CURRENT = b'{"$v":3,"repoName":"shop","attempts":2}'
LATER = b'{"$v":4,"repository":{"name":"shop"},"attempts":2}'


def codec_of(type: Any = Session, version=3, upgrades=UPGRADES, **options) -> RecordCodec[Any]:
    return RecordCodec("t", type, version=version, upgrades=upgrades, **options)


def fields_of(image):
    return json.loads(image)


# ---- declaring


@pytest.mark.parametrize(
    ("version", "upgrades", "problem"),
    [
        (3, None, "needs a function from version 1 to 2"),
        (3, {1: v1_to_v2}, "needs a function from version 2 to 3"),
        (3, {2: v2_to_v3}, "needs a function from version 1 to 2"),
        (2, UPGRADES, "holds 2, which is no version below 2"),
        (1, {1: v1_to_v2}, "holds 1, which is no version below 1"),
        (2, {1: v1_to_v2, "2": v2_to_v3}, "holds '2', which is no version below 2"),
        (2, {1: "v1_to_v2"}, "needs a function from version 1 to 2"),
        (2, [v1_to_v2], "it must be a dict from version to function"),
        (0, None, "at least 1"),
        (-1, None, "at least 1"),
        ("2", {1: v1_to_v2}, "at least 1"),
        (2.0, {1: v1_to_v2}, "at least 1"),
        (True, None, "at least 1"),
        (10**12, {1: v1_to_v2}, "needs a function from version 2 to 3"),
    ],
)
def test_a_version_needs_every_upgrade_function_and_no_other(version, upgrades, problem):
    with pytest.raises(UsageError, match=problem):
        codec_of(dict, version, upgrades)


def test_a_table_of_bytes_has_no_versions():
    with pytest.raises(UsageError, match="holds bytes, which have no versions"):
        codec_of(bytes)


def test_a_type_that_stores_a_field_where_the_version_belongs_is_refused():
    own = msgspec.defstruct("Own", [("version", int)], rename={"version": "$v"})
    tagged = msgspec.defstruct("Tagged", [("n", int)], tag="x", tag_field="$v")
    typed_dict = TypedDict("typed_dict", {"$v": int})
    for type in (own, tagged, typed_dict):
        with pytest.raises(UsageError, match="give it another name"):
            codec_of(type)
        RecordCodec("t", type)  # fine without versions
    with pytest.raises(UsageError, match="give it another name"):
        codec_of(dict, id="$v")


def test_the_declared_functions_cannot_be_exchanged_later():
    upgrades = dict(UPGRADES)
    codec = codec_of(upgrades=upgrades)
    upgrades.clear()
    assert codec.decode("k", OLD) == Session("shop", 2)


# ---- what is stored


TYPES = {
    "struct": (Session, Session("shop", 2)),
    "open struct": (OpenSession, OpenSession("shop", 2)),
    "dataclass": (Job, Job("shop", 2)),
    "typed dict": (Doc, {"repoName": "shop", "attempts": 2}),
    "dict": (dict, {"repoName": "shop", "attempts": 2}),
    "any": (Any, {"repoName": "shop", "attempts": 2}),
}


@pytest.mark.parametrize(("type", "record"), TYPES.values(), ids=TYPES)
@pytest.mark.parametrize("image", [OLD, MIDDLE, CURRENT], ids=["version 1", "version 2", "version 3"])
def test_documents_of_every_version_become_current_records(type, record, image):
    codec = codec_of(type)
    assert codec.encode("k", record) == CURRENT
    assert codec.decode("k", image) == record
    assert codec.upgraded("k", image) == CURRENT
    assert codec.current(image) == (image == CURRENT)


@pytest.mark.parametrize(("type", "record"), TYPES.values(), ids=TYPES)
def test_without_a_version_documents_have_no_marker(type, record):
    for codec in (RecordCodec("t", type), RecordCodec("t", type, version=1), RecordCodec("t", type, upgrades={})):
        image = codec.encode("k", record)
        assert image == CURRENT.replace(b'"$v":3,', b"")
        assert codec.current(image)
        assert codec.upgraded("k", image) is image


def test_a_document_without_other_fields_bears_its_version():
    codec = codec_of(dict, 2, {1: lambda document: document})
    assert codec.encode("k", {}) == b'{"$v":2}'
    assert codec.decode("k", b'{"$v":2}') == {}
    assert codec.decode("k", b"{}") == {}
    assert codec.upgraded("k", b"{}") == b'{"$v":2}'
    assert codec.current(b'{"$v":2}')
    assert not codec.current(b"{}")


@pytest.mark.parametrize(
    "image",
    [
        b'{"repoName":"shop","$v":3,"attempts":2}',
        b'{"attempts":2,"repoName":"shop","$v":3}',
        b'{ "$v": 3, "repoName": "shop", "attempts": 2 }',
        b'{\n  "$v" : 3 ,\n  "repoName": "shop",\n  "attempts": 2\n}\n',
        b'{"\\u0024v":3,"repoName":"shop","attempts":2}',
        b'{"$v":3 ,"repoName":"shop","attempts":2}',
        b'{"tries":"2","$v":2,"repoName":"shop"}',
    ],
)
def test_a_marker_is_found_wherever_it_stands(image):
    codec = codec_of()
    assert codec.decode("k", image) == Session("shop", 2)
    assert fields_of(codec.upgraded("k", image)) == {"$v": 3, "repoName": "shop", "attempts": 2}
    patched, record = codec.patch("k", image, {"attempts": 3})
    assert record == Session("shop", 3)
    assert patched.startswith(b'{"$v":3,')


def test_a_field_of_that_name_deeper_inside_is_the_callers_own():
    codec = codec_of(dict, 2, {1: lambda document: document})
    for record in ({"a": {"$v": 9}}, {"a": ["$v", {"$v": "x"}]}, {"$vv": 3, "$": 4, "v": 5}, {"a": '{"$v":7,'}):
        image = codec.encode("k", record)
        assert codec.decode("k", image) == record
        plain = msgspec.json.encode(record)
        assert codec.decode("k", plain) == record
        assert codec.upgraded("k", plain) == image


def test_a_version_of_more_digits():
    upgrades = {step: lambda document: {**document, "n": document["n"] + 1} for step in range(1, 1234)}
    codec = codec_of(dict, 1234, upgrades)
    assert codec.encode("k", {"n": 0}) == b'{"$v":1234,"n":0}'
    assert codec.decode("k", b'{"n":0}') == {"n": 1233}
    assert codec.decode("k", b'{"$v":123,"n":0}') == {"n": 1111}
    assert codec.decode("k", b'{"$v":1234,"n":0}') == {"n": 0}


# ---- what is refused


@pytest.mark.parametrize("record", [5, "x", None, [1], True], ids=str)
def test_only_objects_have_versions(record):
    with pytest.raises(ValidationError, match="a table with version=3 holds dicts") as caught:
        codec_of(Any).encode("k", record)
    assert (caught.value.table, caught.value.key) == ("t", "k")


def test_a_field_of_the_callers_own_may_not_stand_where_the_version_belongs():
    codec = codec_of(dict)
    for record in ({"$v": 3, "a": 1}, {"a": 1, "$v": "x"}, {"$v": None}):
        with pytest.raises(ValidationError, match="kept for the record's version") as caught:
            codec.encode("k", record)
        assert caught.value.path == "$.$v"
    for value in (4, UNSET):
        with pytest.raises(ValidationError, match="kept for the record's version"):
            codec.patch("k", CURRENT, {"$v": value})
    assert codec_of(dict, 1, None).encode("k", {"$v": 3}) == b'{"$v":3}'  # without versions it is a field as any


@pytest.mark.parametrize("marker", ["1", "0", "-3", "3.0", '"3"', "null", "true", "[3]", "{}"])
def test_what_is_no_version_is_not_taken_for_one(marker):
    image = b'{"$v":%s,"repoName":"shop"}' % marker.encode()
    codec = codec_of()
    assert not codec.current(image)
    for read in (codec.decode, codec.upgraded, lambda key, image: codec.patch(key, image, {"attempts": 1})):
        with pytest.raises(ValidationError, match=r"kept for the record.s version, and .* is none") as caught:
            read("k", image)
        assert caught.value.path == "$.$v"


@pytest.mark.parametrize("type", [Session, OpenSession, Job, Doc, dict, Any])
@pytest.mark.parametrize(
    "image", [LATER, b'{"a":1,"$v":4}', b'{ "$v": 4 }', b'{"$v":99999999999999999999}', b'{"$v":10,"a":1}']
)
def test_a_later_version_is_refused_and_named(type, image):
    codec = codec_of(type)
    uses = (
        codec.decode,
        codec.upgraded,
        codec.check_replaced,
        lambda key, image: codec.patch(key, image, {"attempts": 1}),
    )
    for use in uses:
        with pytest.raises(UnsupportedFormatError) as caught:
            use("k", image)
        message = str(caught.value)
        assert "table 't': key 'k'" in message
        assert f"of version {fields_of(image)['$v']}," in message
        assert "version 3" in message
        assert "next: use the newer program" in message
    assert not codec.current(image)


@pytest.mark.parametrize("type", [Session, OpenSession, Job, Doc])
def test_a_typed_table_without_versions_refuses_records_that_have_one(type):
    codec = RecordCodec("t", type)
    assert not codec.current(CURRENT)
    uses = (codec.decode, codec.upgraded, codec.check_replaced, lambda key, image: codec.patch(key, image, {}))
    for use in uses:
        with pytest.raises(UnsupportedFormatError, match=r"of version 3, and this program knows version 1"):
            use("k", CURRENT)


def test_a_typed_table_without_versions_writes_over_none_wherever_its_marker_stands():
    codec = RecordCodec("t", OpenSession)
    image = b'{"repoName":"shop","$v":3,"attempts":2}'
    with pytest.raises(UnsupportedFormatError):
        codec.patch("k", image, {"attempts": 3})
    with pytest.raises(UnsupportedFormatError):
        codec.keep_unknown("k", image, b'{"repoName":"x"}')


def test_an_untyped_table_without_versions_shows_documents_as_they_are():
    codec = RecordCodec("t", Any)
    assert codec.decode("k", CURRENT) == {"$v": 3, "repoName": "shop", "attempts": 2}
    assert codec.current(CURRENT)
    assert codec.patch("k", CURRENT, {"attempts": 3})[0] == b'{"$v":3,"repoName":"shop","attempts":3}'
    codec.check_replaced("k", LATER)


def test_in_tables_without_versions_a_field_that_is_no_version_is_a_field_as_any():
    class Own(msgspec.Struct, rename={"v": "$v"}):
        v: int

    assert RecordCodec("t", Own).decode("k", b'{"$v":3}') == Own(3)
    typed = RecordCodec("t", OpenSession)
    image = b'{"$v":"old","repoName":"shop"}'  # unknown to the type: ignored, and kept
    assert typed.decode("k", image) == OpenSession("shop")
    assert fields_of(typed.patch("k", image, {"attempts": 1})[0])["$v"] == "old"


def test_a_document_that_is_no_json_says_so():
    codec = codec_of()
    for image in (b"", b"{", b'{"$v":3,"repoName"', b'{"$v":2,"repoName"', b"\xff\xfe"):
        with pytest.raises(ValidationError, match="the stored record is no Session") as caught:
            codec.decode("k", image)
        assert (caught.value.table, caught.value.key) == ("t", "k")


# ---- upgrade functions


def test_an_upgrade_function_that_fails_is_named_with_its_cause():
    with pytest.raises(ValidationError, match=r"the upgrade from version 1 to 2 failed: KeyError: 'name'") as caught:
        codec_of().decode("k", b'{"title":"shop"}')
    assert (caught.value.table, caught.value.key) == ("t", "k")
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ValidationError, match=r"the upgrade from version 2 to 3 failed: ValueError") as caught:
        codec_of().decode("k", b'{"$v":2,"tries":"many"}')
    assert isinstance(caught.value.__cause__, ValueError)


def test_ctrl_c_in_an_upgrade_function_stays_ctrl_c():
    def interrupted(document):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        codec_of(dict, 2, {1: interrupted}).decode("k", b"{}")


@pytest.mark.parametrize("returned", [None, 5, "x", [{}], Session("x"), {"$v": 2}, {"$v": 1, "a": 2}], ids=repr)
def test_an_upgrade_function_returns_the_document(returned):
    codec = codec_of(Any, 2, {1: lambda document: returned})
    with pytest.raises(ValidationError, match="the upgrade from version 1 to 2 must return the document, a dict"):
        codec.decode("k", b'{"a":1}')


@pytest.mark.parametrize(
    ("returned", "path", "problem"),
    [
        ({"a": [1, float("nan")]}, "$.a[1]", "would come back as None"),
        ({"a": {"b": b"x"}}, "$.a.b", "would come back as"),
        ({"a": (1, 2)}, "$.a", "would come back as"),
        ({"a": datetime(2026, 1, 1)}, "$.a", "would come back as"),
        ({"a": 2**64}, "$.a", "64 bits"),
        ({"a": "\ud800"}, "$.a", "lone surrogate"),
        ({"a": {1: 2}}, "$.a", "would come back as"),
        ({"a": ...}, "$.a", "ellipsis"),
    ],
    ids=repr,
)
def test_what_an_upgrade_function_returns_must_be_storable(returned, path, problem):
    codec = codec_of(dict, 2, {1: lambda document: returned})
    for use in (codec.decode, codec.upgraded):
        with pytest.raises(ValidationError, match=problem) as caught:
            use("k", b"{}")
        assert "the record, upgraded from version 1 to 2, cannot be stored" in str(caught.value)
        assert (caught.value.table, caught.value.key, caught.value.path) == ("t", "k", path)


def test_what_an_upgrade_function_returns_must_fit_the_type():
    codec = codec_of(Session, 2, {1: lambda document: {"repoName": 5}})
    uses = (codec.decode, codec.upgraded, lambda key, image: codec.patch(key, image, {"repo_name": "x"}))
    for use in uses:
        with pytest.raises(
            ValidationError, match="upgraded from version 1 to 2, is no Session: Expected `str`"
        ) as caught:
            use("k", b"{}")
        assert (caught.value.key, caught.value.path) == ("k", "$.repoName")


def test_an_upgraded_record_may_not_be_over_the_limit():
    codec = codec_of(dict, 2, {1: lambda document: {"a": "x" * RECORD_BYTES_MAX}})
    with pytest.raises(TransactionTooLargeError):
        codec.decode("k", b"{}")


def test_a_record_may_not_be_over_the_limit_with_its_version():
    codec = codec_of(dict)
    record = {"a": "x" * (RECORD_BYTES_MAX - len('{"$v":3,"a":""}'))}
    assert len(codec.encode("k", record)) == RECORD_BYTES_MAX
    record["a"] += "x"
    with pytest.raises(TransactionTooLargeError):
        codec.encode("k", record)


def test_modify_may_not_take_a_record_over_the_limit_with_unknown_fields():
    codec = codec_of(OpenSession)
    before = b'{"$v":3,"repoName":"a","more":"%s"}' % (b"x" * RECORD_BYTES_MAX)
    with pytest.raises(TransactionTooLargeError):
        codec.keep_unknown("k", before, codec.encode("k", OpenSession("b")))


def test_an_upgrade_function_shares_nothing_with_anybody():
    shared: list[Any] = []
    seen = []

    def upgrade(document):
        seen.append(document)
        document["list"] = shared
        return document

    codec = codec_of(Any, 2, {1: upgrade})
    image = b'{"a":{"b":[]}}'
    first = codec.decode("k", image)
    first["list"].append(1)
    first["a"]["b"].append(2)
    seen[0]["a"]["b"].append(3)
    assert codec.decode("k", image) == {"a": {"b": []}, "list": []}
    assert shared == []
    assert image == b'{"a":{"b":[]}}'


def test_what_was_no_object_is_upgraded_too():
    codec = codec_of(Any, 2, {1: lambda value: {"value": value}})
    for value in (5, None, "x", [1, 2], 1.5, False, {"a": 1}):
        assert codec.decode("k", msgspec.json.encode(value)) == {"value": value}


def test_upgrade_functions_see_the_document_and_not_its_version():
    seen = []
    codec = codec_of(
        dict, 3, {1: lambda document: document, 2: lambda document: seen.append(dict(document)) or document}
    )
    codec.decode("k", b'{"$v":2,"a":1}')
    codec.decode("k", b'{"b":1,"a":1}')
    assert seen == [{"a": 1}, {"b": 1, "a": 1}]


def test_enc_hook_and_dec_hook_are_for_records_and_upgrade_functions_see_what_is_stored():
    class Money:
        def __init__(self, cents):
            self.cents = cents

        def __eq__(self, other):
            return isinstance(other, Money) and self.cents == other.cents

        __hash__ = None

    class Order(msgspec.Struct):
        total: Money

    codec = codec_of(
        Order,
        2,
        {1: lambda document: {"total": document["price"] * 100}},
        enc_hook=lambda money: money.cents,
        dec_hook=lambda type, cents: Money(cents),
    )
    assert codec.decode("k", b'{"price":3}') == Order(Money(300))
    assert codec.encode("k", Order(Money(5))) == b'{"$v":2,"total":5}'
    assert codec.patch("k", b'{"price":3}', {"total": Money(7)}) == (b'{"$v":2,"total":7}', Order(Money(7)))


# ---- changing


def test_patch_upgrades_first_and_keeps_what_the_type_does_not_know():
    codec = codec_of(OpenSession)
    image, record = codec.patch("k", b'{"name":"shop","more":[1],"tries":"2"}', {"attempts": 5})
    assert record == OpenSession("shop", 5)
    assert fields_of(image) == {"$v": 3, "more": [1], "repoName": "shop", "attempts": 5}
    assert image.startswith(b'{"$v":3,')
    image, record = codec.patch("k", image, {"attempts": UNSET})
    assert (record, fields_of(image)) == (OpenSession("shop"), {"$v": 3, "more": [1], "repoName": "shop"})


def test_a_patch_without_changes_stores_the_current_version():
    assert codec_of().patch("k", OLD, {}) == (CURRENT, Session("shop", 2))


def test_unknown_fields_of_an_old_record_survive_modify():
    codec = codec_of(OpenSession)
    before = b'{"more":{"a":1},"name":"shop","tries":"2"}'
    image = codec.keep_unknown("k", before, codec.encode("k", OpenSession("new", 7)))
    assert fields_of(image) == {"$v": 3, "more": {"a": 1}, "repoName": "new", "attempts": 7}
    assert image.startswith(b'{"$v":3,')
    for unchanged in (OLD, MIDDLE, CURRENT):
        assert codec.keep_unknown("k", unchanged, CURRENT) == CURRENT
    reordered = b'{"attempts":1,"more":0,"$v":3,"repoName":"a"}'
    assert codec.keep_unknown("k", reordered, CURRENT) == b'{"$v":3,"attempts":2,"more":0,"repoName":"shop"}'
    with pytest.raises(UnsupportedFormatError):
        codec.keep_unknown("k", LATER, CURRENT)


# ---- properties


plain_objects = json_objects.filter(lambda document: "$v" not in document)
versions = st.integers(2, 40)
quick = settings(database=None, deadline=None, max_examples=150)


@quick
@given(record=plain_objects, version=versions, data=st.data())
def test_any_record_of_any_version_comes_back(record, version, data):
    codec = codec_of(dict, version, {step: lambda document: document for step in range(1, version)})
    image = codec.encode("k", record)
    assert fields_of(image) == {"$v": version, **record}
    assert codec.current(image)
    assert codec.decode("k", image) == record
    stored = data.draw(st.integers(1, version))
    names = data.draw(st.permutations([*record, "$v"] if stored > 1 else list(record)))
    document = {**record, "$v": stored}
    image = json.dumps({name: document[name] for name in names}, indent=data.draw(st.none() | st.just(2))).encode()
    assert codec.current(image) == (stored == version)
    assert codec.decode("k", image) == record
    upgraded = codec.upgraded("k", image)
    assert fields_of(upgraded) == {"$v": version, **record}
    assert codec.current(upgraded)
    patched, after = codec.patch("k", image, {"new": 1})
    assert after == {**record, "new": 1}
    assert fields_of(patched) == {"$v": version, **after}


@quick
@given(document=plain_objects, stored=versions, declared=versions)
def test_the_functions_from_the_stored_to_the_declared_version_run_once_each_and_in_order(document, stored, declared):
    def step(number):
        return lambda document: {**document, "way": [*document.get("way", []), number]}

    document.pop("way", None)
    codec = codec_of(dict, declared, {number: step(number) for number in range(1, declared)})
    image = msgspec.json.encode({"$v": stored, **document})
    if stored > declared:
        with pytest.raises(UnsupportedFormatError):
            codec.decode("k", image)
        return
    way = list(range(stored, declared))
    assert codec.decode("k", image) == {**document, **({"way": way} if way else {})}


@quick
@given(value=json_values)
def test_whatever_is_stored_is_a_record_or_a_clear_error(value):
    image = msgspec.json.encode(value)
    for codec in (
        codec_of(dict, 2, {1: lambda document: document}),
        codec_of(OpenSession, 2, {1: lambda document: document}),
        RecordCodec("t", OpenSession),
        RecordCodec("t", Any),
    ):
        try:
            codec.decode("k", image)
        except (ValidationError, UnsupportedFormatError):
            continue
        assert codec.current(codec.upgraded("k", image))


# ---- tables


@pytest.fixture
def tables(db):
    """The same table without versions, and at version 3."""
    return db.table("t"), db.table("t", OpenSession, version=3, upgrades=UPGRADES)


def test_old_records_are_upgraded_on_read_and_written_back_only_on_write(db, tables):
    raw, current = tables
    for key in ("modified", "patched", "put", "read", "replaced"):
        raw[key] = {"name": key, "tries": "2", "more": 1}
    before = db.position()
    assert {key: record.repo_name for key, record in current.items()} == {key: key for key in raw}
    assert current["read"] == current.get("read") == OpenSession("read", 2)
    assert db.position() == before

    current.patch("patched", {"attempts": 3})
    current.modify("modified", lambda record: OpenSession(record.repo_name, record.attempts + 1))
    assert current.replace("replaced", OpenSession("replaced", 2), OpenSession("new", 5))
    current["put"] = OpenSession("put", 6)
    assert dict(raw) == {
        "modified": {"$v": 3, "more": 1, "repoName": "modified", "attempts": 3},
        "patched": {"$v": 3, "more": 1, "repoName": "patched", "attempts": 3},
        "put": {"$v": 3, "repoName": "put", "attempts": 6},
        "read": {"name": "read", "tries": "2", "more": 1},
        "replaced": {"$v": 3, "repoName": "new", "attempts": 5},
    }
    assert current.pop("read") == OpenSession("read", 2)


def test_versions_survive_a_checkpoint_and_a_reopening(open_db):
    with open_db() as db:
        db.table("t")["old"] = {"name": "shop", "tries": "2"}
        db.table("t", Session, version=3, upgrades=UPGRADES)["new"] = Session("shop", 2)
        db.checkpoint()
    with open_db() as db:
        assert dict(db.table("t", Session, version=3, upgrades=UPGRADES)) == {
            "new": Session("shop", 2),
            "old": Session("shop", 2),
        }


def test_an_older_program_leaves_later_records_alone(db, tables):
    raw, newer = tables
    newer["a"] = OpenSession("shop", 2)
    older = db.table("t", OpenSession, version=2, upgrades={1: v1_to_v2})
    unaware = db.table("t", OpenSession)
    before = db.position()
    refused = [
        lambda table: table["a"],
        lambda table: table.get("a"),
        lambda table: table.get_many(["a"]),
        lambda table: dict(table),
        lambda table: list(table.scan()),
        lambda table: table.patch("a", {"attempts": 9}),
        lambda table: table.modify("a", lambda record: record),
        lambda table: table.replace("a", OpenSession("shop", 2), OpenSession("x")),
        lambda table: table.pop("a"),
        lambda table: table.setdefault("a", OpenSession("x")),
    ]
    for table in (older, unaware):
        for use in refused:
            with pytest.raises(UnsupportedFormatError, match=r"of version 3, and this program knows version [12];"):
                use(table)
        with pytest.raises(DuplicateKeyError):
            table.insert("a", OpenSession("x"))
    assert db.position() == before
    assert raw["a"] == {"$v": 3, "repoName": "shop", "attempts": 2}


def test_put_over_a_later_record_is_refused_where_versions_are_declared(db, tables):
    raw, newer = tables
    newer["a"] = OpenSession("shop", 2)
    older = db.table("t", OpenSession, version=2, upgrades={1: v1_to_v2})
    puts = [
        lambda: older.put("a", OpenSession("x")),
        lambda: older.__setitem__("a", OpenSession("x")),
        lambda: older.put_many({"b": OpenSession("y"), "a": OpenSession("x")}),
        lambda: older.update({"a": OpenSession("x")}),
    ]
    for put in puts:
        with pytest.raises(UnsupportedFormatError, match="left as it is"):
            put()
    assert dict(raw) == {"a": {"$v": 3, "repoName": "shop", "attempts": 2}}
    del older["a"]  # says what it does
    older["a"] = OpenSession("x")
    assert raw["a"] == {"$v": 2, "repoName": "x", "attempts": 0}
    assert newer["a"] == OpenSession("x")  # upgraded by 2 -> 3: no tries there


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("location", ["x.json", "x.db", "x.lmdb", "memory:"])
def test_find_looks_at_upgraded_documents_on_every_backend(tmp_path, monkeypatch, location, checkpointed):
    if location == "x.lmdb":
        pytest.importorskip("lmdb")
    monkeypatch.chdir(tmp_path)
    with sessiondb.open(location) as db:
        raw, current = db.table("t"), db.table("t", OpenSession, version=3, upgrades=UPGRADES)
        raw.put_many({"v1": {"name": "shop", "tries": "2"}, "v2": {"$v": 2, "repoName": "shop", "tries": "3"}})
        current.put_many({"v3": OpenSession("shop", 4), "x": OpenSession("other", 4)})
        raw["y"] = {"attempts": 4, "repoName": "shop", "$v": 3}  # by hand, in another order
        if checkpointed:
            db.checkpoint()

        def keys(*args, **options):
            return [key for key, _ in current.find(*args, **options)]

        assert keys({"repo_name": "shop"}) == ["v1", "v2", "v3", "y"]
        assert keys({"attempts": between(3, None)}, order_by=["-attempts"]) == ["v3", "x", "y", "v2"]
        assert keys({"attempts": absent}) == []
        assert current.count(where={"repo_name": "shop"}) == 4
        assert [record for _, record in current.find(order_by="attempts", limit=1)] == [OpenSession("shop", 2)]
        assert current.indexes() == []
        raw["z"] = {"$v": 4, "repoName": "shop"}
        if checkpointed:
            db.checkpoint()
        with pytest.raises(UnsupportedFormatError, match="key 'z': the record is of version 4"):
            keys({"repo_name": "somebody else's"})


def test_an_upgrade_that_fails_names_table_key_and_version_wherever_it_is_met(db, tables):
    raw, current = tables
    raw["bad"] = {"title": "no name"}
    current["good"] = OpenSession("shop")
    for use in (
        lambda: current["bad"],
        lambda: list(current.scan()),
        lambda: list(current.find({"attempts": 1})),
        lambda: current.patch("bad", {"attempts": 1}),
    ):
        with pytest.raises(ValidationError, match="table 't': key 'bad': the upgrade from version 1 to 2 failed"):
            use()
    assert raw["bad"] == {"title": "no name"}
    current["bad"] = OpenSession("mended")  # replaces it wholesale
    assert current["bad"] == OpenSession("mended")


def test_one_line_opens_a_table_with_a_version(path):
    with sessiondb.table(path, "t", Session, version=3, upgrades=UPGRADES) as t:
        t["a"] = Session("shop")
    with sessiondb.table(path, "t") as t:
        assert t["a"] == {"$v": 3, "repoName": "shop", "attempts": 0}


def test_the_version_reads_as_a_field_of_the_document():
    """What finding old records relies on."""
    reader = FieldReader(["$v"])
    assert [reader.read(image)[0] for image in (OLD, MIDDLE, CURRENT)] == [UNSET, 2, 3]
