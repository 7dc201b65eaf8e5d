"""CPython's own tests of the mapping protocol, against a table: plain, and opened again before each read."""

from collections.abc import MutableMapping
from itertools import count

import pytest

import sessiondb
from sessiondb.testing import FaultyFiles

mapping_tests = pytest.importorskip("test.mapping_tests", reason="this interpreter comes without its test suite")


class TestPlain(mapping_tests.BasicTestMappingProtocol):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path):
        self.paths = (tmp_path / f"{number}.json" for number in count())
        self.files = FaultyFiles()

    def _reference(self):
        reference = super()._reference()
        return {key: list(value) if isinstance(value, tuple) else value for key, value in reference.items()}

    def _empty_mapping(self):
        table = sessiondb.table(next(self.paths), files=self.files, sync="never")
        self.addCleanup(table.close)
        return table


class Reopening(MutableMapping):
    """A table that is closed and opened again before each read; every method is the table's own."""

    def __init__(self, path, files):
        self.path = path
        self.files = files
        self.open()

    def open(self):
        self.table = sessiondb.table(self.path, files=self.files, sync="never")

    def close(self):
        self.table.close()

    @property
    def stored(self):
        self.close()
        self.open()
        return self.table

    def __getitem__(self, key):
        return self.stored[key]

    def __setitem__(self, key, record):
        self.table[key] = record

    def __delitem__(self, key):
        del self.table[key]

    def __iter__(self):
        return iter(list(self.stored))

    def __len__(self):
        return len(self.stored)

    def __bool__(self):
        return bool(self.stored)

    def __contains__(self, key):
        return key in self.stored

    def keys(self):
        return dict.fromkeys(self.stored.keys()).keys()

    def values(self):
        return list(self.stored.values())

    def items(self):
        return dict(self.stored.items()).items()

    def get(self, *args):
        return self.stored.get(*args)

    def pop(self, *args):
        return self.stored.pop(*args)

    def popitem(self, *args):
        return self.stored.popitem(*args)

    def setdefault(self, *args):
        return self.stored.setdefault(*args)

    def update(self, *args, **records):
        self.table.update(*args, **records)

    def clear(self):
        self.table.clear()


class TestReopenedBeforeEachRead(TestPlain):
    def _empty_mapping(self):
        table = Reopening(next(self.paths), self.files)
        self.addCleanup(table.close)
        return table
