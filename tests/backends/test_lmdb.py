"""The LMDB backend keeps the contract of backends and tables."""

from pathlib import Path

from sessiondb.testing import BackendContract, TableContract
from sessiondb_backends.lmdb import LmdbBackend
from sessiondb_backends.lmdb_format import MAGIC, State, decode_state, encode_state


def change_state(path, change):
    """Change every copy of the state record in the data file, around LMDB."""
    file = Path(path) / "data.mdb"
    data = file.read_bytes()
    at = data.find(MAGIC)
    assert at > 0
    with file.open("r+b") as stream:
        while at > 0:
            stream.seek(at)
            stream.write(change(data[at : at + 48]))
            at = data.find(MAGIC, at + 1)


class TestLmdbBackend(BackendContract):
    backend_class = LmdbBackend
    uses_files = False

    def damage(self, path):
        change_state(path, lambda state: state[:20] + bytes([state[20] ^ 1]) + state[21:])

    def make_newer(self, path):
        def newer(data):
            state = decode_state(data)
            return encode_state(State(state.identity._replace(format_version=2), state.position))

        change_state(path, newer)


class TestLmdbTables(TableContract):
    url = "lmdb:///{path}.lmdb"
