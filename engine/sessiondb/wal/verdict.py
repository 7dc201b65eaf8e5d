"""Reading a whole log: which segments count, what they hold, and what its end means. Changes nothing.

Which segments count: the newest (by epoch, then first LSN), and from it back through the predecessor that each
header names, until the backend's applied LSN is reached. Every other file is a leftover (an unlink that a power
cut undid, a history that was cut) and is ignored. *A segment ends where its successor's header says.*

The verdict at the first frame that is not valid. Witnesses that an LSN was durable are exactly:

1. HEAD's durable entries of the same store and epoch,
2. the backend's applied LSN,
3. ``lsn - undurable`` of a later frame header with a good checksum in the same segment,
4. the header of a successor segment (it was made only after its predecessor had been synced).

If a witness covers the missing LSN, the log is corrupt: refuse. Otherwise the rest is a torn tail: nobody was told
that it is durable. A newest segment of at most 128 bytes without a good header was never finished: frames are
written only after the header, so none is missing unless a witness says so. HEAD's last LSN, end offset, boot id
and state are hints, never witnesses: unsynced, they may be ahead of the log after a power cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from ..errors import CorruptionError
from ..files import File, Files
from .format import (
    SEGMENT_HEADER_BYTES,
    TRANSACTION,
    SegmentHeader,
    SegmentName,
    decode_durable,
    decode_segment_header,
)
from .reader import Frame, FrameReader, find_later_frame, last_nonzero

__all__ = ["LogContents", "TornTail", "read_log", "segment_names"]

OnFrame = Callable[[SegmentName, Frame], None]


class TornTail(NamedTuple):
    """Where a log ends in bytes that are no frame and that nobody was told are durable."""

    segment: SegmentName
    offset: int
    length: int
    problem: str


class LogContents(msgspec.Struct):
    """What `read_log` found."""

    last_lsn: int
    """LSN of the last valid transaction, or the applied LSN when the log holds none behind it."""
    newest: SegmentHeader | None = None
    """The header of the segment that holds the end; ``None`` when there is no segment."""
    end: int = 0
    """Offset behind the last valid frame of the newest segment."""
    last_crc: int = 0
    sealed: bool = False
    torn: TornTail | None = None
    unfinished: list[SegmentName] = []
    """Newest files whose header was never completed."""
    needed: list[SegmentName] = []
    """The segments that hold what the backend has not applied, oldest first."""
    leftovers: list[SegmentName] = []
    highest_epoch: int = 0
    """Over all file names, also of leftovers."""
    transactions: int = 0
    bytes: int = 0
    """Bytes of the transactions behind the applied LSN."""


def segment_names(files: Files, folder: str) -> list[SegmentName]:
    """The log's segment files, oldest first.

    Raises:
        CorruptionError: a file ends in ``.seg`` but is not named as a segment: somebody renamed it.
    """
    names = []
    for text in files.names(folder):
        if text.endswith(".seg"):
            name = SegmentName.parse(text)
            if name is None:
                raise CorruptionError("a segment file with a name that is none", path=f"{folder}/{text}")
            names.append(name)
    return sorted(names)


def read_log(
    files: Files, folder: str, uuid: bytes, applied: int, head: bytes, on_frame: OnFrame | None = None,
    *, drop_cache: bool = False,
) -> LogContents:  # fmt: skip
    """Read everything that the backend has not applied, and judge the end.

    Args:
        files: the file system.
        folder: the log's folder; it exists.
        uuid: the store's 16 bytes.
        applied: the backend's applied LSN.
        head: HEAD's bytes, empty when there is none.
        on_frame: called for each transaction frame behind the applied LSN, in order.
        drop_cache: read from the disk, not from the page cache: after a failed sync the two may differ.

    Raises:
        CorruptionError: a byte is wrong or missing that somebody was told is durable, or that nobody can judge.
        UnsupportedFormatError: a newer version wrote the log.
        OSError: reading failed; that is never a torn tail.
    """
    names = segment_names(files, folder)
    handles: dict[SegmentName, File] = {}
    try:
        for name in names:
            # All segments are opened before one is read: an open file outlives its name.
            handles[name] = files.open(f"{folder}/{name}", read_only=True)
            if drop_cache:
                handles[name].drop_cache()
        return _Reading(folder, handles, uuid, applied, head, on_frame).run()
    finally:
        for file in handles.values():
            file.close()


class _Reading:
    """One call of `read_log`."""

    def __init__(
        self, folder: str, handles: dict[SegmentName, File], uuid: bytes, applied: int, head: bytes,
        on_frame: OnFrame | None,
    ):  # fmt: skip
        self.folder = folder
        self.handles = handles
        self.uuid = uuid
        self.applied = applied
        self.durable = decode_durable(head, uuid)
        self.on_frame = on_frame
        self.headers: dict[SegmentName, SegmentHeader | None] = {}
        self.contents = LogContents(last_lsn=applied)

    def run(self) -> LogContents:
        contents = self.contents
        contents.highest_epoch = max((name.epoch for name in self.handles), default=0)
        for name, file in self.handles.items():
            self.headers[name] = self._header(name, file)
        candidates = sorted(self.handles)
        while candidates and self.headers[candidates[-1]] is None:
            self._must_be_unfinished(candidates[-1])
            contents.unfinished.append(candidates.pop())
        if candidates:
            self._read_chain(self._chain(candidates[-1]))
        else:
            self._no_segment()
        known = {*contents.needed, *contents.unfinished}
        contents.leftovers = [name for name in self.handles if name not in known]
        return contents

    def _header(self, name: SegmentName, file: File) -> SegmentHeader | None:
        header = decode_segment_header(file.pread(SEGMENT_HEADER_BYTES, 0))
        if header is None:
            return None
        whole = header.uuid == self.uuid and header.name == name
        if not whole and file.size() <= SEGMENT_HEADER_BYTES:
            # Never synced, so the disk may show an old block in its place: as good as none. No frame is in it.
            return None
        if header.uuid != self.uuid:
            raise CorruptionError("the segment belongs to another store", path=file.path, lsn=name.first_lsn)
        if header.name != name:
            raise CorruptionError(f"the segment is {header.name} by its header: it was renamed", path=file.path)
        return header

    def _must_be_unfinished(self, name: SegmentName) -> None:
        """The newest file has no good header: it was never finished, or it is damaged."""
        file = self.handles[name]
        if file.size() > SEGMENT_HEADER_BYTES:
            # Frames are written only after the header is durable, and only they make the file longer.
            raise CorruptionError(
                "the segment's header is damaged, the frames behind it cannot be judged",
                path=file.path, offset=0, lsn=name.first_lsn,
            )  # fmt: skip
        self._refuse_if_durable(name, name.first_lsn, 0, "the segment's header is damaged")

    def _no_segment(self) -> None:
        durable = max(self.durable.values(), default=0)
        if durable > self.applied:
            raise CorruptionError(
                f"the log's segments are gone: LSN {self.applied + 1} to {durable} had been acknowledged as durable",
                path=self.folder, lsn=self.applied + 1,
            )  # fmt: skip

    def _chain(self, newest: SegmentName) -> list[SegmentHeader]:
        """The newest segment and its predecessors back to the applied LSN, oldest first."""
        header = self.headers[newest]
        assert header is not None
        chain = [header]
        while chain[0].first_lsn > self.applied + 1:
            name = chain[0].predecessor
            before = None if name is None else self.headers.get(name)
            if before is None or name is None:
                what = "starts too late" if name is None else f"misses its segment {name} or its header"
                raise CorruptionError(
                    f"the log {what}: the backend has LSN {self.applied}, the log goes on at {chain[0].first_lsn}",
                    path=f"{self.folder}/{name or chain[0].name}", lsn=self.applied + 1,
                )  # fmt: skip
            if before.first_lsn > chain[0].first_lsn:
                raise CorruptionError("a segment starts behind its successor", path=f"{self.folder}/{name}")
            chain.insert(0, before)
        return chain

    def _read_chain(self, chain: list[SegmentHeader]) -> None:
        contents = self.contents
        for header, successor in zip(chain, [*chain[1:], None], strict=True):
            name = header.name
            file = self.handles[name]
            reader = FrameReader(file, header, None if successor is None else successor.prev_end)
            size = 0
            for frame in reader:
                if frame.header.type == TRANSACTION and frame.header.lsn > self.applied:
                    size += len(frame.payload)
                    if self.on_frame is not None:
                        self.on_frame(name, frame)
            contents.transactions += max(0, reader.last_lsn - max(self.applied, header.first_lsn - 1))
            contents.bytes += size
            contents.needed.append(name)
            if successor is not None:
                self._must_end_at(reader, file, successor)
            else:
                contents.newest, contents.end = header, reader.end
                contents.last_crc, contents.sealed = reader.last_crc, reader.sealed
                self._judge_end(reader, file, header)

    def _must_end_at(self, reader: FrameReader, file: File, successor: SegmentHeader) -> None:
        whole = reader.end == successor.prev_end and reader.last_crc == successor.prev_crc
        if not whole or reader.last_lsn + 1 != successor.first_lsn:
            problem = reader.problem or "it does not end where its successor says"
            raise CorruptionError(
                f"the segment is damaged: {problem}; its successor proves that LSN {reader.last_lsn + 1} was durable",
                path=file.path, offset=reader.end, lsn=reader.last_lsn + 1,
            )  # fmt: skip

    def _judge_end(self, reader: FrameReader, file: File, header: SegmentHeader) -> None:
        contents = self.contents
        missing = reader.last_lsn + 1
        self._refuse_if_durable(header.name, missing, reader.end, reader.problem or "the log ends")
        contents.last_lsn = reader.last_lsn
        stop = last_nonzero(file, reader.end)
        if stop == reader.end:
            return
        later = find_later_frame(file, header.salt, reader.end, missing)
        if later is not None:
            offset, frame = later
            raise CorruptionError(
                f"the log is damaged: {reader.problem or 'bytes behind a SEAL'}; the frame of LSN {frame.lsn} at "
                f"offset {offset} proves that LSN {missing} was durable",
                path=file.path, offset=reader.end, lsn=missing,
            )  # fmt: skip
        problem = reader.problem or "bytes behind a SEAL"
        contents.torn = TornTail(header.name, reader.end, stop - reader.end, problem)

    def _refuse_if_durable(self, name: SegmentName, missing: int, offset: int, problem: str) -> None:
        durable = self.durable.get(name.epoch, 0)
        witness = f"HEAD proves that LSN {missing} to {durable} were acknowledged as durable"
        if durable < missing:
            durable, witness = self.applied, f"the backend has LSN {self.applied} already"
        if durable >= missing:
            raise CorruptionError(
                f"the log is damaged: {problem}, but {witness}",
                path=self.handles[name].path, offset=offset, lsn=missing,
            )  # fmt: skip
