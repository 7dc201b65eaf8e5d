"""The bytes of the log: what is encoded decodes to the same, and a changed bit never decodes to something else."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from properties.strategies import operations
from sessiondb.errors import UnsupportedFormatError
from sessiondb.files import File
from sessiondb.wal.format import (
    DURABLE_ENTRIES,
    FRAME_HEADER_BYTES,
    HEAD_BYTES,
    POSITION_OFFSET,
    POSITION_WORDS,
    SEAL,
    SEGMENT_HEADER_BYTES,
    TRANSACTION,
    HeadSlot,
    SegmentHeader,
    SegmentName,
    decode_durable,
    decode_frame_header,
    decode_position,
    decode_segment_header,
    decode_slot,
    durable_offset,
    encode_durable,
    encode_frame,
    encode_segment_header,
    encode_slot,
    frame_bytes,
    is_good_salt,
    position_key,
    slot_offset,
)
from sessiondb.wal.operations import decode_operations, encode_operations
from sessiondb.wal.reader import FrameReader, find_later_frame, last_nonzero

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
uuids = st.binary(min_size=16, max_size=16)
salts = u32.filter(is_good_salt)
segment_headers = st.builds(SegmentHeader, uuids, u32, salts, u64, u32, u32, u64, u64, u64)
segment_names = st.builds(SegmentName, u32, u64)
slots = st.builds(HeadSlot, uuids, uuids, u32, st.integers(1, 3), segment_names, u64, u64, u64, u64)
frames = st.tuples(st.sampled_from([TRANSACTION, SEAL]), u64, st.binary(max_size=50), u32, u64, u64, salts)


class Bytes(File):
    """A file that is a few bytes in memory."""

    def __init__(self, data: bytes):
        super().__init__(-1, "memory")
        self.data = data

    def pread(self, length: int, offset: int) -> bytes:
        return self.data[offset : offset + length]

    def size(self) -> int:
        return len(self.data)


def flips(data: bytes) -> list[bytes]:
    """The data with each of its bits changed in turn."""
    return [
        data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :] for bit in range(8 * len(data))
    ]


def test_operations_come_back_as_they_were(effort: settings) -> None:
    @effort
    @given(operations)
    def check(given: list[Any]) -> None:
        assert decode_operations(encode_operations(given)) == given

    check()


def test_a_payload_that_is_none_is_a_value_error_and_nothing_else(effort: settings) -> None:
    @effort
    @given(st.binary(max_size=60) | operations.map(encode_operations).flatmap(_cut_or_changed))
    def check(payload: bytes) -> None:
        try:
            decoded = decode_operations(payload)
        except ValueError:
            return
        assert decode_operations(encode_operations(decoded)) == decoded

    check()


def _cut_or_changed(payload: bytes) -> st.SearchStrategy[bytes]:
    place = st.integers(0, len(payload) - 1)
    return place.map(lambda at: payload[:at]) | st.builds(
        lambda at, byte: payload[:at] + bytes([byte]) + payload[at + 1 :], place, st.integers(0, 255)
    )


def test_a_frame_comes_back_as_it_was(effort: settings) -> None:
    @effort
    @given(frames, st.binary(max_size=20), st.binary(max_size=20))
    def check(given: tuple[int, int, bytes, int, int, int, int], before: bytes, behind: bytes) -> None:
        kind, lsn, payload, prev, undurable, time_us, salt = given
        data, crc = encode_frame(*given)
        assert len(data) == frame_bytes(len(payload))
        assert len(data) % 8 == 0
        header = decode_frame_header(before + data + behind, len(before), salt)
        assert header is not None
        assert header == (
            crc,
            len(payload),
            lsn,
            crc32(payload, salt),
            kind,
            0,
            0,
            prev,
            min(undurable, 2**32 - 1),
            time_us,
        )
        assert data[FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + len(payload)] == payload
        assert not data[FRAME_HEADER_BYTES + len(payload) :].strip(b"\0")

    check()


def test_any_changed_bit_of_a_frame_header_is_noticed(effort: settings) -> None:
    @settings(effort, max_examples=effort.max_examples // 4)
    @given(frames)
    def check(given: tuple[int, int, bytes, int, int, int, int]) -> None:
        data, _ = encode_frame(*given)
        for changed in flips(data[:FRAME_HEADER_BYTES]):
            assert decode_frame_header(changed, 0, given[-1]) is None

    check()


def test_a_frame_of_another_segment_is_no_frame(effort: settings) -> None:
    """Its salt is another one: what a disk block still holds from an old file is never taken in."""

    @effort
    @given(frames, salts)
    def check(given: tuple[int, int, bytes, int, int, int, int], other: int) -> None:
        if other != given[-1]:
            assert decode_frame_header(encode_frame(*given)[0], 0, other) is None

    check()


def test_zeros_are_no_frame_under_any_salt_that_is_used(effort: settings) -> None:
    @effort
    @given(salts)
    def check(salt: int) -> None:
        assert decode_frame_header(bytes(64), 0, salt) is None

    check()


def _segment(header: SegmentHeader, payloads: list[bytes], time_us: int) -> tuple[bytes, SegmentHeader, list[int]]:
    """A segment's bytes, its header, and where each of its frames begins."""
    data, header = encode_segment_header(header)
    starts, prev = [], header.crc
    for number, payload in enumerate(payloads):
        starts.append(len(data))
        lsn = header.first_lsn + number
        frame, prev = encode_frame(TRANSACTION, lsn, payload, prev, 1, time_us, header.salt)
        data += frame
    return data, header, starts


