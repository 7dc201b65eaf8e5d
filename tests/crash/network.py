"""Two machines with a disk and a log each, one server, and what must be true of the three.

A `Network` records what its machines do to their disks and what the server is told, in one row, so that the power of
either machine, or of both, can be cut at every moment (`crash.network_oracle`). The server does not fail: what it was
told is durable. `Model` is told the same, and knows who owns the store, what each host may find, and what is stranded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import sessiondb
from sessiondb import opening
from sessiondb.backend import Position
from sessiondb.errors import FencedError
from sessiondb.ownership import Stranded, stranded
from sessiondb.recovery import survey

from .atomic_server import AtomicServer, Content
from .disk import SimulatedDisk
from .ops import FOLDER, Op, Stored
from .oracle import History, Tables, hash_of, read_tables
from .session import Session
from .states import CrashState, Replay, possible_disks
from .target import TARGETS

__all__ = ["HOSTS", "Host", "Machine", "Model", "Network"]

HOSTS = ("one", "two")
SERVER = TARGETS["postgres"]


class Model:
    """What the server has and what each host may find.

    A checkpoint that gets through must be the owner's, and lead to the owner's state.
    """

    def __init__(self) -> None:
        self.hosts = {name: History() for name in HOSTS}
        self.owner = ""
        """The host that took over last."""
        self.lost: dict[str, int] = {}
        """Host to the LSN at which it was taken over from, if it has not taken over again."""
        self.lsn = 0
        self.tables: Tables = {}
        """On the server."""
        self.problems: list[str] = []
        self._content: Content | None = None

    def copy(self) -> Model:
        """As it is now."""
        other = Model()
        other.__dict__.update(self.__dict__)
        other.hosts = {name: history.copy() for name, history in self.hosts.items()}
        other.lost, other.problems = dict(self.lost), list(self.problems)
        return other

    def mark(self) -> tuple[object, ...]:
        """What tells two models apart that lead to different judgements."""
        found: list[object] = [self.owner]
        for name, history in self.hosts.items():
            found += (history.acked, history.returned, history.issued, self.lost.get(name))
            found.append(hash_of(history.states[history.issued]))
        return tuple(found)

    def apply(self, name: str, op: Op) -> None:
        """Take in what a host did or announced."""
        history = self.hosts[name]
        if op.kind == "step":
            self._stepped(name, op.data.content)
        elif op.kind in ("cut", "dropped"):
            history.returned = history.acked  # what nobody synced may be gone
        elif op.kind == "moved away":
            self.hosts[name] = History()
            self.lost.pop(name, None)
            if self.owner == name:
                self.owner = ""
        else:
            history.apply(op)

    def _stepped(self, name: str, content: Content) -> None:
        before, self._content = self._content, content
        tables = _tables_of(content)
        if before is None:
            return
        if content.owner != before.owner:
            self._taken_over(name, before, content)
        elif self.owner != name:
            self.problems.append(f"{name} got through to the server at {content.position}, but {self.owner} owns it")
        elif content.position.epoch != before.position.epoch or content.position.lsn < self.lsn:
            self.problems.append(f"the server went from {before.position} to {content.position}")
        elif tables != self.hosts[name].states.get(content.position.lsn):
            self.problems.append(f"the server has at {content.position} not what {name} had there: {tables}")
        self.lsn, self.tables = content.position.lsn, tables

    def _taken_over(self, name: str, before: Content, content: Content) -> None:
        if content.position != Position(before.position.epoch + 1, before.position.lsn):
            self.problems.append(f"{name} took over from {before.position} to {content.position}")
        if self.owner == name:
            return
        if self.owner:
            self.lost[self.owner] = self.lsn
        self.lost.pop(name, None)
        self.owner = name
        history = self.hosts[name] = History()
        history.states = {self.lsn: self.tables}
        history.acked = history.returned = history.issued = self.lsn

    # ---- judging

    def is_lost(self, name: str) -> bool:
        """Whether a host has something that is acknowledged and can never reach the server any more."""
        return name in self.lost and self.hosts[name].returned > self.lost[name]

    def judge_open(self, name: str, lsn: int, tables: Tables) -> str:
        """What is wrong with a host that is open and shows this; "" when nothing is."""
        history = self.hosts[name]
        if self.owner != name:
            return f"{name} is open, and {self.owner or 'nobody'} owns the store"
        if lsn < history.returned:
            return f"LSN {history.returned} had returned, {name} opened at {lsn}"
        return history.judge(lsn, tables)

    def judge_stranded(self, name: str, found: Stranded | None, tables: Tables) -> str:
        """What is wrong with what is said to be stranded on a host, and with the state that its log leads to."""
        history = self.hosts[name]
        if found is None:
            return f"what is stranded on {name} is not reported" if self.is_lost(name) else ""
        if name not in self.lost:
            return f"{found} is said of {name}, which was not taken over from"
        after = self.lost[name]
        if found.first_lsn != after + 1 or not max(history.returned, after + 1) <= found.last_lsn <= history.issued:
            return f"{found}; {name} was taken over from at {after}, {history.returned} to {history.issued} are its own"
        if tables != history.states[found.last_lsn]:
            return f"{name}'s log does not lead to the state after LSN {found.last_lsn}"
        return ""


def _tables_of(content: Content) -> Tables:
    view = AtomicServer.real(Stored(b"", content)).read()
    tables = {name: dict(view.scan(name)) for name in view.tables()}
    indexes = {f"{name}/{field}": b"" for name in tables for field in view.indexes(name)}
    return {**tables, "": indexes} if indexes else tables


class Machine(SimulatedDisk):
    """The disk of one machine. `SimulatedDisk.stores` is what the server holds, the same for all machines."""

    def __init__(self, network: Network, name: str, state: CrashState):
        self.network, self.name = network, name
        super().__init__(state.names, state.contents)
        self.stores, self.in_flight = network.stores, network.in_flight

    def record(self, op: Op) -> None:
        super().record(op)
        self.network.record(self.name, op)

    def state(self) -> CrashState:
        """What processes see."""
        numbers = {number for number in self.entries.values() if number != FOLDER}
        return CrashState(dict(self.entries), {number: bytes(self.inodes[number].data) for number in numbers}, {})


class Start(NamedTuple):
    """Where a record begins."""

    states: dict[str, CrashState]
    stores: dict[str, Stored]
    model: Model


class Network:
    """Machines and a server.

    Args:
        start: what is there.
    """

    def __init__(self, start: Start | None = None):
        if start is None:
            start = Start({name: CrashState({"/sim": FOLDER}, {}, {}) for name in HOSTS}, {}, Model())
        self.start = start
        self.stores = dict(start.stores)
        self.in_flight: list[tuple[SimulatedDisk, str, Stored]] = []
        self.model = start.model.copy()
        self.log: list[tuple[str, Op]] = []
        self.machines = {name: Machine(self, name, state) for name, state in start.states.items()}

    def record(self, name: str, op: Op) -> None:
        """Something happened on a machine, or at the server because of it."""
        self.model.apply(name, op)
        self.log.append((name, op))

    def settle(self) -> None:
        """A long time passes: everything is on disk. What follows is recorded anew."""
        states = {name: machine.state() for name, machine in self.machines.items()}
        self.start = Start(states, dict(self.stores), self.model.copy())
        for machine in self.machines.values():
            machine.settle(None)
        self.log = []

    def replace(self, name: str, state: CrashState, kind: str) -> Machine:
        """A machine comes up with this on its disk."""
        machine = self.machines[name] = Machine(self, name, state)
        self.record(name, Op(kind, "", data=state))
        return machine


class Host(Session):
    """A program on one machine that uses the store."""

    def __init__(self, network: Network, name: str, seed: int = 0):
        self.network, self.name = network, name
        super().__init__(seed, network.machines[name], SERVER)

    @property
    def model(self) -> Model:
        """What must be true."""
        return self.network.model

    @property
    def history(self) -> History:  # type: ignore[override]
        """Of this host."""
        return self.model.hosts[self.name]

    @history.setter
    def history(self, value: History) -> None:
        """The model keeps it."""

    def _announce(self, kind: str, what: object) -> None:
        if kind == "opened":
            self.must_be_right()
        self.disk.record(Op(kind, "", data=what))

    def must_be_right(self) -> None:
        """What the open store shows."""
        problem = self.model.judge_open(self.name, self.store.views.visible_lsn, read_tables(self.store))
        assert not problem, problem

    # ---- opening, where another host may have taken over

    def try_open(self) -> bool:
        """Open; False when that is refused because of what is stranded here: exactly what must be, and it stays."""
        found, before, torn, kept = self.stranded(), self._log(), self._is_torn(), self._quarantined()
        try:
            self.open()
        except FencedError as error:
            refused = str(error)
        else:
            refused = ""
        if refused:
            assert found is not None, f"{self.name} is refused, and nothing is stranded there: {refused}"
            assert f"LSN {found.first_lsn} to {found.last_lsn}" in refused
            assert self._log() == before, "a refused log was changed"
            return False
        assert found is None, f"{found}, and {self.name} was opened all the same"
        assert not torn or self._quarantined() > kept, "a torn tail was cut, and no copy of it is kept"
        return True

    def read_only(self) -> None:
        """Open to read: the owner's log counts, another host's does not; nothing is changed anywhere."""
        if SERVER.path not in self.network.stores:
            return
        before = len(self.network.log)
        with sessiondb.open(SERVER.location, files=self.disk, read_only=True, lock_timeout=0.0) as db:
            lsn, tables = db._open.views.visible_lsn, read_tables(db._open)
        if self.model.owner == self.name:
            problem = self.model.judge_open(self.name, lsn, tables)
        else:
            problem = "" if (lsn, tables) == (self.model.lsn, self.model.tables) else f"it shows {lsn}: {tables}"
        assert not problem, f"read-only: {problem}"
        assert len(self.network.log) == before, "reading has changed something"

    def _is_torn(self) -> bool:
        """Whether the log ends in what is no frame."""
        applied = self.model.lsn if self.model.owner == self.name else self.model.lost.get(self.name)
        stored = self.network.stores.get(SERVER.path)
        if applied is None or stored is None or self.disk.stat(SERVER.folder) is None:
            return False
        return survey(self.disk, SERVER.folder, stored.content.uuid, applied).contents.torn is not None

    def _quarantined(self) -> int:
        return sum(path.endswith(".torn") for path in self.disk.paths())

    def stranded(self) -> Stranded | None:
        """What the engine says is stranded here; it must be right."""
        backend = opening.backend_class(SERVER.scheme)
        if not backend.exists(self.disk, SERVER.path):
            return None
        opened = backend.open(self.disk, SERVER.path, create=False, read_only=True)
        found = stranded(self.disk, SERVER.folder, opened)
        tables: Tables = {}
        if found is not None:
            start = found.first_lsn - 1
            memtable = survey(self.disk, SERVER.folder, opened.identity().uuid, start).memtable
            tables = _after(self.history.states.get(start, {}), memtable.changes(_no_pause))
        problem = self.model.judge_stranded(self.name, found, tables)
        assert not problem, problem
        return found

    def _log(self) -> dict[str, bytes]:
        paths = [path for path in self.disk.paths() if path.startswith(f"{SERVER.folder}/")]
        return {path: self.disk.file_bytes(path) for path in paths if path.endswith((".seg", "OWNER"))}

    def move_away(self) -> None:
        """Somebody moves the log's folder away."""
        self.kill()
        state = self.disk.state()
        gone = [path for path in state.names if path == SERVER.folder or path.startswith(f"{SERVER.folder}/")]
        names = {path: number for path, number in state.names.items() if path not in gone}
        self.disk = self.network.replace(self.name, state._replace(names=names), "moved away")

    # ---- ends

    def kill(self) -> None:
        """The process dies; its machine runs on, and so do the others."""
        self._stop_threads()
        self.disk.kill()
        for key in [key for key in opening._stores if key[0] == id(self.disk)]:
            opening._users.pop(id(opening._stores.pop(key)), None)
        self.db = None

    def power_cut(self) -> None:
        """The machine's power goes, and it comes up with one of the possible disks."""
        replay = Replay.before(self.disk)
        for op in self.disk.log or ():
            replay.apply(op)
        states = list(possible_disks(replay, self.rng, 20))
        self.kill()
        self.disk = self.network.replace(self.name, self.rng.choice(states), "cut")


def _no_pause() -> None:
    """At once."""


def _after(tables: Tables, changes: Mapping[str, object]) -> Tables:
    """The state after changes."""
    after = {name: dict(rows) for name, rows in tables.items()}
    indexes = after.pop("", {})
    for name, change in changes.items():
        if change.dropped:  # type: ignore[attr-defined]
            after.pop(name, None)
            indexes = {index: b"" for index in indexes if not index.startswith(f"{name}/")}
        for key, image in change.images.items():  # type: ignore[attr-defined]
            if image is None:
                after.get(name, {}).pop(key, None)
            else:
                after.setdefault(name, {})[key] = image
        for field, wanted in change.indexes.items():  # type: ignore[attr-defined]
            after.setdefault(name, {})
            indexes.pop(f"{name}/{field}", None)
            if wanted:
                indexes[f"{name}/{field}"] = b""
    return {**after, "": indexes} if indexes else after
