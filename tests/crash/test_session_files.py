"""Session files: no power cut and no other program that writes to them makes anything acknowledged disappear.

The plain run tries a bounded portion; ``-m slow`` many more disks, and plants bugs that must be noticed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

import sessiondb.store
from crash.oracle import forget_everything
from crash.session_files import SHAPES, WORKLOADS, run
from figures import Tell
from sessiondb_backends import json_session, json_session_place
from sessiondb_backends.json_session import SessionFileBackend
from sessiondb_backends.json_session_place import SessionPlace

Patch = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    forget_everything()


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_no_power_cut_and_no_other_program_makes_anything_disappear(name: str) -> None:
    oracle = run(name, seed=sorted(WORKLOADS).index(name), budget=2, nested_share=0.01)
    assert not oracle.violations, "\n".join(oracle.violations)
    assert len(oracle.digests) > 3


def test_an_edit_is_adopted_and_a_file_and_a_log_that_both_changed_are_refused() -> None:
    """The oracle sees all three outcomes, so it judges something."""
    assert run("adopted_again", seed=1, budget=1, nested_share=0).adopted > 5
    refused = run("both_changed", seed=2, budget=2, nested_share=0)
    assert refused.refused > 2
    assert not refused.violations


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_many_power_cuts_and_edits(name: str, tell: Tell) -> None:
    states = nested = adopted = refused = unreadable = 0
    for seed in range(3 * len(SHAPES)):
        oracle = run(name, seed, budget=2)
        assert not oracle.violations, "\n".join(oracle.violations)
        states += len(oracle.digests)
        nested += oracle.nested
        adopted += oracle.adopted
        refused += oracle.refused
        unreadable += oracle.unreadable
    tell(
        f"{name}: {states} disks ({nested} more after cuts during recovery), {adopted} edits adopted, {refused} "
        f"refused, {unreadable} files that another program left unreadable"
    )


# ---- planted bugs


def _no_announcement(patch: Patch) -> None:
    write = SessionPlace.write_mark
    patch.setattr(SessionPlace, "write_mark", lambda self, mark: None if mark.next is not None else write(self, mark))


def _announced_too_late(patch: Patch) -> None:
    replace = SessionPlace.replace

    def mutated(self: Any, data: bytes, mark: Any, current: Any, after: Any) -> None:
        self.write_mark(msgspec.structs.replace(mark, now=after, next=None))
        replace(self, data, mark, current, after)

    patch.setattr(SessionPlace, "replace", mutated)


def _without(patch: Patch, method: str, *names: str) -> None:
    """A method of the place on a file system without these operations."""
    original = getattr(SessionPlace, method)

    def mutated(self: Any, *arguments: Any) -> Any:
        files = self.files
        self.files = _Without(files, names)
        try:
            return original(self, *arguments)
        finally:
            self.files = files

    patch.setattr(SessionPlace, method, mutated)


class _Without:
    def __init__(self, files: Any, names: tuple[str, ...]):
        self._files, self._names = files, names

    def __getattr__(self, name: str) -> Any:
        if name in self._names:
            return lambda *_, **__: None
        found = getattr(self._files, name)
        if name == "open" and "fsync" in self._names:
            return lambda *arguments, **options: _unsynced(found(*arguments, **options))
        return found


def _unsynced(file: Any) -> Any:
    file.fsync = lambda: None
    return file


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _adoption_is_not_logged(patch: Patch) -> None:
    adopt = SessionFileBackend.adopt
    patch.setattr(
        SessionFileBackend, "adopt", lambda self, position, fields, log: adopt(self, position, fields, _nothing)
    )


def _adoption_is_logged_twice(patch: Patch) -> None:
    standing = json_session.standing

    def mutated(mark: Any, digest: str) -> Any:
        known, edit = standing(mark, digest)
        return json_session_place.Standing(known, None if edit is None else edit._replace(is_logged=False))

    patch.setattr(json_session, "standing", mutated)


BUGS: dict[str, tuple[Callable[[Patch], None], tuple[str, ...]]] = {
    "the new file is not announced": (_no_announcement, ("checkpoints",)),
    "the new file is announced as the only one": (_announced_too_late, ("checkpoints",)),
    "the new file is not synced before it is renamed": (
        lambda patch: _without(patch, "_write_beside", "fsync"), ("checkpoints",)
    ),
    "the mark is not synced before it is renamed": (
        lambda patch: _without(patch, "write_mark", "fsync"), ("checkpoints",)
    ),
    "the mark's name is not synced": (
        lambda patch: _without(patch, "write_mark", "sync_folder"), ("checkpoints", "first_open")
    ),
    "nobody syncs a file that was found": (
        lambda patch: patch.setattr(SessionPlace, "sync", _nothing), ("adopted",)
    ),
    "nobody syncs a mark that was found": (
        lambda patch: patch.setattr(SessionPlace, "sync_mark", _nothing), ("killed_anywhere",)
    ),
    "nobody looks at what was replaced": (
        lambda patch: patch.setattr(SessionPlace, "_check_prev", lambda self, mark: mark.prev), ("edited_while_open",)
    ),
    "an edit is adopted over a log that holds something": (
        lambda patch: patch.setattr(sessiondb.store, "must_be_empty", _nothing), ("both_changed",)
    ),
    "an adoption is not announced": (_no_announcement, ("adopted",)),
    "an adoption is not logged": (_adoption_is_not_logged, ("adopted",)),
    "an adoption that was cut off is logged twice": (_adoption_is_logged_twice, ("adopted_again",)),
}  # fmt: skip
PLAIN = ("the new file is not announced", "an edit is adopted over a log that holds something")


def caught(names: tuple[str, ...], seeds: int) -> str:
    for seed in range(seeds):
        for name in names:
            try:
                violations = run(name, seed, budget=3).violations
            except Exception as error:  # noqa: BLE001 - whatever it is, it was noticed
                violations = [f"{name} seed {seed}: {type(error).__name__}: {error}"]
            if violations:
                return violations[0]
    return ""


@pytest.mark.parametrize("sentence", PLAIN)
def test_a_planted_bug_is_noticed_in_the_plain_run_too(sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, names = BUGS[sentence]
    plant(monkeypatch)
    assert caught(names, seeds=3)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("sentence", BUGS)
def test_a_planted_bug_is_noticed(sentence: str, monkeypatch: pytest.MonkeyPatch, tell: Tell) -> None:
    plant, names = BUGS[sentence]
    plant(monkeypatch)
    found = caught(names, seeds=60)
    tell(f"{sentence}\n    {found[:200] or 'NOT CAUGHT'}")
    assert found, f"nobody notices when {sentence}"
    assert "AttributeError" not in found
    assert "TypeError" not in found
