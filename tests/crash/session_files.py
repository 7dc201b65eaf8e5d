"""Session files on the simulated disk: power cuts, and a program that changes the file whenever it likes.

The file is that of the JSON target, in a session layout. Another program may write it at any moment, also between two
steps of a checkpoint or a recovery: in place (synced, or not), or by a rename that no folder sync follows. What must
be true of every disk that a power cut leaves then:

1. When the file is one of ours, the state is that after some LSN between the last one acknowledged and the last one
   issued, as for any store.
2. When another program wrote it, opening it either adopts it, which is allowed only if no acknowledged transaction is
   missing in the file it was made from, and then shows exactly what it says; or it refuses, and changes no byte.
3. What is opened once is opened again with the same LSN and state, also after a power cut during the first opening.
4. What another program wrote in place while a checkpoint replaced the file is in some file beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from sessiondb.errors import CorruptionError, FencedError, SessionDBError, WrongBackendError
from sessiondb.recovery import survey
from sessiondb_backends.json_session_mark import Mark, decode_mark
from sessiondb_backends.json_session_place import digest_of
from sessiondb_backends.session_layout_shapes import parse_sessions

from .disk import SimulatedDisk
from .ops import Op
from .oracle import History, Outcome, Tables, deterministic, read_tables, recover_once
from .session import Session
from .states import CrashState, Replay, possible_disks
from .target import JSON

__all__ = ["SHAPES", "WORKLOADS", "SessionFileOracle", "run"]

PATH = JSON.path
MARK = f"{JSON.folder}/MARK"
EDITED = "edited"
"""The announcement that another program writes the file."""


def record(key: str, text: str) -> dict[str, Any]:
    """A session."""
    return {"session": key, "repoName": "r", "text": text}


def _records() -> list[dict[str, Any]]:
    return [record("a", "1"), record("b", "first"), record("b", "second"), record("c", "é\n")]


SHAPES: dict[str, bytes] = {
    "array": json.dumps(_records(), indent=2, ensure_ascii=False).encode(),
    "compact": json.dumps(_records(), separators=(",", ":")).encode() + b"\n",
    "state": json.dumps({"sessions": _records(), "baseDir": "/base", "other": [1]}, indent=2).encode(),
    "sessions": json.dumps({"sessions": _records()}, indent=2).encode(),
    "backup": json.dumps({"timestamp": "t", "version": "1.0", "data": {"sessions": _records()}}, indent=2).encode(),
    "keyed": json.dumps({"a": record("a", "1"), "b": {"repoName": "r"}}, indent=2).encode(),
    "empty": b"",
}


def tables_of(data: bytes) -> Tables:
    """What a store on this file holds."""
    return {"sessions": dict(parse_sessions(data, known="keyed").images)}


class SessionFile(Session):
    """A program that uses a session file, and one that does not know of it."""

    def __init__(self, seed: int, shape: str = "array"):
        data = SHAPES[shape]
        super().__init__(seed, SimulatedDisk({"/sim": 0, PATH: 1}, {1: data}))
        self.history.states[0] = tables_of(data)
        self.settle()
        self.edits: list[bytes] = []
        """What the other program wrote."""
        self.written: list[bytes] = []
        """What it wrote in place."""

    def open(self, **options: Any) -> Any:
        """Open; what is adopted is a state like any other."""
        found = self.disk.file_bytes(PATH)
        opened = super().open(**options)
        adopted = [notice for notice in opened.recovery_report.notices if "another program" in notice]
        lsn = self.store.views.visible_lsn
        if adopted or not lsn:
            tables = read_tables(self.store)
            assert {"sessions": tables["sessions"]} in [tables_of(data) for data in (found, *self.edits)]
            self._announce("issued", (lsn, tables))
            self._announce("opened", lsn)
        return opened

    def put_some(self, count: int = 1, sync: Any = None) -> None:
        """Put sessions, new ones and known ones."""
        for _ in range(count):
            key = self.rng.choice("abcdefgh")
            self.put("sessions", key, record(key, "x" * self.rng.randrange(1, 60)), sync)

    def delete_some(self) -> None:
        """Delete a session, if there is one."""
        known = sorted(self.tables["sessions"])
        if known:
            self.delete("sessions", self.rng.choice(known))

    def edit(self) -> None:
        """The other program changes a session and adds one, as it does: in place, or by a rename."""
        text = parse_sessions(self.disk.file_bytes(PATH), known="keyed")
        key = f"foreign{self.rng.randrange(100)}"
        image = json.dumps(record(key, "f" * self.rng.randrange(1, 50)), separators=(",", ":")).encode()
        data = text.edited({key: image, "a": None}, (), lambda: None).encode()
        self.edits.append(data)
        self.disk.record(Op(EDITED, ""))
        hook, self.disk.hook = self.disk.hook, None
        if self.rng.random() < 0.5:
            self._write_in_place(data)
        else:
            self._rename(data)
        self.disk.hook = hook

    def _write_in_place(self, data: bytes) -> None:
        file = self.disk.open(PATH)
        data = data.ljust(file.size())  # there is no cutting a file off here
        self.written.append(data)
        file.pwrite(data, 0)
        if self.rng.random() < 0.5:
            file.fsync()
        file.close()

    def _rename(self, data: bytes) -> None:
        file = self.disk.open("/sim/foreign", create=True)
        file.pwrite(data, 0)
        file.fsync()
        file.close()
        self.disk.replace("/sim/foreign", PATH)

    def editing_after(self, operations: int) -> None:
        """Let the other program come in before one of the next file operations.

        Not between the two names of a replacement: a rename by others is not seen there, which the format's page says.
        """
        disk, left = self.disk, operations

        def hook(kind: str, path: str) -> object:
            nonlocal left
            left -= 1
            if left < 0 and not (kind == "replace" and path == PATH):
                disk.hook = None
                self.edit()
            return None

        disk.hook = hook

    def checkpoint_or_not(self) -> None:
        """A checkpoint, which another program may have made impossible."""
        try:
            self.checkpoint()
        except FencedError:
            self.disk.hook = None
        finally:
            self.disk.hook = None


Workload = Callable[[int], SessionFile]
WORKLOADS: dict[str, Workload] = {}


def workload(function: Callable[[SessionFile], None]) -> Callable[[SessionFile], None]:
    """Register a workload; its seed also chooses the file's shape."""

    def run_it(seed: int) -> SessionFile:
        session = SessionFile(seed, sorted(SHAPES)[seed % len(SHAPES)])
        try:
            function(session)
        except FencedError:
            session.disk.hook = None  # a file and a log that both changed: the end of the story
        finally:
            session.kill()
        return session

    WORKLOADS[function.__name__] = run_it
    return function


