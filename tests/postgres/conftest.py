"""Fixtures of the PostgreSQL tests: one server for the run, a schema for each test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import psycopg
import pytest

from postgres.server import Server

END_READERS = """
SELECT pg_terminate_backend(l.pid, 10000) FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND l.pid <> pg_backend_pid()
"""
"""Views that a test still holds keep the schema from being dropped."""


@pytest.fixture(scope="session")
def pg_dsn() -> Iterator[str]:
    """A URL of a server on which the tests may make schemas and roles."""
    given = os.environ.get("SESSIONDB_TEST_PG_DSN")
    if given:
        yield given
        return
    server = Server()
    try:
        yield server.dsn
    finally:
        server.remove()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that the test may stop and kill."""
    server = Server()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture
def pg_admin(pg_dsn: str) -> Iterator[psycopg.Connection]:
    """A connection for what the backend must not do itself."""
    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def pg_schema(pg_admin: psycopg.Connection) -> Iterator[str]:
    """The name of a schema that is not there, and that is removed after the test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    pg_admin.execute(END_READERS, [name])
    pg_admin.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


@pytest.fixture
def pg_path(pg_dsn: str, pg_schema: str) -> str:
    """A location on the server where nothing is: what follows ``postgresql:`` in a URL."""
    separator = "&" if "?" in pg_dsn else "?"
    return f"{pg_dsn.partition(':')[2]}{separator}schema={pg_schema}&namespace=team"
