"""The JSON file keeps which fields have an index; the index itself is made in memory."""

import hashlib
import json
import threading

import pytest

import sessiondb
from sessiondb.backend import Position, TableChanges
from sessiondb.query import Condition, Equal
from sessiondb.testing import FaultyFiles
from sessiondb_backends.json_file import JsonFileBackend
from sessiondb_backends.json_format import HEADER_BYTES, Header, decode_body, encode_header


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.json"


@pytest.fixture
def backend(path):
    return JsonFileBackend.open(FaultyFiles(), str(path), create=True)


def declare(backend, table, *fields, images=None, keep=True):
    changes = {table: TableChanges("json", False, images or {}, dict.fromkeys(fields, keep))}
    position = backend.position()
    backend.apply(changes, position, Position(1, position.lsn + 1), lambda: None)


def body(path):
    return path.read_bytes()[HEADER_BYTES:]


def test_the_fields_stand_at_the_end_a_table_a_line_in_order(backend, path):
    declare(backend, "t", "b", "é", 'a"b', images={"k": b'{"b":1}'})
    declare(backend, "s", "x")
    assert body(path).decode().splitlines() == [
        '"tables":{', '"s":{', "},", '"t":{', '"k":{"b":1}', "}", "},", '"bytes_tables":{', "},",
        '"indexes":{', '"s":["x"],', r'"t":["a\"b","b","é"]', "}", "}",
    ]  # fmt: skip
    assert json.loads(path.read_bytes())["indexes"] == {"s": ["x"], "t": ['a"b', "b", "é"]}


def test_without_an_index_the_file_is_as_it_always_was(backend, path):
    declare(backend, "t", images={"k": b'{"b":1}'})
    before = body(path)
    assert b"indexes" not in before
    declare(backend, "t", "b")
    assert body(path) != before
    declare(backend, "t", "b", keep=False)
    assert body(path) == before


def rewritten(path, old, new):
    """The file with another body, under a right digest: a hand that knows the format wrote it."""
    backend = JsonFileBackend.open(FaultyFiles(), str(path), create=False)
    changed = body(path).replace(old, new)
    assert changed != body(path)
    header = Header(backend.identity(), backend.position(), hashlib.sha256(changed).hexdigest())
    path.write_bytes(encode_header(header) + changed)


@pytest.mark.parametrize(
    "indexes",
    [
        b'"u":["b"]', b'"blobs":["b"]', b'"t":"b"', b'"t":[1]', b'"t":{"b":1}', b'"t":[null]',
        b'"t":["b"],"blobs":["b"]',
        b'"t":[]', b'"t":["b","b"]', b'"t":["c","b"]',
    ],
    ids=ascii,
)  # fmt: skip
def test_indexes_of_another_form_are_damage(backend, path, indexes):
    blobs = {"blobs": TableChanges("bytes", False, {"x": b"\0"})}
    backend.apply(blobs, Position(1, 0), Position(1, 1), lambda: None)
    declare(backend, "t", "b", images={"k": b'{"b":1}'})
    rewritten(path, b'"t":["b"]', indexes)
    before = path.read_bytes()
    with pytest.raises(sessiondb.CorruptionError, match="does not parse"):
        JsonFileBackend.open(FaultyFiles(), str(path), create=False)
    assert path.read_bytes() == before


def test_no_record_is_read_to_open_a_store_with_indexes(backend, path):
    """Records keep their bytes, whatever they are; the index is made when it is first asked."""
    declare(backend, "t", "b", images={"k": b'{"b":1}'})
    state = decode_body(body(path))
    assert state["t"].indexes == {"b": None}


def test_check_finds_an_index_that_does_not_agree(backend):
    declare(backend, "t", "b", images={f"k{n}": b'{"b":%d}' % (n % 3) for n in range(30)})
    view = backend.read()
    where = (Condition("b", Equal(1)),)
    assert view.count_found("t", where) == 10
    assert backend.check() == []
    view.state["t"].index("b")._base.discard(1, "k4")
    (problem,) = backend.check()
    assert "'b'" in problem
    assert "'t'" in problem


def test_check_finds_declarations_that_are_not_in_the_file(backend, path):
    declare(backend, "t", "b")
    rewritten(path, b'"t":["b"]', b'"t":["c"]')
    (problem,) = backend.check()
    assert "holds other" in problem


def test_a_check_while_a_checkpoint_replaces_the_file_finds_nothing_wrong(path):
    """Between the rename and the end of `apply` the file was newer than the state in memory, and check() said so.

    The checkpoint that `create_index` begins ran into a `Database.check` of the same thread.
    """
    files = FaultyFiles()
    backend = JsonFileBackend.open(files, str(path), create=True)
    compare, compared, problems = backend._compare, [], []
    first = threading.Event()

    def watched():
        compared.append(compare())
        first.set()
        return compared[-1]

    def in_the_middle(operation, where):
        if operation == "replace":
            checker.start()
            assert first.wait(30)

    backend._compare = watched
    checker = threading.Thread(target=lambda: problems.extend(backend.check()))
    files.after = in_the_middle
    declare(backend, "t", "b", images={"k": b'{"b":1}'})
    checker.join()
    assert len(compared) == 2
    assert compared[0] != []
    assert problems == compared[1] == []
