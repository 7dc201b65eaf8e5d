"""Protocol bugs in recovery and in the bytes that it reads, to be planted as those of `crash.mutants` are."""

from __future__ import annotations

from typing import Any

import sessiondb_backends.json_file as json_file
from sessiondb import opening, recovery
from sessiondb.memtable import Memtable
from sessiondb.wal import format as wal_format
from sessiondb.wal import reader, verdict

from .mutants import Patch, Without, mutant

__all__: list[str] = []


@mutant("recovery goes on behind a torn tail", "append_never", "recoveries")
def appends_behind_torn_tail(patch: Patch) -> None:
    read_log = verdict.read_log

    def mutated(*arguments: Any, **options: Any) -> Any:
        contents = read_log(*arguments, **options)
        if contents.torn is not None:
            contents.end = -(-(contents.torn.offset + contents.torn.length) // 8) * 8
            contents.torn = None
        return contents

    patch.setattr(recovery, "read_log", mutated)


@mutant("recovery goes on in the segment whose torn tail it has cut", "append_never", "recoveries")
def appends_over_torn_tail(patch: Patch) -> None:
    continue_log = recovery._continue

    def mutated(files: Any, folder: str, uuid: bytes, position: Any, found: Any, *rest: Any) -> Any:
        torn, found.contents.torn = found.contents.torn, None
        tail, _ = continue_log(files, folder, uuid, position, found, *rest)
        found.contents.torn = torn
        return tail, recovery._quarantine_tail(files, folder, found.contents)

    patch.setattr(recovery, "_continue", mutated)


@mutant("a torn tail is cut without keeping a copy", "append_never")
def no_quarantine(patch: Patch) -> None:
    patch.setattr(recovery, "_quarantine", lambda *_: None)


@mutant("the epoch is not raised after a cut", "torn_first_frame", "append_never")
def epoch_stays(patch: Patch) -> None:
    next_header = recovery._next_header

    def mutated(uuid: bytes, epoch: int, contents: Any) -> Any:
        return next_header(uuid, epoch if contents.newest is None else contents.newest.epoch, contents)

    patch.setattr(recovery, "_next_header", mutated)


@mutant("replay leaves out the first transaction behind the checkpoint", "checkpoint")
def replay_off_by_one(patch: Patch) -> None:
    apply = Memtable.apply

    def mutated(self: Any, lsn: int, operations: Any, newest_reader: int) -> None:
        if newest_reader != -1 or lsn != self.last_lsn + 1 or self.records:
            apply(self, lsn, operations, newest_reader)
        else:
            self.records += 1

    survey = recovery.survey

    def mutated_survey(*arguments: Any, **options: Any) -> Any:
        patch.setattr(Memtable, "apply", mutated)
        try:
            return survey(*arguments, **options)
        finally:
            patch.setattr(Memtable, "apply", apply)

    patch.setattr(recovery, "survey", mutated_survey)


@mutant("recovery gives the last LSN out again", "append_always")
def lsn_given_out_again(patch: Patch) -> None:
    survey = recovery.survey

    def mutated(files: Any, folder: str, uuid: bytes, applied: int, **options: Any) -> Any:
        found = survey(files, folder, uuid, applied, **options)
        found.contents.last_lsn = max(found.contents.last_lsn - 1, 0)
        return found

    patch.setattr(recovery, "survey", mutated)


@mutant("what was replayed is not synced before it is served", "killed_before_a_sync", "recoveries")
def replayed_unsynced(patch: Patch) -> None:
    patch.setattr(recovery, "_sync_newest", lambda *_: None)


@mutant("recovery believes the page cache after a sync that failed", "recoveries")
def replayed_from_the_cache(patch: Patch) -> None:
    survey = recovery.survey

    def mutated(files: Any, folder: str, uuid: bytes, applied: int, **_: Any) -> Any:
        return survey(files, folder, uuid, applied)

    patch.setattr(recovery, "survey", mutated)


@mutant("the JSON file is trusted as it is in the cache", "killed_before_a_sync")
def json_unsynced_at_open(patch: Patch) -> None:
    make_folder = opening._make_folder
    patch.setattr(json_file, "sync_named", lambda *_: None)
    patch.setattr(opening, "_make_folder", lambda files, folder: make_folder(Without(files, "sync_folder"), folder))


@mutant("HEAD's last LSN is taken as a witness", "append_never", "group_commit")
def last_lsn_is_a_witness(patch: Patch) -> None:
    decode = verdict.decode_durable

    def mutated(head: bytes, uuid: bytes) -> dict[int, int]:
        durable = decode(head, uuid)
        for epoch, lsn in durable.items():
            position = wal_format.decode_position(head, uuid, epoch)
            durable[epoch] = lsn if position is None else max(lsn, position[0])
        return durable

    patch.setattr(verdict, "decode_durable", mutated)


@mutant("the log stops at the first bad frame, whoever says that there were more", "growth")
def no_witnesses(patch: Patch) -> None:
    patch.setattr(verdict._Reading, "_refuse_if_durable", lambda *_: None)
    patch.setattr(verdict, "find_later_frame", lambda *_: None)


@mutant("a segment may start anywhere behind the checkpoint", "checkpoints")
def gaps_are_fine(patch: Patch) -> None:
    chain = verdict._Reading._chain

    def mutated(self: Any, newest: Any) -> Any:
        applied, self.applied = self.applied, 1 << 62
        try:
            return chain(self, newest)
        finally:
            self.applied = applied

    patch.setattr(verdict._Reading, "_chain", mutated)


# ---- bytes


@mutant("a frame's header is trusted before its checksum", "append_never", "group_commit", "append_interval")
def length_first(patch: Patch) -> None:
    def mutated(data: bytes, offset: int, salt: int) -> Any:
        if len(data) - offset < wal_format.FRAME_HEADER_BYTES:
            return None
        header = wal_format.FrameHeader._make(wal_format._FRAME.unpack_from(data, offset))
        return header if header.type else None

    patch.setattr(reader, "decode_frame_header", mutated)


@mutant("a payload's checksum is not looked at", "transactions", "growth")
def payload_unchecked(patch: Patch) -> None:
    class Any4Bytes(int):
        def __ne__(self, other: object) -> bool:
            return False

        def __hash__(self) -> int:
            return 0

    decode = wal_format.decode_frame_header

    def mutated(data: bytes, offset: int, salt: int) -> Any:
        header = decode(data, offset, salt)
        return None if header is None else header._replace(payload_crc=Any4Bytes(header.payload_crc))

    patch.setattr(reader, "decode_frame_header", mutated)


@mutant("a segment header's checksum is not looked at", "roll", "append_during_checkpoint")
def segment_header_unchecked(patch: Patch) -> None:
    def mutated(data: bytes) -> Any:
        if len(data) < wal_format.SEGMENT_HEADER_BYTES:
            return None
        crc = wal_format._CRC.unpack_from(data, wal_format.SEGMENT_HEADER_BYTES - 4)[0]
        return wal_format.SegmentHeader(*wal_format._SEGMENT.unpack_from(data)[4:], crc)

    patch.setattr(verdict, "decode_segment_header", mutated)
    patch.setattr(recovery, "decode_segment_header", mutated)


@mutant("the JSON file's digest is not looked at", "checkpoint")
def digest_unchecked(patch: Patch) -> None:
    class Never(str):
        def __ne__(self, other: object) -> bool:
            return False

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 0

    decode = json_file.decode_header

    def mutated(data: bytes) -> Any:
        header = decode(data)
        return None if header is None else json_file.Header(header.identity, header.position, Never(header.digest))

    patch.setattr(json_file, "decode_header", mutated)
