"""The migration as a whole; the order of its steps is in `sessiondb.migration`."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from msgspec import structs

from ..backend import Backend, TableKind
from ..errors import DurabilityUnknownError, SessionDBError, StoreFailedError, UsageError
from ..files import REAL_FILES, Files
from ..location import Location, parse_location
from ..opening import backend_class
from .building import build
from .content import Content, Step
from .result import MigrationResult, Misfit, StoreContent
from .source import Source, open_source
from .target import Before, Target

__all__ = ["MigrationResult", "migrate"]


def migrate(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    execute: bool = False,
    replace: bool = False,
    layout: str | None = None,
    lock_timeout: float = 10.0,
    progress: Callable[[Step], None] | None = None,
    files: Files = REAL_FILES,
) -> MigrationResult:
    """Make the target hold exactly what the source holds: tables, records, versions of records, indexes.

    By default nothing is changed: the result says what would be done, and why it would be refused. With `execute` the
    source is read as a whole and judged before the target is touched; the new store is made apart from the target's
    place, read back and compared by digests, and takes the place in one step. Interrupted at any moment, both stores
    are whole, and running it again completes it.

    Args:
        source: a location, as for `open`; it is never changed.
        target: a location, as for `open`.
        execute: do it.
        replace: the target may hold records: then it is copied aside before it is replaced.
        layout: write the target, a JSON file, in this session layout.
        lock_timeout: longest wait for another process, for each of the two, in seconds.
        progress: called now and then with what is done, the number of records it was done for, and of all.
        files: the file system, for tests.

    Raises:
        UsageError: there is no source, source and target are the same store, or what the `refusals` of a preview say.
        WrongBackendError: something else is at one of the locations; it is untouched.
        StoreBusyError: another process has one of them open, or another host owns it.
        CorruptionError: one of them is damaged; nothing was changed.
        UnsupportedFormatError: a newer version wrote it.
        DurabilityUnknownError: the connection was lost when the target was replaced; run it again.
        StoreFailedError: the operating system or a server refused; both are as they were.
    """
    job = _Migration(files, parse_location(source), parse_location(target), layout, lock_timeout, progress)
    try:
        return job.run(execute=execute, replace=replace)
    except OSError as error:
        raise StoreFailedError(
            f"cannot migrate {job.source} to {job.target.location}: {error.strerror or error} "
            f"({error.filename or 'no file named'}); both are as they were; next: mend the cause and run it again"
        ) from error


class _Migration:
    def __init__(
        self,
        files: Files,
        source: Location,
        target: Location,
        layout: str | None,
        lock_timeout: float,
        progress: Callable[[Step], None] | None,
    ):
        self.files = files
        self.source = source
        self.backend: type[Backend] = backend_class(target.scheme)
        self.target = Target(files, target, self.backend, lock_timeout, self._report)
        self.layout = None if layout == "native" and self.backend.layouts else layout
        self._timeout = lock_timeout
        self._progress = progress
        self._misfits: list[Misfit] = []

    def _report(self, what: str) -> Callable[[int, int], None]:
        progress = self._progress
        if progress is None:
            return _nobody_asks
        return lambda done, total: progress(Step(what, done, total))

    def _look_at_record(self, table: str, kind: TableKind, key: str, image: bytes) -> None:
        problem = self.backend.misfit(table, kind, key, image, self.layout)
        if problem:
            self._misfits.append(Misfit(table, key, problem))

    def run(self, *, execute: bool, replace: bool) -> MigrationResult:
        """All of it, up to the first write in a preview."""
        self.backend.must_have_layout(self.layout)
        self._must_be_two_places()
        with open_source(self.files, self.source, self._timeout) as source:
            content = source.read(self._report("reading the source"), self._look_at_record)
            self._misfits += source.left_behind
            before = self.target.look(source.store)
            result = self._judged(source, content, before, replace=replace)
            if not execute:
                return result
            if result.refusals:
                raise UsageError(f"{result.refusals[0]}; nothing was changed")
            with self.target.held():
                return self._execute(source, content, before, result)

    def _execute(
        self, source: Source, content: Content, before: Before | None, result: MigrationResult
    ) -> MigrationResult:
        removed = self.target.remove_leftovers()
        notices = [*result.notices, *(f"removed what an interrupted migration left: {name}" for name in removed)]
        if result.outcome == "already there":
            self.target.begin_log(content, look=True)  # an earlier run may have been interrupted just before that
            return structs.replace(result, executed=True, notices=notices)
        backup = self._replace(source, content, before)
        self.target.begin_log(content)
        return structs.replace(result, outcome="migrated", executed=True, backup=backup, notices=notices)

    def _replace(self, source: Source, content: Content, before: Before | None) -> str | None:
        """Make the new store and put it in its place; says where the old one was copied to."""
        target = self.target
        stored = target.settle(before)
        replacement = self.backend.replacement(self.files, target.location.path, stored, layout=self.layout)
        backup = None
        has_log = True
        try:
            with_indexes = self.layout is None  # a session file has no room for them
            build(replacement, self.backend, source.view, content, self._report, with_indexes=with_indexes)
            if before is not None and before.content.records:
                backup = target.copy_aside(before.content)
            has_log = False
            target.remove_log()
            replacement.take_place()
        except BaseException as error:
            with suppress(SessionDBError, OSError):  # what went wrong first is what is said
                replacement.discard()
                if before is not None and not has_log and not isinstance(error, DurabilityUnknownError):
                    target.begin_log(before.content)  # nothing came in its place
            raise
        return backup

    # ---- judging

    def _must_be_two_places(self) -> None:
        """A file is the same under all its names."""
        target = self.target.location
        same = self.source == target
        if not self.backend.remote and not backend_class(self.source.scheme).remote:
            one, other = self.files.stat(self.source.path), self.files.stat(target.path)
            same = same or (one is not None and other is not None and one.identity == other.identity)
        if same:
            raise UsageError(f"source and target are the same store: {target}; next: name another target")

    def _refusals(self, content: Content, before: Before | None, *, replace: bool) -> list[str]:
        """Why it is not done, a sentence each."""
        found = []
        target, there = self.target.location, 0 if before is None else before.content.records
        if self._misfits:
            first = self._misfits[0]
            found.append(
                f"{count(len(self._misfits), 'record')} of the source would not come back as they are from {target}: "
                f"table {first.table!r}, key {first.key!r:.100}: {first.problem}"
                + ("; and others, which a preview lists" if len(self._misfits) > 1 else "")
                + "; next: change them in the source, or choose another target"
            )
        if there and not content.records:
            found.append(
                f"the source {self.source} holds no record, the target {target} {count(there, 'record')}; next: check "
                "the source's location; to empty the target, drop its tables"
            )
        elif there and not replace:
            found.append(
                f"the target {target} holds {count(there, 'record')}; next: choose another target, or say that it is "
                "to be replaced (replace=True, --replace): it is copied aside first"
            )
        return found

    def _judged(self, source: Source, content: Content, before: Before | None, *, replace: bool) -> MigrationResult:
        there = None
        if before is not None and before.content.records:
            there = _shown(self.target.location, self.backend, before.content)
        done = (
            before is not None
            and before.content.digest == content.digest
            and self.layout in (None, before.layout)
            and not self._misfits
        )
        return MigrationResult(
            outcome="already there" if done else "preview",
            executed=False,
            source=_shown(self.source, type(source.store.backend), content),
            target=_name(self.target.location, self.backend),
            target_backend=self.backend.scheme,
            layout=self.layout,
            replaced=None if done else there,
            backup=None,
            refusals=[] if done else self._refusals(content, before, replace=replace),
            misfits=self._misfits,
            notices=source.notices,
        )


def count(number: int, what: str) -> str:
    """A number of things, in words."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _name(location: Location, backend: type[Backend]) -> str:
    """For people; of a store on a server all that tells it from others there."""
    shown: Callable[[str], str] | None = getattr(backend, "shown", None)
    return str(location) if shown is None else shown(location.path)


def _shown(location: Location, backend: type[Backend], content: Content) -> StoreContent:
    return StoreContent(
        location=_name(location, backend),
        backend=backend.scheme,
        records=content.records,
        digest=content.digest,
        tables=content.tables,
    )


def _nobody_asks(_: int, __: int) -> None:
    """Nobody is told how far it has come."""
