"""Protocol bugs around a store that goes from host to host, to be planted as those of `crash.mutants` are.

Some break what the server promises, others what the engine makes of it: two hosts then mix their histories, or what one
has acknowledged is gone without a word.
"""

from __future__ import annotations

import os
from typing import Any

from sessiondb import checkpoint, ownership, store
from sessiondb.backend import Ownership, Position
from sessiondb.ownership import Owners, Stranded
from sessiondb_backends.memory import MemoryBackend

from .atomic_server import _Server
from .mutants import Patch, Without, mutant

__all__: list[str] = []

NETWORK = "network"


# ---- the file that says who this host is


@mutant("OWNER is not synced before the server is asked", "killed_while_opening", "cut_while_opening", target=NETWORK)
def owner_unsynced(patch: Patch) -> None:
    write = ownership._write_owners
    patch.setattr(ownership, "_write_owners", lambda files, *rest: write(Without(files, "fsync", "sync_folder"), *rest))


@mutant("OWNER is written in place", "killed_while_opening", "take_overs", target=NETWORK)
def owner_in_place(patch: Patch) -> None:
    def mutated(files: Any, folder: str, owners: Owners) -> None:
        file = files.open(f"{folder}/OWNER", create=True)
        file.pwrite(f"{owners.before.hex()}\n{owners.asked.hex()}\n".encode(), 0)
        file.fsync()
        file.close()
        files.sync_folder(folder)

    patch.setattr(ownership, "_write_owners", mutated)


@mutant("OWNER is written after the server was asked", "killed_while_opening", "cut_while_opening", target=NETWORK)
def owner_afterwards(patch: Patch) -> None:
    claim, write = ownership.claim, ownership._write_owners

    def mutated(files: Any, folder: str, *rest: Any) -> Any:
        waiting: list[Any] = []
        with patch.context() as inner:
            inner.setattr(ownership, "_write_owners", lambda *arguments: waiting.append(arguments))
            claimed = claim(files, folder, *rest)
        write(*waiting[-1])
        return claimed

    patch.setattr(store, "claim", mutated)


@mutant("OWNER holds the last id only", "killed_while_opening", "cut_while_opening", target=NETWORK)
def no_id_before(patch: Patch) -> None:
    write = ownership._write_owners
    patch.setattr(
        ownership,
        "_write_owners",
        lambda files, folder, owners: write(files, folder, owners._replace(before=b"")),
    )


@mutant("a host keeps its id for ever", "take_overs", "fenced", target=NETWORK)
def id_stays(patch: Patch) -> None:
    claim = ownership.claim

    def mutated(files: Any, folder: str, *rest: Any) -> Any:
        known = ownership.read_owners(files, folder).asked
        with patch.context() as inner:
            if known:
                inner.setattr(os, "urandom", lambda count: known)
            return claim(files, folder, *rest)

    patch.setattr(store, "claim", mutated)


# ---- the log of the time before


@mutant("a log is replayed whoever owns the store", "stranded_commits", "take_overs", target=NETWORK)
def replayed_whoever_owns(patch: Patch) -> None:
    patch.setattr(ownership, "_remove_log", lambda *_: [])


@mutant("a host that was taken over from goes on as if it owned the store", "stranded_commits", target=NETWORK)
def always_current(patch: Patch) -> None:
    state_of = ownership._state_of

    def mutated(backend: Any, owners: Owners) -> tuple[bytes, Ownership]:
        owner, state = state_of(backend, owners)
        return owner, state._replace(is_current=bool(owner))

    patch.setattr(ownership, "_state_of", mutated)


@mutant("a log with stranded transactions is removed", "stranded_commits", "fenced", target=NETWORK)
def stranded_removed(patch: Patch) -> None:
    patch.setattr(ownership, "_behind", lambda *_: None)


@mutant("the first stranded transaction is left out", "stranded_commits", "fenced", target=NETWORK)
def stranded_off_by_one(patch: Patch) -> None:
    behind = ownership._behind

    def mutated(contents: Any, lost_after: int, state: Any) -> Stranded | None:
        return behind(contents, lost_after + 1, state)

    patch.setattr(ownership, "_behind", mutated)


@mutant("what is stranded is counted from what the server has now", "stranded_commits", "fenced", target=NETWORK)
def stranded_from_now(patch: Patch) -> None:
    state_of = ownership._state_of

    def mutated(backend: Any, owners: Owners) -> tuple[bytes, Ownership]:
        owner, state = state_of(backend, owners)
        lost_after = state.lost_after if state.lost_after is None else backend.position().lsn
        return owner, state._replace(lost_after=lost_after)

    patch.setattr(ownership, "_state_of", mutated)


