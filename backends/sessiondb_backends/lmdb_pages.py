"""The parts of LMDB's own file format (data version 1) that must be looked at before LMDB may see a file. Pure.

LMDB maps ``data.mdb`` into memory and believes what it says: a file that is shorter than its meta pages claim kills
the process with SIGBUS at the first touch of a missing page, and a damaged meta page may be followed anywhere. So the
two meta pages are read with `pread` and checked first. And whose file it is must be known before anything is created
beside it, at a moment when another process may be writing: LMDB without its lock file must not be used then.

What is relied on, all integers in the machine's byte order (little-endian is the only one supported):

* page 0 and page 1 are meta pages: header (16 bytes: page number u64, pad u16, flags u16, two u16), then magic u32
  0xBEEFC0DE, version u32, address u64, map size u64, two database records of 48 bytes (the free list, the main
  database), last page number u64, transaction id u64;
* a database record: page size or pad u32, flags u16, depth u16, branch, leaf and overflow pages u64, entries u64,
  root u64;
* transaction N writes meta page N mod 2, so the two ids differ by one, except in a file that has seen no transaction;
* the main database maps names to database records; the free list maps transaction ids to (count u64, pages u64...).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from struct import Struct
from struct import error as StructError
from typing import NamedTuple

__all__ = [
    "DamagedPages",
    "Meta",
    "NotLmdb",
    "OtherVersion",
    "entries_of",
    "has_database",
    "missing_pages_are_free",
    "read_meta",
]

Read = Callable[[int, int], bytes]
"""Bytes of the file: (length, offset)."""

MAGIC = 0xBEEFC0DE
DATA_VERSION = 1
PAGE_BYTES = (4096, 8192, 16384, 32768, 2048, 1024, 512, 65536)
NO_PAGE = (1 << 64) - 1
META_FLAG, BRANCH, LEAF, OVERFLOW = 0x08, 0x01, 0x02, 0x04
BIG_DATA, SUB_DATABASE = 0x01, 0x02
DEPTH_MAX = 32

_HEADER = Struct("<QHHHH")
_META = Struct("<IIQQ48s48sQQ")
_DATABASE = Struct("<IHHQQQQQ")
_NODE = Struct("<HHHH")
_U64 = Struct("<Q")
assert (_HEADER.size, _META.size, _DATABASE.size, _NODE.size) == (16, 136, 48, 8)


class NotLmdb(ValueError):
    """Neither meta page is one."""


class OtherVersion(ValueError):
    """LMDB's data format has another version than this module knows."""


class DamagedPages(ValueError):
    """LMDB's own structure is damaged."""

    def __init__(self, problem: str, offset: int):
        self.offset = offset
        super().__init__(problem)


class Meta(NamedTuple):
    """The newer of the two meta pages: what the file holds now."""

    page_bytes: int
    txnid: int
    last_page: int
    free_root: int
    main_root: int
    main_entries: int


def read_meta(read: Read, size: int) -> Meta:
    """The meta page that counts, both being whole; the file's length is not looked at.

    Raises:
        NotLmdb: the file is something else.
        OtherVersion: of another LMDB.
        DamagedPages: a meta page contradicts itself or the other one.
    """
    first = _parse_meta(read(152, 0))
    page_bytes = first.page_bytes if first is not None else _page_bytes_of_second(read)
    second = None if page_bytes is None else _parse_meta(read(152, page_bytes))
    if first is None and second is None:
        if size == 0:
            raise NotLmdb("an empty file")
        raise NotLmdb("an unknown file")
    for number, meta in enumerate((first, second)):
        offset = number * (page_bytes or 0)
        if meta is None:
            raise DamagedPages(f"LMDB's meta page {number} is damaged or missing", offset)
        problem = _problem(meta, number)
        if problem:
            raise DamagedPages(f"LMDB's meta page {number} is damaged: {problem}", offset)
    assert first is not None
    assert second is not None
    if first.page_bytes != second.page_bytes or abs(first.txnid - second.txnid) != (first.txnid + second.txnid > 0):
        raise DamagedPages(
            f"LMDB's meta pages contradict each other: transactions {first.txnid} and {second.txnid}, "
            f"pages of {first.page_bytes} and {second.page_bytes} bytes", 0,
        )  # fmt: skip
    return (first if first.txnid > second.txnid else second)._public()


class _ParsedMeta(NamedTuple):
    page: int
    flags: int
    version: int
    page_bytes: int
    txnid: int
    last_page: int
    free: tuple[int, ...]
    main: tuple[int, ...]

    def _public(self) -> Meta:
        return Meta(self.page_bytes, self.txnid, self.last_page, self.free[-1], self.main[-1], self.main[-2])


def _parse_meta(data: bytes) -> _ParsedMeta | None:
    if len(data) < 152:
        return None
    page, _, flags, _, _ = _HEADER.unpack_from(data)
    magic, version, _, _, free, main, last_page, txnid = _META.unpack_from(data, 16)
    if magic != MAGIC:
        # LMDB 1.0 has a header of 24 bytes: say so instead of calling it unknown.
        if data[24:28] == MAGIC.to_bytes(4, "little"):
            raise OtherVersion(f"LMDB data format {int.from_bytes(data[28:32], 'little')}")
        return None
    if version != DATA_VERSION:
        raise OtherVersion(f"LMDB data format {version}")
    free_record, main_record = _DATABASE.unpack(free), _DATABASE.unpack(main)
    return _ParsedMeta(page, flags, version, free_record[0], txnid, last_page, free_record, main_record)


def _page_bytes_of_second(read: Read) -> int | None:
    """The page size, from the second meta page, when the first is no help."""
    for size in PAGE_BYTES:
        found = _parse_meta(read(152, size))
        if found is not None and found.page_bytes == size:
            return size
    return None


