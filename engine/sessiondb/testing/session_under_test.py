"""Sessions whose store is opened again before each read, or not: what `session_contract` looks at."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from .. import Database, Table
from ..sessions import SessionRecord, SessionStorage
from .table_under_test import TableSetup, TableUnderTest

__all__ = ["BASE_DIR", "EVERYTHING", "SessionSetup", "SessionsUnderTest", "ids", "record"]

BASE_DIR = "/srv/agents"

EVERYTHING: dict[str, tuple[str, Any]] = {
    "session": ("session", "task#101"),
    "repo_name": ("repoName", "local/shop"),
    "repo_url": ("repoUrl", "file:///srv/shop"),
    "created_at": ("createdAt", "2025-06-23T16:46:12Z"),
    "task_id": ("taskId", "#101"),
    "branch": ("branch", "task#101"),
    "repo_path": ("repoPath", "/srv/shop"),
    "backend_type": ("backendType", "github"),
    "github": ("github", {"owner": "acme", "repo": "shop", "token": "t0k3n"}),
    "remote": ("remote", {"authMethod": "ssh", "depth": 1}),
    "pr_state": ("prState", {"branchName": "pr/101", "exists": True, "lastChecked": "2025-07-14T10:00:00.000Z"}),
    "pull_request": ("pullRequest", {"number": 7, "state": "open", "labels": ["a"], "github": {"author": {"id": 1}}}),
    "pr_branch": ("prBranch", "pr/101"),
    "pr_approved": ("prApproved", False),
    "last_activity_at": ("lastActivityAt", "2026-04-20T08:00:00.5+02:00"),
    "last_commit_hash": ("lastCommitHash", "abc123"),
    "last_commit_message": ("lastCommitMessage", 'fix "it"\n\0 \N{SNAKE}'),
    "commit_count": ("commitCount", 0),
    "status": ("status", "PR_OPEN"),
    "agent_id": ("agentId", "agent-1"),
    "project_id": ("projectId", "0b7c"),
    "interface_binding": ("interfaceBinding", "cli"),
    "short_id": ("shortId", "ws#12"),
    "created": ("created", "2025-06-23"),
    "name": ("name", ""),
    "workspace_path": ("workspacePath", "/w"),
    "session_path": ("sessionPath", "/s"),
}
"""Every field of a session: its name in Python, its name in the stored document, and a value; written out by hand."""


class SessionsUnderTest:
    """The table `sessions` of a store, as sessions and as what is stored."""

    def __init__(self, store: TableUnderTest):
        self._store = store.of(name="sessions")
        self._made: tuple[Database, SessionStorage] | None = None

    @property
    def write(self) -> SessionStorage:
        """The storage, to write to."""
        database = self._store.database
        if self._made is None or self._made[0] is not database:
            self._made = database, SessionStorage.over(database, base_dir=BASE_DIR)
        return self._made[1]

    @property
    def read(self) -> SessionStorage:
        """The storage, to read from."""
        assert self._store.read is not None
        return self.write

    @property
    def raw(self) -> Table[Any]:
        """The same table, untyped."""
        return self._store.write

    def checkpoint(self) -> None:
        """Move everything into the backend."""
        self._store.database.checkpoint()

    def stored(self) -> dict[str, str]:
        """The documents as JSON text, in which the order of fields shows."""
        return {key: json.dumps(document) for key, document in self._store.read.scan()}


class SessionSetup(TableSetup):
    """The part of `sessiondb.testing.session_contract.SessionContract` that a backend fills in."""

    @pytest.fixture
    def sessions(self, records: TableUnderTest) -> SessionsUnderTest:
        """No sessions yet."""
        return SessionsUnderTest(records)


def record(session: str, **fields: Any) -> SessionRecord:
    """A session with these fields."""
    return SessionRecord(session=session, **fields)


def ids(found: Iterable[SessionRecord]) -> str:
    """The ids of sessions, in the order in which they come."""
    return " ".join(each.session for each in found)
