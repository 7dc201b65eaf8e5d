"""The disks that a power cut may leave.

`Replay` follows the record of a `SimulatedDisk` and knows, after each operation, what is durable and what is still
pending. `possible_disks` turns that into disks. What may happen to what is pending:

* **Names.** Creations, renames, links, removals and new folders that no folder sync has followed. Two models:
  *ordered* (a journal: any prefix of them survives) and *weak* (any subset survives). Each is atomic. A file whose
  data was synced may still lose its name.
* **Bytes.** Each 512-byte sector with unsynced writes is, on its own: as it was when last synced, as any of the
  unsynced writes left it, zeroed, or garbage. Aligned words of 8 bytes are never torn, but a torn sector (old and
  new words mixed) is one of the kinds of garbage; others are pseudo-random bytes, ones, and what another file has
  at the same place. Garbage and zeros hit only the words that were being written; of a mapped file, the sector.
* **Sizes.** A file that grew has its old size, its new one, or stopped at a page or write in between; what was not
  written inside the size reads as zeros.
* **Stores** of backends that do their own file I/O are durable as soon as their step is done; they only go with the
  folder that they are in.

Small questions are answered exhaustively, large ones by corner cases and a seeded sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import combinations, product
from math import prod
from random import Random
from typing import NamedTuple

from .disk import SimulatedDisk
from .ops import FOLDER, Op, Stored

__all__ = ["CrashState", "Replay", "possible_disks"]

SECTOR = 512
PAGE = 4096
WORD = 8
ALL_WORDS = (1 << (SECTOR // WORD)) - 1
SUBSETS_MAX = 5
"""So many pending directory operations are tried in every subset; of more, a sample."""


class CrashState(NamedTuple):
    """One disk that a power cut may leave."""

    names: dict[str, int]
    contents: dict[int, bytes]
    stores: dict[str, Stored]

    def disk(self, *, keep_log: bool = True) -> SimulatedDisk:
        """The disk as the machine finds it when it is up again."""
        return SimulatedDisk(self.names, self.contents, self.stores, keep_log=keep_log)

    def digest(self, known: dict[int, tuple[bytes, bytes]]) -> int:
        """64 bits that tell states apart; `known` remembers digests of contents that states share."""
        total = hashlib.blake2b(digest_size=8)
        groups: dict[int, int] = {}
        for path in sorted(self.names):
            number = self.names[path]
            total.update(path.encode())
            if number == FOLDER:
                total.update(b"/")
                continue
            data = self.contents[number]
            found = known.get(id(data))
            if found is None:
                if len(known) > 5_000:
                    known.clear()
                found = known[id(data)] = (data, hashlib.blake2b(data, digest_size=16).digest())
            total.update(found[1])
            total.update(groups.setdefault(number, len(groups)).to_bytes(4, "little"))
        for path, stored in sorted(self.stores.items()):
            total.update(path.encode())
            total.update(stored.digest)
        return int.from_bytes(total.digest(), "little")


class _DirOp(NamedTuple):
    kind: str
    path: str
    inode: int
    source: str


class _Pages:
    """One file: what is durable, and what is pending."""

    __slots__ = ("dirty", "durable", "live", "mapped", "number", "sizes", "words")

    def __init__(self, number: int, data: bytes):
        self.number = number
        self.durable = data
        self.live = bytearray(data)
        self.sizes: list[int] = []
        """Sizes that pending writes gave it."""
        self.dirty: dict[int, list[bytes]] = {}
        """Sector number to what the pending writes made of it, oldest first."""
        self.words: dict[int, int] = {}
        """Sector number to a mask of the words that are being written."""
        self.mapped: set[int] = set()

    def write(self, data: bytes, offset: int, mapped: bool) -> None:
        live = self.live
        before = len(live)
        end = offset + len(data)
        if offset > before:
            live.extend(bytes(offset - before))
        live[offset:end] = data
        if end > before:
            self.sizes.extend(range((before // PAGE + 1) * PAGE, end, PAGE))
            self.sizes.append(end)
        for sector in range(offset // SECTOR, -(-end // SECTOR)):
            start = sector * SECTOR
            image = bytes(live[start : start + SECTOR])
            versions = self.dirty.setdefault(sector, [])
            if not versions or versions[-1] != image:
                versions.append(image)
            first = max(offset - start, 0) // WORD
            last = -(-min(end - start, SECTOR) // WORD)
            self.words[sector] = self.words.get(sector, 0) | ((1 << last) - (1 << first))
            if mapped:
                self.mapped.add(sector)

    def sync(self) -> None:
        self.durable = bytes(self.live)
        self.forget()

    def forget(self) -> None:
        self.dirty.clear()
        self.words.clear()
        self.mapped.clear()
        self.sizes.clear()


class Replay:
    """What is durable and what is pending, operation by operation."""

    def __init__(self, names: dict[str, int], contents: dict[int, bytes], stores: dict[str, Stored]):
        self.names = dict(names)
        """Durable."""
        self.stores = dict(stores)
        """Durable, wherever the folder that they are in is."""
        self.files = {number: _Pages(number, data) for number, data in contents.items()}
        self.pending: list[_DirOp] = []

    @classmethod
    def before(cls, disk: SimulatedDisk) -> Replay:
        """The state before the first operation that the disk has recorded."""
        return cls(disk.names_before, disk.contents_before, disk.stores_before)

    def apply(self, op: Op) -> None:
        """Go on by one operation."""
        kind = op.kind
        if kind == "write":
            self.files[op.inode].write(op.data, op.offset, op.mapped)
        elif kind == "sync":
            self.files[op.inode].sync()
        elif kind == "sync_failed":
            # The pages are clean now, so nothing will ever write them; the live bytes go on in the cache only.
            pages = self.files[op.inode]
            pages.live = bytearray(pages.durable)
            pages.forget()
        elif kind == "sync_folder":
            self._sync_folder(op.path)
        elif kind == "step":
            self.stores[op.path] = op.data
        elif kind in ("create", "replace", "link", "unlink", "mkdir"):
            if kind == "create":
                self.files[op.inode] = _Pages(op.inode, b"")
            self.pending.append(_DirOp(kind, op.path, op.inode, op.data if kind in ("replace", "link") else ""))

    def _sync_folder(self, folder: str) -> None:
        rest = []
        for change in self.pending:
            if change.path.rpartition("/")[0] == folder:
                _change(self.names, change)
            else:
                rest.append(change)
        self.pending = rest

    def durable_bytes(self, number: int) -> bytes:
        """What the disk holds of a file."""
        return self.files[number].durable


def _change(names: dict[str, int], change: _DirOp) -> None:
    if change.kind == "unlink":
        names.pop(change.path, None)
        return
    if change.kind == "replace" and names.get(change.source) == change.inode:
        del names[change.source]
    names[change.path] = change.inode


def _namespaces(replay: Replay, rng: Random) -> list[dict[str, int]]:
    """Every set of names that may be there, the newest first."""
    pending = replay.pending
    count = len(pending)
    chosen: list[Sequence[_DirOp]] = [pending[:length] for length in range(count, -1, -1)]
    if count <= SUBSETS_MAX:
        for length in range(count):
            chosen.extend(combinations(pending, length))
    else:
        chosen.extend([op for op in pending if rng.random() < 0.5] for _ in range(1 << SUBSETS_MAX))
        chosen.extend([op for op in pending if op is not left_out] for left_out in pending)
    seen = set()
    result = []
    for ops in chosen:
        names = dict(replay.names)
        for op in ops:
            _change(names, op)
        names = {path: number for path, number in names.items() if _is_reachable(names, path)}
        key = tuple(sorted(names.items()))
        if key not in seen:
            seen.add(key)
            result.append(names)
    return result


def _is_reachable(names: dict[str, int], path: str) -> bool:
    if path not in names:
        return False
    folder = path.rpartition("/")[0]
    return not folder or (names.get(folder) == FOLDER and (folder.count("/") == 1 or _is_reachable(names, folder)))


class _Question(NamedTuple):
    """Something that may turn out in several ways; 0 is the newest, 1 the oldest."""

    pages: _Pages
    sector: int
    """-1 asks for the size."""
    answers: list[bytes] | list[int]


def _questions(pages: _Pages, stale: bytes, rng: Random) -> list[_Question]:
    questions = []
    if pages.sizes and len(pages.live) != len(pages.durable):
        others = [size for size in dict.fromkeys(pages.sizes) if size != len(pages.live)]
        if len(others) > 6:
            others = rng.sample(others, 6)
        questions.append(_Question(pages, -1, [len(pages.live), len(pages.durable), *others]))
    for sector, versions in pages.dirty.items():
        old = pages.durable[sector * SECTOR : (sector + 1) * SECTOR].ljust(SECTOR, b"\0")
        answers = [versions[-1].ljust(SECTOR, b"\0"), old]
        answers.extend(version.ljust(SECTOR, b"\0") for version in _some(versions[:-1], rng))
        answers.extend(_garbage(pages, sector, old, answers[0], stale, rng))
        questions.append(_Question(pages, sector, list(dict.fromkeys(answers))))
    return [question for question in questions if len(question.answers) > 1]


def _some(versions: list[bytes], rng: Random) -> list[bytes]:
    return versions if len(versions) <= 3 else [versions[0], rng.choice(versions[1:-1]), versions[-1]]


def _garbage(pages: _Pages, sector: int, old: bytes, new: bytes, stale: bytes, rng: Random) -> list[bytes]:
    mask = ALL_WORDS if sector in pages.mapped else pages.words[sector]
    patterns = [
        bytes(SECTOR),
        rng.randbytes(SECTOR),
        b"\xff" * SECTOR,
        stale[sector * SECTOR : (sector + 1) * SECTOR].ljust(SECTOR, b"\0"),
    ]
    results = [_mixed(old, pattern, mask) for pattern in patterns]
    torn = rng.getrandbits(SECTOR // WORD)
    results.append(_mixed(old, new, mask & torn))
    first, last = (mask & -mask).bit_length() - 1, mask.bit_length()
    cut = rng.randrange(first, last) + 1  # inside what is being written, of which only a part may be new
    results.append(_mixed(old, new, mask & ((1 << cut) - 1)))
    results.append(_mixed(old, new, mask & ~((1 << cut) - 1)))
    return results


def _mixed(below: bytes, above: bytes, mask: int) -> bytes:
    """`below` with the words of the mask from `above`."""
    if mask == ALL_WORDS:
        return above
    result = bytearray(below)
    word = 0
    while mask:
        if mask & 1:
            result[word * WORD : word * WORD + WORD] = above[word * WORD : word * WORD + WORD]
        mask >>= 1
        word += 1
    return bytes(result)


def possible_disks(replay: Replay, rng: Random, budget: int) -> Iterator[CrashState]:
    """At most about `budget` of the disks that a power cut at this moment may leave; all of them where they are few."""
    namespaces = _namespaces(replay, rng)
    wanted = {number for names in namespaces for number in names.values() if number != FOLDER}
    stale = _stale(replay)
    questions = [question for number in sorted(wanted) for question in _questions(replay.files[number], stale, rng)]
    ways = len(namespaces) * prod(len(question.answers) for question in questions)
    if ways <= budget:
        plans: Iterator[Sequence[int]] = product(
            range(len(namespaces)), *(range(len(question.answers)) for question in questions)
        )
    else:
        plans = _sample(len(namespaces), questions, rng, budget)
    built: dict[tuple[int, ...], bytes] = {}
    owners: dict[int, list[int]] = {}
    for place, question in enumerate(questions, 1):
        owners.setdefault(question.pages.number, []).append(place)
    for plan in plans:
        names = namespaces[plan[0]]
        contents = {}
        for number in names.values():
            if number == FOLDER or number in contents:
                continue
            places = owners.get(number, ())
            key = (number, *(plan[place] for place in places))
            data = built.get(key)
            if data is None:
                choices = [(questions[place - 1], plan[place]) for place in places]
                data = built[key] = _build(replay.files[number], choices)
            contents[number] = data
        stores = {path: stored for path, stored in replay.stores.items() if path.rpartition("/")[0] in names}
        yield CrashState(names, contents, stores)


def _stale(replay: Replay) -> bytes:
    """The bytes of some longest other file, names or not: what a block may hold from its earlier life."""
    return max((pages.durable for pages in replay.files.values()), key=lambda data: len(data.strip(b"\0")), default=b"")


def _build(pages: _Pages, choices: list[tuple[_Question, int]]) -> bytes:
    size = len(pages.live)
    data = bytearray(pages.live)
    for question, answer in choices:
        value = question.answers[answer]
        if isinstance(value, int):
            size = value
        else:
            data[question.sector * SECTOR : (question.sector + 1) * SECTOR] = value
    if len(data) < size:
        data.extend(bytes(size - len(data)))
    return bytes(data[:size])


def _sample(namespaces: int, questions: list[_Question], rng: Random, budget: int) -> Iterator[list[int]]:
    count = len(questions)
    newest = [0] * (count + 1)
    oldest = [1] * (count + 1)
    oldest[0] = namespaces - 1
    corners = [newest, oldest, [0, *oldest[1:]], [namespaces - 1, *newest[1:]]]
    corners += [[name, *newest[1:]] for name in range(1, namespaces)]
    singles = [
        (place, answer) for place, question in enumerate(questions, 1) for answer in range(len(question.answers))
    ]
    rng.shuffle(singles)
    if len(corners) > budget // 2:
        corners = corners[:4] + rng.sample(corners[4:], max(budget // 2 - 4, 0))
    left = budget
    for plan in corners:
        yield plan
        left -= 1
    # One thing out of line: the rest all written, or none of it.
    for place, answer in singles[: budget // 3]:
        for base in (newest, oldest):
            plan = list(base)
            plan[0] = 0
            plan[place] = answer
            yield plan
            left -= 1
    while left > 0:
        # Per file: how much of it was written, and how much of it went wrong.
        moods: dict[int, tuple[float, float]] = {}
        plan = [0 if rng.random() < 0.6 else rng.randrange(namespaces)]
        for question in questions:
            written, wrong = moods.setdefault(
                question.pages.number, (rng.choice((0.0, 0.2, 0.5, 0.8, 0.95, 1.0)), rng.choice((0.0, 0.0, 0.1, 0.5)))
            )
            if len(question.answers) > 2 and rng.random() < wrong:
                plan.append(rng.randrange(2, len(question.answers)))
            else:
                plan.append(0 if rng.random() < written else 1)
        yield plan
        left -= 1
