"""What a migration has found and done."""

from __future__ import annotations

from typing import Literal

import msgspec

from .content import TableContent

__all__ = ["MigrationResult", "Misfit", "StoreContent"]


class Misfit(msgspec.Struct, frozen=True):
    """A record that the target would not give back as it is."""

    table: str
    key: str
    problem: str


class StoreContent(msgspec.Struct, frozen=True, kw_only=True):
    """A store and what it holds."""

    location: str
    """For people: without user, password and parameters."""
    backend: str
    records: int
    digest: str
    """SHA-256, in hexadecimal digits: equal contents have equal digests, on every backend."""
    tables: dict[str, TableContent]


class MigrationResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `sessiondb.migrate` has found and done."""

    outcome: Literal["preview", "migrated", "already there"]
    """``preview``: nothing was changed. ``already there``: nothing was to be done, the target holds it all."""
    executed: bool
    """Whether the target holds now what the source holds, because that was asked for."""
    source: StoreContent
    target: str
    """Its location, for people."""
    target_backend: str
    layout: str | None
    """The session layout that was asked for."""
    replaced: StoreContent | None
    """What the target held before; ``None``: there was no store, or one without records."""
    backup: str | None
    """Where that was copied to."""
    refusals: list[str]
    """Of a preview: why it would be refused, a sentence each; empty when it would go through."""
    misfits: list[Misfit]
    """Of a preview: every record that the target would not give back as it is."""
    notices: list[str]
    """What else is worth knowing."""
