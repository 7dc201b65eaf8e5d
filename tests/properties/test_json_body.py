"""The JSON file's bytes: any tables, keys and records come back, and the file is JSON that anybody can read."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from properties.strategies import any_keys, blobs, json_values, table_names
from sessiondb.backend import Identity, Position
from sessiondb.errors import UnsupportedFormatError
from sessiondb_backends.json_format import (
    FORMAT_VERSION,
    HEADER_BYTES,
    Header,
    decode_body,
    decode_header,
    encode_body,
    encode_header,
)
from sessiondb_backends.resident import ResidentTable

json_tables = st.dictionaries(any_keys, json_values.map(msgspec.json.encode), max_size=5)
bytes_tables = st.dictionaries(any_keys, blobs, max_size=5)
states = st.dictionaries(
    table_names,
    json_tables.map(lambda records: ResidentTable("json", records))
    | bytes_tables.map(lambda records: ResidentTable("bytes", records)),
    max_size=3,
)
headers = st.builds(
    Header,
    st.builds(Identity, st.binary(min_size=16, max_size=16), st.just(FORMAT_VERSION)),
    st.builds(Position, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)),
    st.text(alphabet="0123456789abcdef", min_size=64, max_size=64),
)


def plain(state: dict[str, ResidentTable]) -> dict[str, Any]:
    return {name: (table.kind, table.records) for name, table in state.items()}


def test_a_body_comes_back_as_it_was_whatever_the_size_of_its_pieces(effort: settings) -> None:
    @effort
    @given(states, st.integers(1, 4))
    def check(state: dict[str, ResidentTable], slice_records: int) -> None:
        body = b"".join(encode_body(state, slice_records))
        assert plain(decode_body(body)) == plain(state)
        assert body == b"".join(encode_body(state, 1_000))

    check()


def test_the_whole_file_is_json_with_a_record_a_line_in_key_order(effort: settings) -> None:
    @effort
    @given(headers, states)
    def check(header: Header, state: dict[str, ResidentTable]) -> None:
        text = (encode_header(header) + b"".join(encode_body(state, 2))).decode()
        parsed, rows = json.loads(text), text.split("\n")
        assert parsed["sessiondb"]["lsn"] == header.position.lsn
        for name, table in state.items():
            shown = parsed["tables" if table.kind == "json" else "bytes_tables"][name]
            assert list(shown) == sorted(table.records, key=str.encode)
            for key, image in table.records.items():
                assert shown[key] == (json.loads(image) if table.kind == "json" else base64.b64encode(image).decode())
                assert (
                    f"{msgspec.json.encode(key).decode()}:" in {row[: row.find(":") + 1] for row in rows} or ":" in key
                )
        assert text.endswith("}\n}\n")

    check()


def test_a_header_line_comes_back_as_it_was(effort: settings) -> None:
    @effort
    @given(headers, st.binary(max_size=20))
    def check(header: Header, behind: bytes) -> None:
        line = encode_header(header)
        assert len(line) == HEADER_BYTES
        assert line.endswith(b"\n")
        assert decode_header(line + behind) == header

    check()


def test_a_cut_header_line_is_none(effort: settings) -> None:
    @effort
    @given(headers, st.integers(0, HEADER_BYTES - 1))
    def check(header: Header, length: int) -> None:
        assert decode_header(encode_header(header)[:length]) is None

    check()


def test_any_changed_bit_of_a_header_is_noticed(effort: settings) -> None:
    """A bit that flips in the padding may be harmless: then the header is the same."""

    @settings(effort, max_examples=effort.max_examples // 20)
    @given(headers)
    def check(header: Header) -> None:
        line = encode_header(header)
        for bit in range(8 * HEADER_BYTES):
            changed = line[: bit // 8] + bytes([line[bit // 8] ^ 1 << bit % 8]) + line[bit // 8 + 1 :]
            try:
                assert decode_header(changed) is None
            except UnsupportedFormatError:
                assert line.index(b'"format":') < bit // 8 < line.index(b',"uuid"')

    check()


@pytest.mark.parametrize("version", [2, 10, 999_999_999])
def test_a_later_version_of_the_file_is_named(version: int) -> None:
    header = Header(Identity(bytes(16), version), Position(1, 2), "0" * 64)
    with pytest.raises(UnsupportedFormatError, match=f"version {version}"):
        decode_header(encode_header(header))


def test_a_body_that_is_none_is_a_value_error_and_nothing_else(effort: settings) -> None:
    @effort
    @given(states, st.data())
    def check(state: dict[str, ResidentTable], data: st.DataObject) -> None:
        body = b"".join(encode_body(state, 2))
        at = data.draw(st.integers(0, len(body) - 1))
        byte = data.draw(st.integers(0, 255))
        for damaged in (body[:at], body[:at] + bytes([byte]) + body[at + 1 :]):
            try:
                decode_body(damaged)
            except ValueError:
                continue

    check()
