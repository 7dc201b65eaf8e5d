"""Cutting the power of two machines at every moment of what they did, and judging what each finds afterwards.

1. The host that owns the store opens, and finds what a single host must find (`crash.oracle`).
2. The other one opens too, with the server's state, if its log holds nothing that the server does not have. Else it is
   refused, the log stays as it is, and it is said exactly which transactions are stranded: from the LSN at which it was
   taken over from, to the last one that its log holds; nothing that had been acknowledged is missing there.
3. Whoever opens takes over, may write, and may be cut off: then the same is true of the other one.
4. The server only ever has states of its owner's history.
"""

from __future__ import annotations

import logging
import sys
from array import array
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from .network import HOSTS, Host, Network, Start
from .ops import Op, describe
from .oracle import deterministic, forget_everything
from .states import CrashState, Replay, possible_disks
from .workloads_network import run_network_workload

__all__ = ["NetworkJob", "NetworkOracle", "NetworkResult", "run_network_job"]

OTHER_BUDGET = 4
"""Disks of the machine that does nothing at this moment, of which one is taken for each of the other's."""


class NetworkOracle:
    """Recovers pairs of disks and judges what comes out."""

    def __init__(self, seed: int):
        self.rng = Random(seed)
        self.digests: set[int] = set()
        self.violations: list[str] = []
        self.nested = 0
        self.stranded = 0
        """How many disks held something that was stranded."""
        self._seen: set[object] = set()
        self._contents: dict[int, tuple[bytes, bytes]] = {}

    def check_log(self, network: Network, budget: int, *, share: float = 1.0, nested_share: float = 0.0,
                  only_end: bool = False) -> None:  # fmt: skip
        """Cut the power of both machines at every moment of the record.

        Args:
            network: where the workload ran.
            budget: disks to try for each moment.
            share: of the moments, so many are tried.
            nested_share: share of the disks whose recoveries are cut off again.
            only_end: try the last moment only.
        """
        start = network.start
        model, stores = start.model.copy(), dict(start.stores)
        replays = {name: Replay(state.names, state.contents, {}) for name, state in start.states.items()}
        idle: dict[str, list[CrashState]] = {}
        log = network.log
        for index, (name, op) in enumerate(log):
            model.apply(name, op)
            idle.pop(name, None)
            if op.kind in ("cut", "moved away"):
                replays[name] = Replay(op.data.names, op.data.contents, {})
            elif op.kind == "step":
                stores[op.path] = op.data
            else:
                replays[name].apply(op)
            following = log[index + 1][1].kind if index + 1 < len(log) else ""
            if following == "ack" or op.kind in ("issued", "returned") or self.rng.random() >= share:
                continue
            if only_end and following:
                continue
            where = f"after operation {index} ({name}: {op.kind} {op.path})"
            for states in self._states(name, replays, idle, budget):
                self._check(Start(states, stores, model), where, nested_share)
            if len(self.violations) >= 5:
                return

    def _states(
        self, acting: str, replays: dict[str, Replay], idle: dict[str, list[CrashState]], budget: int
    ) -> Iterator[dict[str, CrashState]]:
        for other in HOSTS:
            if other != acting and other not in idle:
                idle[other] = list(possible_disks(replays[other], self.rng, OTHER_BUDGET))
        for state in possible_disks(replays[acting], self.rng, budget):
            yield {name: state if name == acting else self.rng.choice(idle[name]) for name in HOSTS}

    def _check(self, start: Start, where: str, nested_share: float) -> None:
        digests = tuple(start.states[name].digest(self._contents) for name in HOSTS)
        content = tuple(stored.digest for stored in start.stores.values())
        key = (digests, content, start.model.mark())
        if key in self._seen:
            return
        self._seen.add(key)
        self.digests.add(hash((digests, content)) & (1 << 64) - 1)
        network = _cut(start)
        plan = _visit_plan(self.rng)
        try:
            self.stranded += _visit_all(network, plan)
            if self.rng.random() < nested_share:
                self._check_nested(network)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not be
            self.violations.append(f"{where}, then {' '.join(plan)}: {type(error).__name__}: {error}")
        finally:
            forget_everything()

    def _check_nested(self, network: Network) -> None:
        """Cut the power again at every moment of what the recoveries did."""
        inner = NetworkOracle(self.rng.getrandbits(32))
        inner.check_log(network, 2)
        self.nested += len(inner.digests)
        self.digests |= inner.digests
        assert not inner.violations, f"a cut of a recovery: {inner.violations[0]}"


def _cut(start: Start) -> Network:
    """The machines as they come up."""
    model = start.model.copy()
    for name in HOSTS:
        model.apply(name, Op("cut", ""))
    return Network(start._replace(model=model))


def _visit_plan(rng: Random) -> list[str]:
    """Who opens, in which order, and what it does then: `write`, `move` to the server, `look` and die, only `read`."""
    visits = [*rng.sample(HOSTS, 2), *rng.choices(HOSTS, k=rng.randrange(3))]
    return [f"{name}:{rng.choice(('look', 'write', 'move', 'read'))}" for name in visits]


def _visit_all(network: Network, plan: list[str]) -> int:
    """Open on one host after the other; returns how many visits were refused because of what is stranded."""
    refused = 0
    for visit in plan:
        name, _, what = visit.partition(":")
        host = Host(network, name)
        if what == "read":
            host.read_only()
            continue
        if not host.try_open():
            refused += 1
            host.kill()
            continue
        if what != "look":
            host.put("more", f"{name}{host.store.views.visible_lsn}", visit)
        if what == "move":
            host.checkpoint()
        host.kill()
        assert not network.model.problems, network.model.problems[0]
    return refused


class NetworkJob(NamedTuple):
    """One workload with one seed."""

    workload: str
    seed: int
    budget: int
    share: float = 1.0
    nested_share: float = 0.01

    def __str__(self) -> str:
        return f"{self.workload} seed {self.seed} budget {self.budget}"


class NetworkResult(NamedTuple):
    """What it found."""

    digests: array[int]
    nested: int
    stranded: int
    violations: list[str]


def run_network_job(job: NetworkJob) -> NetworkResult:
    """Run the workload, then cut the power at each of its moments."""
    logging.disable(logging.CRITICAL)
    try:
        with deterministic(job.seed):
            network = run_network_workload(job.workload, job.seed)
            oracle = NetworkOracle(job.seed)
            oracle.check_log(network, job.budget, share=job.share, nested_share=job.nested_share)
        violations = [f"{job}, {violation}" for violation in oracle.violations]
        return NetworkResult(array("Q", oracle.digests), oracle.nested, oracle.stranded, violations)
    finally:
        logging.disable(logging.NOTSET)
        forget_everything()


def main() -> None:
    """Repeat one job, for people: ``python -m crash.network_oracle take_overs 3 2``."""
    job = NetworkJob(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    with deterministic(job.seed):
        for index, (name, op) in enumerate(run_network_workload(job.workload, job.seed).log):
            print(f"{index:4} {name} {describe([op])[5:]}")
    print(*run_network_job(job).violations or ["no violations"], sep="\n")


if __name__ == "__main__":
    main()
