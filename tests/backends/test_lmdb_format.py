"""The bytes of a store in LMDB: states, directory entries, values and index keys."""

import json
import re
import zlib
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sessiondb.backend import Identity, Position
from sessiondb.query import ABSENT, rank
from sessiondb_backends import lmdb_format
from sessiondb_backends.lmdb_format import (
    INDEX_KEY_BYTES_MAX,
    RESIDUE,
    State,
    TableRecord,
    decode_state,
    decode_table,
    decode_value,
    encode_state,
    encode_table,
    encode_value,
    index_key,
    is_cut,
    table_key,
    table_name,
)

STATE = State(Identity(bytes(range(16)), 1), Position(3, 2**63 + 1))


def test_a_state_is_48_bytes_and_comes_back():
    data = encode_state(STATE)
    assert len(data) == 48
    assert decode_state(data) == STATE


@pytest.mark.parametrize("place", range(48))
def test_a_state_with_any_wrong_byte_is_none(place):
    data = bytearray(encode_state(STATE))
    data[place] ^= 0x10
    assert decode_state(bytes(data)) is None
    assert decode_state(encode_state(STATE)[:place]) is None


def test_a_later_version_is_told_by_its_number_whatever_else_it_holds():
    body = lmdb_format.MAGIC + (7).to_bytes(4, "little") + b"something new"
    assert decode_state(body + zlib.crc32(body).to_bytes(4, "little")).identity.format_version == 7


def test_a_directory_entry_comes_back_and_no_wrong_byte_is_taken():
    record = TableRecord(7, "json", {"task_id": 1, 'é"': 2})
    data = encode_table(b"t:t", record)
    assert decode_table(b"t:t", data) == record
    assert decode_table(b"t:u", data) is None
    assert json.loads(data[:-4]) == {"id": 7, "kind": "json", "indexes": {"task_id": 1, 'é"': 2}}
    for place in range(len(data)):
        assert decode_table(b"t:t", data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]) is None
        assert decode_table(b"t:t", data[:place]) is None


def test_a_directory_entry_that_is_none_is_damage_even_with_a_good_checksum():
    for body in (b"", b"{}", b'{"id":"1","kind":"json"}', b'{"id":1,"kind":"text"}', b'{"id":1,"kind":"json","x":1}'):
        assert decode_table(b"t:t", body + zlib.crc32(b"t:t" + body).to_bytes(4, "little")) is None


def test_any_table_name_comes_back():
    for name in ("t", "é😀", "t:", " ", "'\""):
        assert table_name(table_key(name)) == name


@given(st.integers(1, 10**6), st.binary(min_size=1, max_size=480), st.binary(max_size=400))
def test_a_value_comes_back_for_its_table_and_key_only(table, key, image):
    value = encode_value(table, key, image)
    assert value[:-4] == image
    assert zlib.crc32(value, zlib.crc32(key, table)) == RESIDUE
    assert decode_value(table, key, value) == image
    assert decode_value(table, key + b"x", value) is None
    assert decode_value(table ^ 1, key, value) is None
    for cut in (value[:-1], value[1:], b""):
        assert decode_value(table, key, cut) is None


# ---- index keys

texts = st.text(max_size=20) | st.text(alphabet="xy\0é😀", min_size=480, max_size=520)
numbers = (
    st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**40), 10**40)
    | st.integers(-1074, 1023).map(lambda exponent: 2.0**exponent)
    | st.sampled_from([2**53, 2**53 + 1, 2.0**53, 2**63, 2.0**63, 2**64 - 1, 2.0**64, 2**64 + 1, -0.0, 5e-324, 1e308])
)
values = st.one_of(
    st.just(ABSENT), st.none(), st.booleans(), numbers, texts, st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(0, 3), max_size=2),
)  # fmt: skip


@given(values, values)
@example(True, 1)
@example(1, 1.0)
@example(0.0, -0.0)
@example(2**64 - 1, 2.0**64)
@example(2**53 + 1, 2.0**53)
@example(2**64 + 1, 2**64)
@example(-(2**64) - 1, -(2**64))
@example(5e-324, 0)
@example("a", "a\0")
@example("", [])
@example("x" * 509, "x" * 510)
@example("x" * 600 + "a", "x" * 600 + "b")
def test_index_keys_sort_as_values_do(one, other):
    """Equal keys mean equal values, unless a key says that it was cut."""
    a, b = index_key(one), index_key(other)
    assert 0 < len(a) <= INDEX_KEY_BYTES_MAX
    nothing = (None, ABSENT)
    if one in nothing or other in nothing:
        assert (a == b) == (one is other)
        assert (a < lmdb_format.FIRST_VALUE) == (one in nothing)
        return
    assert lmdb_format.FIRST_VALUE <= a < lmdb_format.BEHIND_VALUES
    if rank(one) == rank(other):
        assert a == b
    elif rank(one) < rank(other):
        assert a < b or (a == b and is_cut(a))