@workload
def first_open(session: SessionFile) -> None:
    """The first open of a file that another program made, and a first change."""
    session.open()
    session.put_some()
    session.checkpoint()
    session.put_some()


@workload
def checkpoints(session: SessionFile) -> None:
    """Changes, deletions, sessions that are made again; several checkpoints, a clean close."""
    session.open()
    for _ in range(2):
        session.put_some(2)
        session.delete_some()
        session.put_some(session.rng.randrange(2), "never")
        session.checkpoint()
    session.index("sessions", "repoName")
    session.put_some()
    session.close()
    session.open()
    session.put_some()


@workload
def same_bytes(session: SessionFile) -> None:
    """Checkpoints that leave the file as it is: a session put as it was, one that comes and goes, an index."""
    session.open()
    session.put("sessions", "new", record("new", "1"))
    session.checkpoint()
    session.settle()
    session.put("sessions", "new", record("new", "1"))
    session.checkpoint()
    session.put("sessions", "other", record("other", "1"))
    session.delete("sessions", "other")
    session.index("sessions", "repoName")
    session.checkpoint()


@workload
def adopted(session: SessionFile) -> None:
    """The other program changes the file between two uses; each change is adopted."""
    session.open()
    session.put_some(2)
    session.index("sessions", "repoName")
    session.close()
    session.settle()
    for _ in range(2):
        session.edit()
        session.open()
        session.put_some()
        session.close()


@workload
def adopted_again(session: SessionFile) -> None:
    """The process dies while it adopts, at any operation; the file may change again before the next one opens it."""
    session.open()
    session.put_some()
    session.close()
    session.settle()
    for _ in range(2):
        session.edit()
        with session.killed_after(session.rng.randrange(60)):
            session.open()
    if session.rng.random() < 0.5:
        session.edit()
    session.open()
    session.put_some()
    session.checkpoint()


@workload
def both_changed(session: SessionFile) -> None:
    """The process dies with changes in the log, and the file changes: refused, and both are kept."""
    session.open()
    session.put_some()
    session.checkpoint()
    session.settle()
    session.put_some(2, session.rng.choice(("always", "never")))
    session.kill()
    session.edit()
    session.open()


