"""HEAD: where the log stands, for other processes and for recovery. Its bytes are in `sessiondb.wal.format`.

HEAD is written through shared memory and not synced while the store is open, so after a power cut any of its
sectors may be older than the log, newer, or garbage. Everything in it checks itself, and only its durable
entries are witnesses.
"""

from __future__ import annotations

import os

from ..files import Files, Mapping
from .format import (
    GENERATION_OFFSET,
    HEAD_BYTES,
    OWNER_OFFSET,
    POSITION_OFFSET,
    POSITION_WORDS,
    STATE_OPEN,
    WORD,
    HeadSlot,
    SegmentName,
    decode_slot,
    durable_offset,
    encode_durable,
    encode_slot,
    position_key,
    slot_offset,
)

__all__ = ["Head", "newest_slot", "read_head"]

_OWN_ENTRY = 0
"""The durable entry of the one process that may have the store open."""


def read_head(files: Files, folder: str) -> bytes:
    """HEAD's bytes as they are, empty when there is none."""
    path = f"{folder}/HEAD"
    if files.stat(path) is None:
        return b""
    file = files.open(path, read_only=True)
    try:
        return file.pread(HEAD_BYTES, 0)
    finally:
        file.close()


def newest_slot(data: bytes) -> HeadSlot | None:
    """The newer of the append slots with a good checksum."""
    slots = [slot for turn in (0, 1) if (slot := decode_slot(data, slot_offset(turn))) is not None]
    return max(slots, key=lambda slot: slot.sequence, default=None)


class Head:
    """HEAD of an open store. Slots and words are changed only under the append lock."""

    def __init__(self, memory: Mapping, slot: HeadSlot):
        self._memory = memory
        self._slot = slot
        self._position_key = position_key(slot.uuid, slot.epoch)

    @classmethod
    def begin(cls, files: Files, folder: str, slot: HeadSlot, durable_lsn: int) -> Head:
        """Start HEAD anew for a store that was just recovered: nothing of what it said before is kept.

        The file is made, or made as long as it must be, before it is mapped. A torn or missing HEAD costs a
        witness, never an error.
        """
        path = f"{folder}/HEAD"
        file = files.open(path, create=True)
        try:
            if file.size() < HEAD_BYTES:
                file.pwrite(bytes(HEAD_BYTES), 0)
                file.fsync()
                files.sync_folder(folder)
        finally:
            file.close()
        memory = files.map(path, HEAD_BYTES)
        memory.write(bytes(HEAD_BYTES), 0)
        head = cls(memory, slot)
        head.publish_durable(durable_lsn)
        head.set_state(STATE_OPEN, slot.end, slot.last_lsn)
        return head

    def publish(self, end: int, last_lsn: int) -> None:
        """Say where the next frame goes and which LSN was last: one small write with every frame."""
        words = POSITION_WORDS.pack(last_lsn, end, last_lsn ^ end ^ self._position_key)
        self._memory.write(words, POSITION_OFFSET)

    def publish_durable(self, lsn: int) -> None:
        """Store the durable word: call it only after a sync that covers `lsn` has succeeded."""
        entry = encode_durable(self._slot.uuid, _OWN_ENTRY, lsn, self._slot.epoch)
        self._memory.write(entry, durable_offset(_OWN_ENTRY))

    def set_segment(self, segment: SegmentName, end: int, last_lsn: int) -> None:
        """The log goes on in another segment."""
        self._change(self._slot._replace(segment=segment), end, last_lsn)

    def set_applied(self, applied: int, end: int, last_lsn: int) -> None:
        """The backend has reached another LSN."""
        self._change(self._slot._replace(applied=applied), end, last_lsn)

    def set_state(self, state: int, end: int, last_lsn: int) -> None:
        """OPEN, CLEAN or POISONED, in a slot and in the generation word."""
        self._change(self._slot._replace(state=state), end, last_lsn)
        self._memory.write(WORD.pack(self._slot.epoch * 256 + state), GENERATION_OFFSET)

    def generation(self) -> int:
        """Epoch and state in one number, as any process sees them now."""
        value: int = WORD.unpack(self._memory.read(8, GENERATION_OFFSET))[0]
        return value

    def set_owner(self, held: bool) -> None:
        """Mark that LOCK is held by this process, or by nobody."""
        word = os.getpid() | (_start_time() & 0xFFFFFFFF) << 32 if held else 0
        self._memory.write(WORD.pack(word), OWNER_OFFSET)

    def sync(self) -> None:
        """Make HEAD durable, so that its witnesses outlive a power cut."""
        self._memory.sync()

    def close(self) -> None:
        """Unmap."""
        self._memory.close()

    def _change(self, slot: HeadSlot, end: int, last_lsn: int) -> None:
        slot = slot._replace(sequence=slot.sequence + 1, end=end, last_lsn=last_lsn)
        self._slot = slot
        self._memory.write(encode_slot(slot), slot_offset(slot.sequence))
        self.publish(end, last_lsn)


def _start_time() -> int:
    """When this process started, in clock ticks since boot: with the pid it names a process for good."""
    try:
        with open("/proc/self/stat", "rb") as file:
            return int(file.read().rsplit(b")", 1)[1].split()[19])
    except OSError:
        return 0
