"""A stranger's backend: what one must write, found by its entry point, under the shipped contracts."""

import json
import os
from base64 import b64decode, b64encode
from importlib.metadata import EntryPoint

import pytest

import sessiondb
from sessiondb.backend import Backend, BackendView, Identity, Position
from sessiondb.errors import BackendError, CorruptionError, FencedError, UnsupportedFormatError, WrongBackendError
from sessiondb.testing import BackendContract, TableContract
from sessiondb_backends.resident import ResidentTable, ResidentView, fold

MAGIC = b"PLAIN "


class PlainView(ResidentView):
    """Cannot find anything by itself: the engine reads everything and looks."""

    find = BackendView.find
    count_found = BackendView.count_found


class PlainBackend(Backend):
    """The smallest durable backend: one file, written anew beside the old one at every apply.

    It makes no index, but it remembers which are wanted.
    """

    scheme = "plain"
    whole_file = True

    def __init__(self, files, path, uuid, position, state):
        self.files, self.path, self.uuid = files, path, uuid
        self.view = PlainView(position, state)

    @classmethod
    def log_folder(cls, path):
        return f"{path}.log"

    @classmethod
    def exists(cls, files, path):
        if files.stat(path) is None:
            return False
        if not cls._bytes(files, path).startswith(MAGIC):
            raise WrongBackendError(f"expected a plain file, found something else at {path}")
        return True

    @classmethod
    def open(cls, files, path, *, create, read_only=False):
        if cls.exists(files, path):
            if not read_only:
                cls._sync(files, path)
            return cls(files, path, *cls._load(files, path))
        if not create:
            raise BackendError(f"{path} is missing")
        backend = cls(files, path, os.urandom(16), Position(1, 0), {})
        backend._write(Position(1, 0), {})
        return backend

    @staticmethod
    def _sync(files, path):
        """An earlier process may have had no time to sync what this one is about to show."""
        try:
            file = files.open(path)
            try:
                file.fsync()
            finally:
                file.close()
            files.sync_folder(os.path.dirname(path))
        except OSError as error:
            raise BackendError(f"cannot sync {path}: {error}") from error

    @staticmethod
    def _bytes(files, path):
        try:
            file = files.open(path, read_only=True)
            try:
                return file.pread(file.size(), 0)
            finally:
                file.close()
        except OSError as error:
            raise BackendError(f"cannot read {path}: {error}") from error

    @classmethod
    def _load(cls, files, path):
        version, text = cls._bytes(files, path)[len(MAGIC) :].split(b"\n", 1)
        if int(version) > 1:
            raise UnsupportedFormatError("upgrade")
        try:
            found = json.loads(text)
        except ValueError as error:
            raise CorruptionError("it does not parse", path=path) from error
        state = {
            name: ResidentTable(
                kind, {key: b64decode(image) for key, image in records.items()}, indexes=dict.fromkeys(indexes)
            )
            for name, (kind, records, indexes) in found["tables"].items()
        }
        return bytes.fromhex(found["uuid"]), Position(*found["position"]), state

    def _write(self, position, state):
        tables = {
            name: (
                table.kind,
                {key: b64encode(image).decode() for key, image in table.records.items()},
                list(table.indexes),
            )
            for name, table in state.items()
        }
        text = json.dumps({"uuid": self.uuid.hex(), "position": [position.epoch, position.lsn], "tables": tables})
        try:
            if self.files.stat(f"{self.path}.new") is not None:
                self.files.unlink(f"{self.path}.new")
            file = self.files.open(f"{self.path}.new", create=True)
            try:
                file.pwrite(MAGIC + b"1\n" + text.encode(), 0)
                file.fsync()
            finally:
                file.close()
            self.files.replace(f"{self.path}.new", self.path)
            self.files.sync_folder(os.path.dirname(self.path))
        except OSError as error:
            raise BackendError(f"cannot write {self.path}: {error}") from error

    def identity(self):
        return Identity(self.uuid, 1)

    def position(self):
        return self._load(self.files, self.path)[1]

    def read(self):
        return self.view

    def apply(self, changes, expected, position, pace):
        if self.position() not in (expected, position):
            raise FencedError("somebody else wrote it")
        state = fold(self.view.state, changes, pace)
        self._write(position, state)
        self.view = PlainView(position, state)

    def check(self):
        try:
            self._load(self.files, self.path)
        except CorruptionError as error:
            return [str(error)]
        return []

    def close(self):
        pass


class TestPlainBackend(BackendContract):
    backend_class = PlainBackend

    def damage(self, path):
        with open(path, "r+b") as file:
            file.truncate(60)

    def make_newer(self, path):
        with open(path, "r+b") as file:
            file.write(MAGIC + b"2")


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """The entry point that the backend's distribution would declare."""
    entry = EntryPoint("plain", f"{__name__}:PlainBackend", "sessiondb.backends")
    monkeypatch.setattr(EntryPoint, "load", lambda self: PlainBackend)
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda **wanted: [entry] if wanted["name"] == entry.name else []
    )


class TestPlainTables(TableContract):
    url = "plain:{path}"


def test_a_url_with_its_scheme_opens_it(tmp_path):
    with sessiondb.open(f"plain:{tmp_path}/x") as db:
        assert db.stats().backend == "plain"
        db.table("t")["a"] = 1
    assert sorted(os.listdir(tmp_path)) == ["x", "x.log"]


def test_a_scheme_that_nobody_registered_is_refused():
    with pytest.raises(sessiondb.UsageError, match="no backend for 'other'"):
        sessiondb.open("other:x")