@mutant("an old log is removed from its end", "segments_pile_up", target=NETWORK)
def removed_from_the_end(patch: Patch) -> None:
    remove = ownership._remove_log

    def mutated(files: Any, folder: str, *rest: Any) -> list[str]:
        names = ownership.segment_names(files, folder)
        with patch.context() as inner:
            inner.setattr(ownership, "segment_names", lambda *_: names[::-1])
            return remove(files, folder, *rest)

    patch.setattr(ownership, "_remove_log", mutated)


@mutant("the removal of an old log is not synced", "take_overs", "segments_pile_up", target=NETWORK)
def removal_unsynced(patch: Patch) -> None:
    remove, write = ownership._remove_log, ownership._write_owners
    patch.setattr(ownership, "_remove_log", lambda files, *rest: remove(Without(files, "sync_folder"), *rest))
    patch.setattr(ownership, "_write_owners", lambda files, *rest: write(Without(files, "sync_folder"), *rest))


@mutant("an old log is removed without a copy of its torn tail", "fenced", "take_overs", target=NETWORK)
def torn_tail_removed(patch: Patch) -> None:
    patch.setattr(ownership, "quarantine_cut", lambda *_: None)


@mutant("an old log is removed before the server was looked at", "stranded_commits", target=NETWORK)
def removed_unseen(patch: Patch) -> None:
    claim = ownership.claim

    def mutated(files: Any, folder: str, *rest: Any) -> Any:
        if not ownership.read_owners(files, folder).before:
            return claim(files, folder, *rest)
        for name in ownership.segment_names(files, folder):
            files.unlink(f"{folder}/{name}")
        return claim(files, folder, *rest)

    patch.setattr(store, "claim", mutated)


@mutant("the owner's log goes on in the segment of the epoch before", "killed_while_opening", "in_between",
        target=NETWORK)  # fmt: skip
def same_segment(patch: Patch) -> None:
    recover = store.recover
    patch.setattr(
        store, "recover", lambda *arguments, is_new, new_epoch: recover(*arguments, is_new=is_new, new_epoch=False)
    )


# ---- the fence


@mutant("a view of another owner's state is opened as one's own", "right_then", target=NETWORK)
def opened_on_foreign_state(patch: Patch) -> None:
    """Once a host that was taken over from while it was opened went on from the other one's state, and overwrote it."""
    patch.setattr(store, "must_be_stored", lambda *_: None)


@mutant("a checkpoint builds upon another owner's state", "right_then", target=NETWORK)
def built_on_foreign_state(patch: Patch) -> None:
    """Once the checkpoint after it then passed for the other owner's."""
    patch.setattr(checkpoint, "must_be_stored", lambda *_: None)


@mutant("the server does not look at the epoch of a checkpoint", "fenced", "in_between", target=NETWORK)
def epoch_unchecked(patch: Patch) -> None:
    apply = MemoryBackend.apply

    def mutated(self: Any, changes: Any, expected: Position, position: Position, pace: Any) -> None:
        if isinstance(self, _Server) and self._position.lsn == expected.lsn:
            self._position = expected
        apply(self, changes, expected, position, pace)

    patch.setattr(MemoryBackend, "apply", mutated)


@mutant("the server does not look at the position of a take-over", "right_then", target=NETWORK)
def position_unchecked(patch: Patch) -> None:
    take_over = _Server.take_over

    def mutated(self: Any, owner: bytes, before: bytes, host: str, expected: Position) -> Position:
        take_over(self, owner, before, host, self._position)
        return Position(expected.epoch + 1, expected.lsn)

    patch.setattr(_Server, "take_over", mutated)


@mutant("the server does not remember whom it was taken over from", "stranded_commits", "take_overs", target=NETWORK)
def owners_forgotten(patch: Patch) -> None:
    take_over = _Server.take_over

    def mutated(self: Any, *arguments: Any) -> Position:
        for owner in [owner for owner, row in self.owners.items() if row.lost_after is None]:
            del self.owners[owner]
        return take_over(self, *arguments)

    patch.setattr(_Server, "take_over", mutated)


@mutant("a take-over does not begin an epoch", "fenced", "in_between", target=NETWORK)
def epoch_stays_at_take_over(patch: Patch) -> None:
    take_over = _Server.take_over

    def mutated(self: Any, owner: bytes, before: bytes, host: str, expected: Position) -> Position:
        take_over(self, owner, before, host, expected)
        self._position = expected
        return expected

    patch.setattr(_Server, "take_over", mutated)