@workload
def edited_while_open(session: SessionFile) -> None:
    """The other program comes in at any step of a checkpoint."""
    session.open()
    session.put_some()
    session.checkpoint()
    session.settle()
    session.put_some()
    session.editing_after(session.rng.randrange(45))
    session.checkpoint_or_not()
    session.put_some(1, "never")
    session.checkpoint_or_not()


@workload
def edited_while_opened(session: SessionFile) -> None:
    """The other program comes in at any step of an opening, which recovers something or adopts something."""
    session.open()
    session.put_some()
    session.checkpoint()
    session.put_some(session.rng.randrange(2))
    session.kill()
    session.settle()
    if session.rng.random() < 0.5:
        session.edit()
    session.editing_after(session.rng.randrange(60))
    session.open()
    session.disk.hook = None
    session.put_some()
    session.checkpoint_or_not()


@workload
def killed_anywhere(session: SessionFile) -> None:
    """The process is killed at any operation of an opening, a checkpoint, a close."""
    for _ in range(4):
        with session.killed_after(session.rng.randrange(session.rng.choice((20, 60, 120)))):
            session.open()
            session.put_some()
            session.checkpoint()
            session.delete_some()
            session.put_some(1, "never")
            session.close()
    session.open()
    session.put_some()


@workload
def killed_at_a_folder_sync(session: SessionFile) -> None:
    """The process is killed with a rename behind it that is not durable, and the next one finds what it renamed."""
    session.open()
    session.put_some()
    session.checkpoint()
    session.settle()
    with session.killed_after(session.rng.randrange(6), ("sync_folder",)):
        session.put_some(2)
        session.checkpoint()
    session.open()
    session.put_some()


@workload
def killed_and_edited(session: SessionFile) -> None:
    """The process is killed anywhere, and the file may be changed before the next one opens it."""
    for _ in range(3):
        with session.killed_after(session.rng.randrange(session.rng.choice((40, 120)))):
            session.open()
            session.put_some()
            session.close()
        if session.rng.random() < 0.6:
            session.edit()
    session.open()
    session.put_some()


