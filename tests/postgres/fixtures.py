"""Fixtures of the tests with PostgreSQL, in whatever folder: one server for the run, a schema for each test.

Driver and server are imported by those that need them: this is loaded for every test.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import psycopg

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
    from postgres.server import Server

    server = Server()
    try:
        yield server.dsn
    finally:
        server.remove()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that the test may stop and kill."""
    from postgres.server import Server

    server = Server()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture
def pg_admin(pg_dsn: str) -> Iterator[psycopg.Connection]:
    """A connection for what the backend must not do itself."""
    import psycopg

    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        yield connection


def new_name() -> str:
    """For a schema or a namespace that nobody else has."""
    return f"test_{uuid.uuid4().hex[:12]}"


def path_of(dsn: str, **parameters: object) -> str:
    """What follows ``postgresql:`` in a URL."""
    separator = "&" if "?" in dsn else "?"
    return f"{dsn.partition(':')[2]}{separator}" + "&".join(f"{name}={value}" for name, value in parameters.items())


def port_of(dsn: str) -> int:
    """The server's port."""
    from psycopg.conninfo import conninfo_to_dict

    return int(conninfo_to_dict(dsn).get("port") or 5432)


def drop_schema(connection: psycopg.Connection, name: str) -> None:
    """With all that is in it, and whoever reads it."""
    connection.execute(END_READERS, [name])
    connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE'.encode())


@pytest.fixture
def pg_schema(pg_admin: psycopg.Connection) -> Iterator[str]:
    """The name of a schema that is not there, and that is removed after the test."""
    name = new_name()
    yield name
    drop_schema(pg_admin, name)


@pytest.fixture
def pg_path(pg_dsn: str, pg_schema: str) -> str:
    """A location on the server where nothing is: what follows ``postgresql:`` in a URL."""
    return path_of(pg_dsn, schema=pg_schema, namespace="team")


@pytest.fixture(scope="module")
def pg_shared_schema(pg_dsn: str) -> Iterator[str]:
    """A schema with the tables of stores, for a module whose tests are content with namespaces of their own."""
    import psycopg

    from sessiondb_backends.postgres import PostgresBackend

    name = new_name()
    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        for statement in PostgresBackend.ddl(path_of(pg_dsn, schema=name)):
            connection.execute(statement.encode())
    yield name
    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        drop_schema(connection, name)


@pytest.fixture
def pg_url(pg_dsn: str, pg_shared_schema: str, tmp_path: Path) -> str:
    """The URL of a store that is not there, in the shared schema; its log is in the test's folder."""
    return "postgresql:" + path_of(pg_dsn, schema=pg_shared_schema, namespace=new_name(), log_dir=tmp_path / "logs")