small_segments = st.builds(
    _segment,
    segment_headers.map(lambda header: header._replace(first_lsn=header.first_lsn % 2**40)),
    st.lists(st.binary(max_size=24), min_size=1, max_size=4),
    u64,
)


def test_a_reader_shows_the_frames_before_a_changed_bit_and_none_that_was_never_written(effort: settings) -> None:
    @settings(effort, max_examples=effort.max_examples // 4)
    @given(small_segments, st.data())
    def check(segment: tuple[bytes, SegmentHeader, list[int]], data: st.DataObject) -> None:
        whole, header, starts = segment
        written = list(FrameReader(Bytes(whole), header))
        assert [frame.offset for frame in written] == starts
        bits = data.draw(st.lists(st.integers(SEGMENT_HEADER_BYTES * 8, len(whole) * 8 - 1), min_size=1, max_size=40))
        for bit in bits:
            changed = bytearray(whole)
            changed[bit // 8] ^= 1 << bit % 8
            reader = FrameReader(Bytes(bytes(changed)), header)
            found = list(reader)
            hit = sum(start <= bit // 8 for start in starts) - 1
            assert found in (written[:hit], written), "the frames before it, or all when only padding was hit"
            assert (found == written) == (not reader.problem or reader.end == len(whole))

    check()


def test_a_segment_that_is_cut_anywhere_shows_its_whole_frames(effort: settings) -> None:
    @settings(effort, max_examples=effort.max_examples // 4)
    @given(small_segments, st.sampled_from([0, 1, 100]))
    def check(segment: tuple[bytes, SegmentHeader, list[int]], zeros: int) -> None:
        whole, header, _ = segment
        written = list(FrameReader(Bytes(whole), header))
        ends = [frame.offset + FRAME_HEADER_BYTES + len(frame.payload) for frame in written]
        for stop in range(SEGMENT_HEADER_BYTES, len(whole)):
            cut = whole[:stop]
            found = list(FrameReader(Bytes(cut), header))
            assert found == written[: sum(end <= stop for end in ends)]
            # Zeros behind the cut, as in a file that grew before its data came: only zeros of a payload may pass.
            for frame in list(FrameReader(Bytes(cut + bytes(zeros)), header)):
                assert frame in written

    check()


def test_a_later_frame_is_found_wherever_it_begins(effort: settings) -> None:
    @effort
    @given(small_segments, st.integers(0, 200), st.integers(0, 255))
    def check(segment: tuple[bytes, SegmentHeader, list[int]], gap: int, filler: int) -> None:
        whole, header, starts = segment
        damaged = whole[: starts[0]] + bytes([filler]) * (starts[-1] - starts[0]) + whole[starts[-1] :]
        found = find_later_frame(Bytes(damaged + bytes(gap)), header.salt, starts[0], header.first_lsn)
        if len(starts) == 1:
            assert found is None
        else:
            assert found is not None
            assert found[0] == starts[-1]
            assert found[1].lsn == header.first_lsn + len(starts) - 1

    check()


def test_the_last_byte_that_is_not_zero_is_found(effort: settings) -> None:
    @effort
    @given(st.binary(max_size=50), st.integers(0, 60), st.integers(0, 50))
    def check(data: bytes, zeros: int, start: int) -> None:
        kept = len(data.rstrip(b"\0"))
        assert last_nonzero(Bytes(data + bytes(zeros)), start) == max(kept, start)

    check()


def test_a_segment_header_comes_back_as_it_was(effort: settings) -> None:
    @effort
    @given(segment_headers)
    def check(given: SegmentHeader) -> None:
        data, header = encode_segment_header(given)
        assert len(data) == SEGMENT_HEADER_BYTES
        assert header == given._replace(crc=header.crc)
        assert decode_segment_header(data) == header
        assert decode_segment_header(data + b"frames") == header

    check()


def test_any_changed_bit_of_a_segment_header_is_noticed(effort: settings) -> None:
    @settings(effort, max_examples=effort.max_examples // 10)
    @given(segment_headers)
    def check(given: SegmentHeader) -> None:
        data, _ = encode_segment_header(given)
        for changed in flips(data):
            assert decode_segment_header(changed) is None

    check()


@pytest.mark.parametrize("version", [0, 2, 3, 65_535])
def test_a_good_header_of_another_version_is_named_and_not_called_damaged(version: int) -> None:
    data, _ = encode_segment_header(SegmentHeader(bytes(16), 1, 2, 3, 0, 0, 0, 0, 4))
    other = data[:8] + version.to_bytes(2, "little") + data[10:-4]
    with pytest.raises(UnsupportedFormatError, match=f"version {version}"):
        decode_segment_header(other + crc32(other).to_bytes(4, "little"))


def test_a_segment_name_comes_back_and_no_other_text_is_one(effort: settings) -> None:
    @effort
    @given(segment_names, st.text(alphabet="0123456789abcdefABCDEF-+_. xseg", max_size=32), st.integers(0, 28))
    def check(name: SegmentName, text: str, at: int) -> None:
        assert SegmentName.parse(str(name)) == name
        for candidate in (text, str(name)[:at] + text[:1] + str(name)[at + 1 :]):
            parsed = SegmentName.parse(candidate)
            assert parsed is None or str(parsed) == candidate

    check()


def test_names_sort_as_the_log_does(effort: settings) -> None:
    @effort
    @given(st.lists(segment_names))
    def check(names: list[SegmentName]) -> None:
        assert sorted(map(str, names)) == [str(name) for name in sorted(names)]

    check()


def test_a_head_slot_comes_back_as_it_was(effort: settings) -> None:
    @effort
    @given(slots)
    def check(slot: HeadSlot) -> None:
        page = bytearray(HEAD_BYTES)
        data = encode_slot(slot)
        offset = slot_offset(slot.sequence)
        page[offset : offset + len(data)] = data
        assert decode_slot(bytes(page), offset) == slot
        assert decode_slot(bytes(page), slot_offset(slot.sequence + 1)) is None

    check()


def test_any_changed_bit_of_a_head_slot_is_noticed(effort: settings) -> None:
    @settings(effort, max_examples=effort.max_examples // 10)
    @given(slots)
    def check(slot: HeadSlot) -> None:
        for changed in flips(encode_slot(slot)):
            assert decode_slot(changed, 0) is None

    check()


def test_the_position_words_come_back_for_their_store_and_epoch_only(effort: settings) -> None:
    @effort
    @given(uuids, u32, u64, u64, u32, st.integers(0, POSITION_WORDS.size * 8 - 1))
    def check(uuid: bytes, epoch: int, last_lsn: int, end: int, other: int, bit: int) -> None:
        words = bytearray(POSITION_WORDS.pack(last_lsn, end, last_lsn ^ end ^ position_key(uuid, epoch)))
        page = bytes(POSITION_OFFSET)
        assert decode_position(page + words, uuid, epoch) == (last_lsn, end)
        assert other == epoch or decode_position(page + words, uuid, other) is None
        words[bit // 8] ^= 1 << bit % 8
        assert decode_position(page + words, uuid, epoch) is None
        assert decode_position(page + words[:-1], uuid, epoch) is None

    check()


def test_the_highest_durable_entry_of_each_epoch_is_the_witness(effort: settings) -> None:
    @effort
    @given(uuids, uuids, st.dictionaries(st.integers(0, DURABLE_ENTRIES - 1), st.tuples(u64, u32, st.booleans())))
    def check(uuid: bytes, other: bytes, entries: dict[int, tuple[int, int, bool]]) -> None:
        page = bytearray(HEAD_BYTES)
        expected: dict[int, int] = {}
        for entry, (lsn, epoch, ours) in entries.items():
            data = encode_durable(uuid if ours else other, entry, lsn, epoch)
            page[durable_offset(entry) : durable_offset(entry) + len(data)] = data
            if (ours or uuid == other) and lsn:
                expected[epoch] = max(lsn, expected.get(epoch, 0))
        assert decode_durable(bytes(page), uuid) == expected

    check()


def test_a_changed_bit_of_a_durable_entry_takes_the_witness_away_and_makes_no_other(effort: settings) -> None:
    @settings(effort, max_examples=effort.max_examples // 10)
    @given(uuids, st.integers(1, 2**64 - 1), u32)
    def check(uuid: bytes, lsn: int, epoch: int) -> None:
        for changed in flips(encode_durable(uuid, 0, lsn, epoch)):
            assert decode_durable(bytes(durable_offset(0)) + changed, uuid) == {}

    check()


def test_a_durable_entry_in_another_place_says_nothing(effort: settings) -> None:
    @effort
    @given(uuids, st.integers(1, 2**64 - 1), u32, st.integers(1, DURABLE_ENTRIES - 1))
    def check(uuid: bytes, lsn: int, epoch: int, place: int) -> None:
        page = bytes(durable_offset(place)) + encode_durable(uuid, 0, lsn, epoch)
        assert decode_durable(page, uuid) == {}

    check()
