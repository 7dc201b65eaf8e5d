"""The specification in ``docs/format`` says what the code does: its tables and its examples are checked."""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from pathlib import Path

import pytest

from golden import annotate
from golden.annotate import Field
from sessiondb.wal import format as log_format
from sessiondb.wal.operations import Delete, Drop, Index, Put, PutBytes, Unindex
from sessiondb_backends import json_format, lmdb_format, sqlite_schema

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs" / "format"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
EXAMPLE = re.compile(r"^```text golden=(\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FIELD_ROW = re.compile(r"^\| (\d+) \| (\d+) \| (\w+) \|", re.MULTILINE)
ANY_SLOT = log_format.HeadSlot(bytes(16), bytes(16), 1, 1, log_format.SegmentName(1, 1), 0, 0, 0, 0)
EXAMPLES = [
    pytest.param(page, name, lines, id=f"{page}-{number}")
    for page, text in PAGES.items()
    for number, (name, lines) in enumerate(EXAMPLE.findall(text))
]


def test_every_format_has_its_page() -> None:
    formats = {
        "content-digest.md",
        "head.md",
        "json.md",
        "lmdb.md",
        "log.md",
        "postgres.md",
        "session-layouts.md",
        "sqlite.md",
    }
    assert set(PAGES) == formats


def test_every_format_whose_bytes_are_all_ours_has_a_worked_example() -> None:
    """The files of SQLite and LMDB also depend on the versions of those libraries: no golden files of them."""
    assert {page for page, text in PAGES.items() if EXAMPLE.search(text)} == {"head.md", "json.md", "log.md"}


@pytest.mark.parametrize(("page", "name", "lines"), EXAMPLES)
def test_a_worked_example_stands_line_for_line_in_the_golden_files(page: str, name: str, lines: str) -> None:
    assert lines in (HERE / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "tables"),
    [
        ("log.md", [annotate.SEGMENT, annotate.FRAME]),
        ("head.md", [annotate.SLOT, annotate.WORDS, annotate.DURABLE]),
    ],
)
def test_the_tables_of_fields_are_those_that_the_golden_files_were_annotated_with(
    page: str, tables: list[list[Field]]
) -> None:
    rows = [Field(int(offset), int(width), name) for offset, width, name in FIELD_ROW.findall(PAGES[page])]
    assert rows == [field for table in tables for field in table]


@pytest.mark.parametrize(
    ("table", "size"),
    [
        (annotate.SEGMENT, log_format.SEGMENT_HEADER_BYTES),
        (annotate.FRAME, log_format.FRAME_HEADER_BYTES),
        (annotate.SLOT, len(log_format.encode_slot(ANY_SLOT))),
        (annotate.WORDS, log_format.GENERATION_OFFSET + 8 - log_format.OWNER_OFFSET),
        (annotate.DURABLE, log_format.durable_offset(1) - log_format.durable_offset(0)),
    ],
)
def test_a_table_of_fields_has_no_gap_and_no_overlap(table: list[Field], size: int) -> None:
    assert [field.offset for field in table] == [0, *(field.offset + field.width for field in table)][:-1]
    assert table[-1].offset + table[-1].width == size


def test_the_constants_that_the_pages_name_are_those_of_the_code() -> None:
    log, head, json = PAGES["log.md"], PAGES["head.md"], PAGES["json.md"]
    assert f"# The log's files, version {log_format.FORMAT_VERSION}" in log
    assert f"# The JSON file, version {json_format.FORMAT_VERSION}" in json
    assert f"# The SQLite file, version {sqlite_schema.FORMAT_VERSION}" in PAGES["sqlite.md"]
    assert f", version {lmdb_format.FORMAT_VERSION}" in PAGES["lmdb.md"].splitlines()[0]
    assert log_format.PAYLOAD_BYTES_MAX == 2**30
    assert "at most 2^30" in log
    assert f"{log_format.HEAD_BYTES:,} bytes" in head
    assert f"{log_format.DURABLE_ENTRIES} entries" in head
    assert f"| header line | {json_format.HEADER_BYTES} |" in json
    for kind, name in annotate.KINDS.items():
        assert f"{kind} {name}" in log
    for state, name in annotate.STATE_NAMES.items():
        assert f"{state} {name}" in head
    for operation in (Put, PutBytes, Delete, Drop, Index, Unindex):
        config = operation.__struct_config__
        assert f"| {config.tag} | `[{config.tag}, {', '.join(operation.__struct_fields__)}]` |" in log


def test_the_digest_of_the_worked_example_can_be_checked_with_standard_tools() -> None:
    data = (HERE / "v1/checkpointed/store/store.json").read_bytes()
    assert hashlib.sha256(data[256:]).hexdigest() in PAGES["json.md"]


def test_a_segment_can_be_read_by_the_specification_alone() -> None:
    """A reader that knows only the tables of log.md finds the same frames: nothing is left unsaid."""
    data = next((HERE / "v1/operations/store/store.json.wal").glob("*.seg")).read_bytes()
    header = {name: data[offset : offset + width] for offset, width, name in annotate.SEGMENT}
    assert zlib.crc32(data[:124]) == int.from_bytes(header["crc"], "little")
    salt, previous = int.from_bytes(header["salt"], "little"), int.from_bytes(header["crc"], "little")
    lsns, at = [], 128
    while True:
        crc, length, lsn, payload_crc, kind, _, _, prev, undurable, _ = struct.unpack_from("<IIQIBBHIIQ", data, at)
        if kind == 0 or zlib.crc32(data[at + 4 : at + 40], salt) != crc:
            break
        assert prev == previous
        assert zlib.crc32(data[at + 40 : at + 40 + length], salt) == payload_crc
        lsns.append((lsn, lsn - undurable))
        previous, at = crc, at + 40 + length + -length % 8
    assert lsns == [(1, 0), (2, 1), (3, 2), (4, 3), (5, 3), (6, 3), (7, 6)]
