"""What a session is, what all of them make up, and what is stored in their place and is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from ..errors import SessionDBError

__all__ = ["SessionDbState", "SessionMisfit", "SessionRecord", "value_of"]

Text = str | None | UnsetType
Flag = bool | None | UnsetType
Number = int | None | UnsetType
Object = dict[str, Any] | None | UnsetType


class SessionRecord(msgspec.Struct, kw_only=True, rename="camel"):
    """A session, with every field that it had through time; stored as JSON with names like ``repoUrl``.

    All fields but `session` may be missing, for they are in stored records: then they are `sessiondb.UNSET`, which is
    false in a condition. ``None`` is a stored null. Texts stay as they were written, dates too. Objects are plain
    dicts with the stored names, so that nothing in them is lost. What a record holds beside these fields stays where it
    is stored.
    """

    session: str
    """The id, as ``task#101``, ``#87``, ``101`` (which are three ids), a name, a UUID."""
    repo_name: Text = UNSET
    """As ``local/shop`` or ``acme/shop``."""
    repo_url: Text = UNSET
    """A URL or a local path."""
    created_at: Text = UNSET
    """A date as ``2025-06-23T16:46:12.144Z``."""
    task_id: Text = UNSET
    """``#101``, ``101``, or with its kind ``mt#283``."""
    branch: Text = UNSET
    repo_path: Text = UNSET
    """Where the repository was cloned to."""
    backend_type: Text = UNSET
    """``local``, ``remote``, ``github``, ``gitlab``, ``bitbucket``."""
    github: Object = UNSET
    """``owner``, ``repo``, and in old records ``token``, which `repr` does not show."""
    remote: Object = UNSET
    """``authMethod``, ``depth``."""
    pr_state: Object = UNSET
    """``branchName``, ``exists``, ``lastChecked``, ``createdAt``, ``mergedAt``, ``commitHash``."""
    pull_request: Object = UNSET
    """``number``, ``url``, ``title``, ``state``, dates, branches, ``github``."""
    pr_branch: Text = UNSET
    pr_approved: Flag = UNSET
    last_activity_at: Text = UNSET
    """A date."""
    last_commit_hash: Text = UNSET
    last_commit_message: Text = UNSET
    commit_count: Number = UNSET
    status: Text = UNSET
    """``CREATED``, ``ACTIVE``, ``PR_OPEN``, ``PR_APPROVED``, ``MERGED``, ``CLOSED``."""
    agent_id: Text = UNSET
    project_id: Text = UNSET
    interface_binding: Text = UNSET
    short_id: Text = UNSET
    """As ``ws#12``."""
    created: Text = UNSET
    """What `created_at` was called in some records."""
    name: Text = UNSET
    workspace_path: Text = UNSET
    session_path: Text = UNSET

    def __repr__(self) -> str:
        """The fields that are there; a token is not shown: what is printed ends in logs."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        if isinstance(self.github, dict) and "token" in self.github:
            fields["github"] = self.github | {"token": "***"}
        shown = (f"{name}={value!r}" for name, value in fields.items() if value is not UNSET)
        return f"SessionRecord({', '.join(shown)})"


class SessionDbState(msgspec.Struct, rename="camel"):
    """All sessions, in the order of their ids, and the folder that their working directories are in."""

    sessions: list[SessionRecord]
    base_dir: str = ""
    """An absolute path; empty when there is none, as in memory."""


@dataclass(frozen=True, slots=True)
class SessionMisfit:
    """A stored record that is no session: it is listed, and it stays as it is."""

    key: str
    """What it is stored under."""
    path: str
    """Where in it the problem is, as ``$.taskId``."""
    problem: str
    """What the problem is."""
    document: Any
    """What is stored: the decoded JSON."""
    error: SessionDBError = field(compare=False)
    """What reading it raises; says all of the above."""


_STORED_NAMES = {field.name: field.encode_name for field in msgspec.structs.fields(SessionRecord)}


def value_of(item: object, name: str) -> Any:
    """A field of a session, of what is none, or of a stored document; `sessiondb.UNSET` when it is not there.

    Args:
        item: what has it.
        name: the field's, in Python.
    """
    if isinstance(item, SessionRecord):
        return getattr(item, name)
    document = item.document if isinstance(item, SessionMisfit) else item
    return document.get(_STORED_NAMES[name], UNSET) if isinstance(document, Mapping) else UNSET
