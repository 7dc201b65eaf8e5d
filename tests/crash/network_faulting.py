"""A store that goes from host to host while operations fail, one by one, and what must be true after each failure.

`Program` of `crash.faulting`, on two machines: what fails is an operation of whoever works, on its disk or at the
server. What is raised must be documented; `FencedError` only for a host that was taken over from.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from random import Random

from sessiondb.errors import FencedError, SessionDBError

from .faulting import SERVER_FAULTS, Fault, Program
from .network import HOSTS, Host, Network
from .network_oracle import NetworkOracle
from .ops import Op
from .oracle import deterministic, forget_everything

__all__ = ["SEEDS", "TakeOverProgram", "run_take_over_everywhere", "run_take_over_pairs", "run_take_overs"]

SEEDS = 3
"""How the first host ends: closed, killed, or not at all."""


class TakeOverProgram(Program):
    """Three take-overs."""

    def __init__(self, faults: list[tuple[Fault, int]], seed: int):
        self.seed = seed
        self.waiting = list(faults)
        self.lasting: Fault | None = None
        self.triggered = ""
        self.errors: list[str] = []
        self.open_failed = False
        self.network = Network()
        self.one, self.other = (Host(self.network, name, seed) for name in HOSTS)
        self.session: Host = self.one
        self.is_mended = False
        self.kill()

    def kill(self) -> None:
        """End the process of the host that works; what fails goes on failing."""
        self.session.kill()
        for machine in self.network.machines.values():
            machine.hook = None if self.is_mended else self.hook

    def fail(self, fault: Fault, kind: str, path: str) -> object:
        try:
            return super().fail(fault, kind, path)
        finally:
            if kind in ("fdatasync", "fsync", "msync"):
                self.session.disk.record(Op("dropped", ""))

    def run(self) -> None:
        """All of it; a step that the poisoned store refuses is made after the store was opened again."""
        for step in self.steps():
            if self.session.db is None:
                self.open()
            if not self.attempt(step) and self.session.db is not None and self.session.store.log.failure is not None:
                self.leave()
        for host in (self.one, self.other):
            self.session = host
            self.leave()
        self.repair()
        self.check_power_cut("at the end", 4)
        assert not self.network.model.problems, self.network.model.problems[0]

    def steps(self) -> Iterator[Callable[[], None]]:
        """The program."""
        yield lambda: self.session.some_puts(1)
        yield lambda: self.session.checkpoint()
        yield lambda: self.session.some_puts(1, "never")
        yield lambda: self.session.some_puts(1)
        if self.seed % SEEDS == 0:
            yield self.leave
        elif self.seed % SEEDS == 1:
            self.kill()
        self.session = self.other
        yield lambda: self.session.some_puts(1)
        yield lambda: self.session.checkpoint()
        yield lambda: self.session.some_puts(1)
        if self.one.db is not None:
            self.session = self.one  # it does not know yet
            yield lambda: self.session.some_puts(1)
            yield lambda: self.session.checkpoint()
            self.leave()
            self.session = self.other
        else:
            yield self.leave
        self.session = self.one
        yield lambda: self.session.some_puts(1)
        yield lambda: self.session.checkpoint()
        yield self.leave
        self.session = self.other
        yield lambda: self.session.some_puts(1)

    def expect(self, error: SessionDBError) -> None:
        """As for one host; and who is fenced was taken over from."""
        super().expect(error)
        if isinstance(error, FencedError):
            name = self.session.name
            assert name in self.network.model.lost, f"{name} is fenced, and owns the store: {error}"

    def open(self) -> None:
        """Open the store; at the second failure the cause is mended. What is stranded is left to a person."""
        for attempt in range(4):
            try:
                self.session.open()
            except SessionDBError as error:
                self.expect(error)
                self.open_failed = True
                self.kill()
                if isinstance(error, FencedError) and self._is_stranded():
                    self.session.move_away()
                    self.kill()
                if attempt == 1:
                    self.repair()
                continue
            self.look()
            return
        raise AssertionError(f"it cannot be opened any more: {self.errors[-1]}")

    def _is_stranded(self) -> bool:
        self.session.disk.hook = None
        try:
            return self.session.stranded() is not None
        finally:
            self.kill()

    def check_power_cut(self, when: str, disks: int = 2) -> None:
        """The power of both machines goes now."""
        oracle = NetworkOracle(self.seed)
        oracle.check_log(self.network, disks, only_end=True)
        assert not oracle.violations, f"{when}: {oracle.violations[0]}"

    def leave(self) -> None:
        """Close; whatever close says, everything is released."""
        super().leave()
        self.kill()

    def repair(self) -> None:
        """Somebody mends it."""
        self.is_mended = True
        for machine in self.network.machines.values():
            machine.hook = None


def run_take_overs(faults: list[tuple[Fault, int]], seed: int) -> bool:
    """Run the program with these faults; False when it ran through before any of them came."""
    logging.disable(logging.CRITICAL)
    try:
        with deterministic(seed):
            program = TakeOverProgram(faults, seed)
            try:
                program.run()
            except BaseException as error:
                error.add_note(f"faults {faults}, seed {seed}: {program.triggered} errors {program.errors}")
                raise
            finally:
                program.one.kill()
                program.other.kill()
    finally:
        logging.disable(logging.NOTSET)
        forget_everything()
    return bool(program.triggered)


def run_take_over_everywhere(job: tuple[str, int, int, int]) -> int:
    """One fault at every operation, or at each `stride`-th from `start`; returns how many runs met it."""
    name, seed, start, stride = job
    runs = 0
    while run_take_overs([(SERVER_FAULTS[name], start + runs * stride)], seed):
        runs += 1
    return runs


def run_take_over_pairs(seed: int) -> int:
    """In a worker: two faults, so many times; returns how often one came."""
    rng = Random(seed)
    names = sorted(SERVER_FAULTS)
    runs = 0
    for _ in range(150):
        first, second = (SERVER_FAULTS[rng.choice(names)] for _ in range(2))
        faults = [(first, rng.randrange(120)), (second, rng.randrange(rng.choice((3, 30))))]
        runs += run_take_overs(faults, rng.randrange(SEEDS))
    return runs