def _problem(meta: _ParsedMeta, number: int) -> str:
    """What is impossible in a meta page; empty when nothing is."""
    if meta.page != number or meta.flags != META_FLAG:
        return f"its header says page {meta.page}, flags {meta.flags:#x}"
    if meta.page_bytes not in PAGE_BYTES:
        return f"a page size of {meta.page_bytes}"
    if meta.txnid and meta.txnid % 2 != number:
        return f"transaction {meta.txnid} does not belong there"
    if meta.last_page < 1 or meta.last_page > 1 << 48:
        return f"a last page {meta.last_page}"
    for name, record in (("free list", meta.free), ("main database", meta.main)):
        root, depth = record[-1], record[2]
        if (root == NO_PAGE) != (depth == 0) or depth > DEPTH_MAX:
            return f"the {name} has depth {depth} and root {root}"
        if root != NO_PAGE and not 1 < root <= meta.last_page:
            return f"the {name} begins at page {root} of {meta.last_page}"
        if record[-2] > meta.last_page * meta.page_bytes // _NODE.size:
            return f"the {name} has {record[-2]} entries"
    return ""


def entries_of(record: bytes) -> int:
    """The number of entries that a database record states.

    Raises:
        DamagedPages: it is no such record.
    """
    if len(record) != _DATABASE.size:
        raise DamagedPages("a named database is none", 0)
    return int(_DATABASE.unpack(record)[-2])


# ---- trees


def has_database(read: Read, meta: Meta, name: bytes) -> bool:
    """Whether the main database has a named database of this name.

    Raises:
        DamagedPages: a page on the way is none.
    """
    number = meta.main_root
    for _ in range(DEPTH_MAX):
        if number == NO_PAGE:
            return False
        with _damage(meta, number):
            flags, nodes = _nodes(read(meta.page_bytes, number * meta.page_bytes), number)
            if flags == LEAF:
                return any(key == name and flags & SUB_DATABASE for key, flags, _ in _entries(read, meta, nodes))
            # The first key of a branch page counts as the lowest there is, whatever it says.
            number = _child(next(node for node in [*nodes[:0:-1], nodes[0]] if node is nodes[0] or _key(node) <= name))
    raise DamagedPages("LMDB's main database is deeper than can be", meta.main_root * meta.page_bytes)


def missing_pages_are_free(read: Read, meta: Meta, size: int) -> bool:
    """Whether all pages that the file is too short for are on the free list: those are never read.

    A page that a transaction took at the file's end and gave back need not have been written. Any other missing page
    means that the file was cut.
    """
    first, behind = size // meta.page_bytes, meta.last_page + 1
    free: set[int] = set()
    try:
        for _, _, data in _leaves(read, meta, meta.free_root):
            free.update(page for (page,) in _U64.iter_unpack(data[8:]) if first <= page < behind)
    except DamagedPages:
        return False  # a page of the list itself is missing
    return len(free) == behind - first


def _leaves(read: Read, meta: Meta, root: int) -> Iterator[tuple[bytes, int, bytes]]:
    """Every (key, flags, data) of a tree, in order."""
    if root == NO_PAGE:
        return
    todo = [(root, 1)]
    while todo:
        number, depth = todo.pop()
        with _damage(meta, number):
            if depth > DEPTH_MAX:
                raise ValueError
            flags, nodes = _nodes(read(meta.page_bytes, number * meta.page_bytes), number)
            if flags == BRANCH:
                todo.extend((_child(node), depth + 1) for node in reversed(nodes))
            else:
                yield from _entries(read, meta, nodes)


@contextmanager
def _damage(meta: Meta, number: int) -> Iterator[None]:
    """Whatever goes wrong with a page's bytes is the page's damage."""
    try:
        if not 1 < number <= meta.last_page:
            raise ValueError
        yield
    except (ValueError, StructError, IndexError) as error:
        raise DamagedPages(f"LMDB's page {number} is damaged or missing", number * meta.page_bytes) from error


def _nodes(page: bytes, number: int) -> tuple[int, list[bytes]]:
    """A page's flags and its nodes, each up to the page's end."""
    stored, _, flags, lower, upper = _HEADER.unpack_from(page)
    if stored != number or flags not in (BRANCH, LEAF) or not 16 <= lower <= upper <= len(page):
        raise ValueError
    places = Struct(f"<{(lower - 16) // 2}H").unpack_from(page, 16)
    if any(place < upper for place in places):
        raise ValueError
    return flags, [page[place:] for place in places]


def _key(node: bytes) -> bytes:
    return node[8 : 8 + _NODE.unpack_from(node)[3]]


def _child(node: bytes) -> int:
    low, high, top, _ = _NODE.unpack_from(node)
    return int(low | high << 16 | top << 32)


def _entries(read: Read, meta: Meta, nodes: list[bytes]) -> Iterator[tuple[bytes, int, bytes]]:
    """(key, flags, data) of a leaf page's nodes."""
    return (_entry(read, meta, node) for node in nodes)


def _entry(read: Read, meta: Meta, node: bytes) -> tuple[bytes, int, bytes]:
    low, high, flags, key_bytes = _NODE.unpack_from(node)
    size = low | high << 16
    key, rest = node[8 : 8 + key_bytes], node[8 + key_bytes :]
    if flags & BIG_DATA:
        (first,) = _U64.unpack_from(rest)
        data = read(size, first * meta.page_bytes + 16)
    else:
        data = rest[:size]
    if len(key) != key_bytes or len(data) != size:
        raise ValueError
    return key, flags, data
