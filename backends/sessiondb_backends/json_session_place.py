"""A session file and what is known of it, on disk: the file, ``<file>.prev``, and ``MARK`` in the log's folder.

The file says nothing of a position, so that is kept in ``MARK``, bound to the file's bytes by their digest. The order
of a replacement, and what each step is for:

1. write the new file beside the old one (``<file>.tmp``) and fsync it;
2. ``MARK``, durably: "the file with this digest is at A, the one with that digest at C". From here on either file may
   be found, whatever comes;
3. give the old file a second name, ``<file>.prev``: a program that writes in place may be at it right now;
4. rename the new file over the old one, fsync the folder: until then the old one can come back;
5. read ``<file>.prev``: if it is not what was known, somebody wrote between the last look and step 4. Then it is kept
   as ``<file>.conflict-<time>``, and reported;
6. ``MARK``, durably: "the file with that digest is at C". Only then may the log be let go.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import NamedTuple

import msgspec

from sessiondb.backend import ForeignEdit
from sessiondb.errors import CorruptionError
from sessiondb.files import Files
from sessiondb.lazy_logging import LazyLogger
from sessiondb.wal.verdict import segment_names

from .json_replacing import keep_owner, read_whole, remove, sync_named
from .json_session_mark import Known, Mark, decode_mark, encode_mark

__all__ = ["SessionPlace", "Standing", "digest_of", "standing"]

logger = LazyLogger("sessiondb.session_file")


def digest_of(data: bytes) -> str:
    """What names a file in ``MARK``."""
    return hashlib.sha256(data).hexdigest()


class Standing(NamedTuple):
    """What a file is, by its mark."""

    known: Known
    """It, or what it was before somebody else changed it."""
    edit: ForeignEdit | None


def standing(mark: Mark, digest: str) -> Standing:
    """What the file with this digest is."""
    after = mark.next
    if after is not None and mark.adopting:
        return Standing(mark.now, ForeignEdit(after.lsn, digest == after.digest))
    if after is not None and digest == after.digest:
        return Standing(after, None)
    if digest == mark.now.digest:
        return Standing(mark.now, None)
    return Standing(mark.now, ForeignEdit(mark.now.lsn, False))


class SessionPlace:
    """The files of one session file."""

    def __init__(self, files: Files, path: str):
        self.files = files
        self.path = path
        self.folder = f"{path}.wal"
        self.mark_path = f"{self.folder}/MARK"
        self.prev_path = f"{path}.prev"
        self.conflicts: list[str] = []
        """What others wrote while the file was being replaced: kept, and to be looked at by somebody."""

    def has_mark(self) -> bool:
        """Whether the file was ever opened here."""
        return self.files.stat(self.mark_path) is not None

    def has_log(self) -> bool:
        """Whether there is a log beside it."""
        files, folder = self.files, self.folder
        if files.stat(folder) is None:
            return False
        return bool(segment_names(files, folder)) or files.stat(f"{folder}/HEAD") is not None

    def read(self) -> tuple[bytes, str]:
        """The file, and its digest."""
        data = read_whole(self.files, self.path)
        return data, digest_of(data)

    def read_mark(self) -> Mark | None:
        """What is known of the file; ``None``: nothing is.

        Raises:
            CorruptionError: the mark is damaged.
        """
        if not self.has_mark():
            return None
        mark = decode_mark(read_whole(self.files, self.mark_path))
        if mark is None:
            raise CorruptionError(
                "the mark that says what is in the session file is damaged", path=self.mark_path,
                advice="restore it; if `sessiondb log dump` shows nothing that the file lacks, move the folder that "
                "it is in away instead",
            )  # fmt: skip
        return mark

    def write_mark(self, mark: Mark) -> None:
        """Replace the mark; durable on return."""
        files, temporary = self.files, f"{self.mark_path}.tmp"
        remove(files, temporary)
        file = files.open(temporary, create=True, exclusive=True)
        try:
            file.pwrite(encode_mark(mark), 0)
            file.fsync()
        finally:
            file.close()
        files.replace(temporary, self.mark_path)
        files.sync_folder(self.folder)

    def sync(self) -> None:
        """Make the file durable as it is, whoever wrote it."""
        sync_named(self.files, self.path)

    def sync_mark(self) -> None:
        """Make the mark's name durable: whoever wrote it may have been killed before, and a log without it is lost."""
        self.files.sync_folder(self.folder)

    def create(self, data: bytes) -> None:
        """Make the file where none is."""
        self._write_beside(data)
        self.files.replace(f"{self.path}.tmp", self.path)
        self.files.sync_folder(os.path.dirname(self.path))

    def replace(self, data: bytes, mark: Mark, current: Known, after: Known) -> None:
        """Put a new file in the place of the current one.

        Args:
            data: the new file.
            mark: what is on disk.
            current: the file as it is now.
            after: the new file.
        """
        files, path = self.files, self.path
        if after.digest != current.digest:
            self._write_beside(data)
            mark = msgspec.structs.replace(mark, now=current, next=after, adopting=False)
            self.write_mark(mark)
            self._free_prev(mark)
            files.link(path, self.prev_path)
            files.replace(f"{path}.tmp", path)
            files.sync_folder(os.path.dirname(path))
        else:
            self.sync()  # an earlier call may have been cut off behind the rename
        self.settle(mark, after)

    def settle(self, mark: Mark, known: Known) -> None:
        """The file is durable, and is this: let go of what else it might have been."""
        prev = self._check_prev(mark)
        self.write_mark(msgspec.structs.replace(mark, now=known, next=None, adopting=False, prev=prev))

    def _write_beside(self, data: bytes) -> None:
        files, temporary = self.files, f"{self.path}.tmp"
        remove(files, temporary)
        file = files.open(temporary, create=True, exclusive=True)
        try:
            keep_owner(files, self.path, file)
            file.pwrite(data, 0)
            file.fsync()  # a rename may reach the disk before the data it names
        except OSError:
            file.close()
            files.unlink(temporary)
            raise
        file.close()

    def _free_prev(self, mark: Mark) -> None:
        """Make room for the next ``.prev``; what somebody wrote into the last one meanwhile is kept."""
        self._check_prev(mark)
        remove(self.files, self.prev_path)

    def _check_prev(self, mark: Mark) -> str | None:
        """The digest of ``.prev``, which is what this program has put there; anything else is moved aside."""
        files, path = self.files, self.prev_path
        info, current = files.stat(path), files.stat(self.path)
        if info is None:
            return None
        if current is not None and info.identity == current.identity:
            return mark.prev  # a replacement was cut off between its two renames
        digest = digest_of(read_whole(files, path))
        if digest in (mark.prev, mark.now.digest):
            return digest
        kept = self._conflict_path()
        files.replace(path, kept)
        files.sync_folder(os.path.dirname(path))
        self.conflicts.append(kept)
        logger.error(
            "%s: another program wrote to it while it was being replaced; what it wrote is kept in %s", self.path, kept
        )
        return None

    def _conflict_path(self) -> str:
        stem = f"{self.path}.conflict-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        number = 0
        while self.files.stat(path := f"{stem}-{number}" if number else stem) is not None:
            number += 1
        return path

    def find_conflicts(self) -> list[str]:
        """Every file that was moved aside and is still there."""
        folder, name = os.path.split(self.path)
        return [f"{folder}/{other}" for other in self.files.names(folder) if other.startswith(f"{name}.conflict-")]