class SessionFileOracle:
    """Recovers disks and judges what comes out."""

    def __init__(self, seed: int):
        self.rng = Random(seed)
        self.digests: set[int] = set()
        self.violations: list[str] = []
        self.adopted = self.refused = self.unreadable = self.nested = 0
        self._contents: dict[int, tuple[bytes, bytes]] = {}

    def check_log(self, disk: SimulatedDisk, budget: int, nested_share: float = 0.05) -> None:
        """Cut the power at every moment of what the disk has recorded."""
        assert disk.log is not None
        replay, history = Replay.before(disk), History()
        ours, edited = {disk.contents_before[disk.names_before[PATH]]}, False
        for index, op in enumerate(disk.log):
            replay.apply(op)
            history.apply(op)
            if op.kind == "replace" and op.data == f"{PATH}.tmp":
                ours.add(bytes(replay.files[op.inode].live))
            if op.kind == "opened":
                mark, data = decode_mark(_live(replay, MARK)), _live(replay, PATH)
                if mark is not None and mark.now.digest == digest_of(data):
                    ours.add(data)  # adopted: a state like any other
                    edited = False
            edited = edited or op.kind == EDITED
            following = disk.log[index + 1].kind if index + 1 < len(disk.log) else ""
            if following in ("ack", "opened", "issued") or op.kind in ("issued", "returned"):
                continue
            for state in possible_disks(replay, self.rng, budget):
                digest = state.digest(self._contents) ^ hash((history.acked, history.issued, len(ours)))
                if digest in self.digests:
                    continue
                self.digests.add(digest)
                problem = self._judge(state, history, ours, edited=edited, nested=self.rng.random() < nested_share)
                if problem:
                    self.violations.append(f"after operation {index} ({op.kind} {op.path}): {problem}")
            if len(self.violations) >= 5:
                return

    def _judge(self, state: CrashState, history: History, ours: set[bytes], *, edited: bool, nested: bool) -> str:
        disk = state.disk(keep_log=nested)
        before = {path: disk.file_bytes(path) for path in disk.paths()}
        if before.get(PATH) not in ours and not edited:
            return "the file is none that anybody wrote"
        is_foreign = before.get(PATH) not in ours or _is_adopting(before)
        try:
            first = recover_once(disk)
        except FencedError as error:
            self.refused += 1
            return self._judge_refusal(disk, before, history, is_foreign, error)
        except (CorruptionError, WrongBackendError) as error:
            # A write in place that the power cut off is no file at all; it is not ours to mend.
            if not is_foreign:
                return f"opening raised {type(error).__name__}: {error}"
            self.unreadable += 1
            return self._what_changed(disk, before)
        except SessionDBError as error:
            return f"opening raised {type(error).__name__}: {error}"
        if MARK not in before:  # never opened: what it says is where it begins
            as_found = history.acked == first.lsn == 0 and first.tables == tables_of(before[PATH])
            problem = "" if as_found else "a file that was never opened is not shown as it is"
        elif is_foreign:
            problem = self._judge_adoption(before, history, first)
        else:
            problem = history.judge(first.lsn, first.tables)
        return problem or self._again(disk, first, nested)

    def _judge_adoption(self, before: dict[str, bytes], history: History, first: Outcome) -> str:
        self.adopted += 1
        mark = decode_mark(before[MARK]) if MARK in before else None
        if mark is not None and mark.now.lsn < history.acked:
            return f"LSN {history.acked} was acknowledged, and dropped for what the file at {mark.now.lsn} became"
        expected = tables_of(before[PATH])
        found = {name: rows for name, rows in first.tables.items() if name}
        return "" if found == expected else f"adopted is {found}, the file says {expected}"

    def _judge_refusal(
        self, disk: SimulatedDisk, before: dict[str, bytes], history: History, is_foreign: bool, error: FencedError
    ) -> str:
        changed = self._what_changed(disk, before)
        if changed or not is_foreign:
            return changed or f"refused, though nobody else wrote: {error}"
        mark = decode_mark(before[MARK])
        assert mark is not None
        last = survey(disk, JSON.folder, bytes.fromhex(mark.uuid), mark.now.lsn).contents.last_lsn
        if last < history.acked:
            return f"refused, and LSN {history.acked} is in neither file nor log"
        return "" if last > _may_hold(mark) else "refused, though nothing is in the log"

    def _what_changed(self, disk: SimulatedDisk, before: dict[str, bytes]) -> str:
        disk.kill()
        after = {path: disk.file_bytes(path) for path in disk.paths()}
        changed = [path for path in before if after.get(path) != before[path] and not path.endswith("/OPEN")]
        return f"refused, but {changed} changed" if changed else ""

    def _again(self, disk: SimulatedDisk, first: Outcome, nested: bool) -> str:
        if nested:
            problem = self._again_after_cuts(disk, first)
            if problem:
                return problem
        second = recover_once(disk)
        if (second.lsn, second.tables) != (first.lsn, first.tables):
            return f"the second recovery ends at LSN {second.lsn}, the first at {first.lsn}; or states differ"
        return ""

    def _again_after_cuts(self, disk: SimulatedDisk, first: Outcome) -> str:
        assert disk.log is not None
        replay = Replay.before(disk)
        for index, op in enumerate(list(disk.log)):
            replay.apply(op)
            for state in possible_disks(replay, self.rng, 3):
                self.nested += 1
                again = recover_once(state.disk(keep_log=False))
                if (again.lsn, again.tables) != (first.lsn, first.tables):
                    return f"a power cut behind operation {index} of a recovery ({op.kind} {op.path}) changes its end"
        return ""


def _live(replay: Replay, path: str) -> bytes:
    """A file as processes see it."""
    number = replay.names.get(path, -1)
    for change in replay.pending:
        if change.path == path:
            number = change.inode
    return bytes(replay.files[number].live)


def _is_adopting(files: dict[str, bytes]) -> bool:
    mark = decode_mark(files[MARK]) if MARK in files else None
    return mark is not None and mark.adopting


def _may_hold(mark: Mark) -> int:
    return mark.next.lsn if mark.adopting and mark.next is not None else mark.now.lsn


def lost_edits(session: SessionFile) -> list[bytes]:
    """What the other program wrote in place, and is in no file any more."""
    there = [session.disk.file_bytes(path) for path in session.disk.paths() if path.startswith(PATH)]
    return [data for data in session.written if data not in there]


def run(name: str, seed: int, budget: int, nested_share: float = 0.05) -> SessionFileOracle:
    """One workload, with the power cut at each of its moments."""
    with deterministic(seed):
        session = WORKLOADS[name](seed)
        oracle = SessionFileOracle(seed)
        for disk in session.disks:
            oracle.check_log(disk, budget, nested_share)
    oracle.violations = [f"{name} seed {seed} budget {budget}: {text}" for text in oracle.violations]
    if name == "edited_while_open":
        oracle.violations += [f"{name} seed {seed}: an edit is lost: {data!r}" for data in lost_edits(session)]
    return oracle