@given(texts)
def test_a_text_longer_than_a_key_is_cut_and_its_length_says_so(text):
    key = index_key(text)
    assert key == b"\x30" + text.encode()[:510]
    assert is_cut(key) == (len(text.encode()) >= 510) == (len(key) == INDEX_KEY_BYTES_MAX)


def test_numbers_of_all_sizes_are_in_order():
    ordered = [
        -1e30, -(10**30) - 1, -(2.0**64), -(2**63), -(2**53) - 1, -(2.0**53), -1.5, -1, -0.5, -5e-324, 0, 5e-324,
        2.2250738585072014e-308, 0.1, 0.5, 1, 1 + 2**-52, 1.5, 2, 10, 2.0**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1,
        2.0**64, 2**64 + 1, 1e22, 1e308, 10**400, float("inf"),
    ]  # fmt: skip
    keys = [index_key(number) for number in ordered]
    assert all(low < high for low, high in pairwise(keys))


def test_a_number_is_written_as_the_format_says():
    assert index_key(1).hex() == "20" + "81" + "4001" + "8000000000000000" + "00"
    assert index_key(-1.0).hex() == "20" + "7f" + "bffe" + "7fffffffffffffff" + "ff"
    assert index_key(0.5).hex() == "20" + "81" + "4000" + "8000000000000000" + "00"
    assert index_key(2**64 - 1).hex() == "20" + "81" + "4040" + "ffffffffffffffff" + "00"
    assert index_key(2**64 + 1).hex() == "20" + "81" + "4041" + "8000000000000000" + "01"
    assert index_key(0).hex() == "2080"
    assert (index_key(False).hex(), index_key(True).hex()) == ("1000", "1001")
    assert (index_key(None).hex(), index_key(ABSENT).hex()) == ("01", "02")
    assert index_key("é") == b"\x30\xc3\xa9"
    assert index_key([1]) == b"\x40" + msgspec.json.encode([1])


# ---- the specification

PAGE = (Path(__file__).parents[2] / "docs" / "format" / "lmdb.md").read_text("utf-8")


def line_of(*parts):
    """A line of an example, however wide its columns are."""
    return [line for line in PAGE.splitlines() if line.replace(" ", "").startswith("".join(parts))]


def test_the_worked_example_is_what_the_code_writes():
    uuid = bytes.fromhex("00112233445566778899aabbccddeeff")
    state = encode_state(State(Identity(uuid, 1), Position(1, 9)))
    entry = encode_table(b"t:sessions", TableRecord(1, "json", {"branch": 1}))
    value = encode_value(1, b"task-1", b'{"branch":"fix"}')
    assert line_of("sessiondb", "state", state.hex())
    assert line_of("sessiondb", table_key("sessions").decode(), entry[:-4].decode(), entry[-4:].hex())
    assert line_of("t1", "task-1", value[:-4].decode(), value[-4:].hex())
    assert line_of("i1", index_key("fix").hex(), "task-1")
    for number in (None, False, True, -1.5, 0, 1, 2**53 + 1, 2**64 - 1, [1]):
        assert line_of(json.dumps(number), index_key(number).hex())


def test_a_state_can_be_read_by_the_specification_alone():
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\w+) \|", PAGE, re.MULTILINE)
    fields = {name: encode_state(STATE)[int(at) : int(at) + int(width)] for at, width, name in rows}
    assert fields["magic"] == b"sdblmdb\n"
    assert fields["uuid"] == STATE.identity.uuid
    numbers = {name: int.from_bytes(data, "little") for name, data in fields.items()}
    assert (numbers["format"], numbers["epoch"], numbers["lsn"]) == (1, STATE.position.epoch, STATE.position.lsn)
    assert numbers["crc"] == zlib.crc32(encode_state(STATE)[:44])
    assert f"`0x{RESIDUE:08X}`" in PAGE
