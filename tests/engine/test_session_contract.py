"""`SessionStorage` keeps its contract on every backend that is a file, or none."""

from sessiondb.testing.session_contract import SessionContract


class TestJsonFileSessions(SessionContract):
    url = "json:///{path}.json"


class TestSqliteSessions(SessionContract):
    url = "sqlite:///{path}.db"


class TestLmdbSessions(SessionContract):
    url = "lmdb:///{path}.lmdb"


class TestMemorySessions(SessionContract):
    url = "memory:"
    durable = False
