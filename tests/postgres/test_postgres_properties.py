"""A database on PostgreSQL against a dict: calls, checkpoints, closes, kills, lost connections, and long pauses."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

import sessiondb
from postgres.fixtures import new_name, path_of
from properties.quiet_files import QuietFiles
from properties.test_state_machine import HUGE, TableMachine, _no_background
from sessiondb.checkpoint import Checkpointer
from sessiondb_backends.postgres import PostgresBackend
from sessiondb_backends.postgres_idle import IDLE_S

COMMON = settings(
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
EFFORTS = [
    pytest.param(settings(COMMON, max_examples=12, stateful_step_count=20), id="plain"),
    pytest.param(
        settings(COMMON, max_examples=300, stateful_step_count=50),
        id="long",
        marks=[pytest.mark.slow, pytest.mark.timeout(900)],
    ),
]


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(pg_dsn: str) -> Iterator[None]:
    """No thread and no descriptor outlives a test."""
    threads = set(threading.enumerate())
    descriptors = len(os.listdir("/dev/fd"))
    yield
    assert set(threading.enumerate()) <= threads
    assert len(os.listdir("/dev/fd")) <= descriptors


class PostgresMachine(TableMachine):
    """The same on a server; a kill leaves what the log's folder and the server hold at that moment."""

    dsn: ClassVar[str]
    schema: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="sessiondb-properties-"))
        self.namespace = new_name()
        self.lives = 0
        self.now = 0.0
        self.files = QuietFiles()
        self.options: dict[str, Any] = {}

    @initialize(background=st.booleans(), level=st.sampled_from(["always", "interval", "never"]))
    def begin(self, background: bool, level: Any) -> None:
        self.options = {
            "sync": level, "sync_interval_ms": 3_600_000, "checkpoint_records": 3 if background else HUGE,
            "cache_bytes": 0 if background else 1 << 20,
        }  # fmt: skip
        self.epoch = 1
        self.open()

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.home)

    @property
    def path(self) -> str:
        return path_of(self.dsn, schema=self.schema, namespace=self.namespace, log_dir=self.home / str(self.lives))

    @property
    def backend(self) -> PostgresBackend:
        store = self.db._store
        assert store is not None
        assert isinstance(store.backend, PostgresBackend)
        return store.backend

    def open(self) -> None:
        url = f"postgresql:{self.path}"
        if self.options["checkpoint_records"] == HUGE:
            with mock.patch.object(Checkpointer, "became_dirty", _no_background):
                self.db = sessiondb.open(url, files=self.files, **self.options)
            store = self.db._store
            assert store is not None
            store.checkpointer.became_dirty = partial(  # type: ignore[method-assign]
                _no_background, store.checkpointer
            )
        else:
            self.db = sessiondb.open(url, files=self.files, **self.options)
        self.epoch += 1  # every opening takes over
        self.backend._idle.clock = lambda: self.now

    @rule()
    def close_and_reopen(self) -> None:
        self.scans.clear()
        self.db.close()
        self.open()
        assert self.db.recovery_report.transactions == 0, "a clean close moves everything to the server"

    @rule()
    def kill(self) -> None:
        """SIGKILL between two calls: nothing is lost at any sync level."""
        store = self.db._store
        assert store is not None
        store.checkpointer._running.acquire()  # a checkpoint in the background must not move what is being copied
        try:
            with store.views.append_lock:
                shutil.copytree(self.home / str(self.lives), self.home / str(self.lives + 1))
        finally:
            store.checkpointer._running.release()
        self.scans.clear()
        store.checkpointer.stop()
        store._settle = lambda: None  # type: ignore[method-assign]
        applied = self.backend.position().lsn
        self.db.close()
        self.lives += 1
        self.open()
        assert self.db.recovery_report.torn_tail is None
        assert self.db.recovery_report.transactions <= self.lsn - applied or applied == 0

    @rule()
    def nobody_reads_for_a_while(self) -> None:
        """The newest state's transaction is ended; a scan that somebody has begun goes on all the same."""
        self.now += IDLE_S
        self.backend._idle.tick()

    @precondition(lambda self: self.options.get("checkpoint_records") == HUGE)
    @rule()
    def the_server_ends_the_transaction_of_the_newest_state(self) -> None:
        """Nothing is lost with it, not even when a checkpoint comes before the next read."""
        store = self.db._store
        assert store is not None
        base = store.views.triple.base
        view = getattr(base, "_view", base)
        link = view.source._link
        if link is not None and link.is_usable:
            with psycopg.connect(self.dsn, autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(%s, 10000)", [link.info.backend_pid])


@pytest.mark.parametrize("effort", EFFORTS)
def test_a_database_on_a_server_does_what_a_dict_does(pg_dsn: str, pg_shared_schema: str, effort: settings) -> None:
    PostgresMachine.dsn, PostgresMachine.schema = pg_dsn, pg_shared_schema
    run_state_machine_as_test(PostgresMachine, settings=effort)
