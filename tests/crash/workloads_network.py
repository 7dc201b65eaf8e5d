"""What two hosts do to one store when the power goes."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Callable, Iterator
from random import Random
from unittest import mock

from sessiondb import opening
from sessiondb.errors import FencedError, StoreFailedError

from .network import HOSTS, Host, Network
from .ops import LATE, WHOLE

__all__ = ["NETWORK_WORKLOADS", "run_network_workload"]

NetworkWorkload = Callable[["Pair"], None]
NETWORK_WORKLOADS: dict[str, NetworkWorkload] = {}


class Pair:
    """Two hosts, and the dice."""

    def __init__(self, seed: int):
        self.rng = Random(seed)
        self.network = Network()
        self.hosts = [Host(self.network, name, self.rng.getrandbits(32)) for name in HOSTS]

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts)

    def level(self) -> str:
        """Durable at once, or some day."""
        return self.rng.choice(("always", "always", "never"))

    def started(self) -> tuple[Host, Host]:
        """The two, after the first has used the store for a while; its process is dead."""
        one, other = self.hosts
        one.open()
        one.put_many("t", {f"k{number}": one.record() for number in range(3)})
        if self.rng.random() < 0.7:
            one.checkpoint()
        if self.rng.random() < 0.3:
            one.some_puts(1)
        one.kill()
        self.network.settle()
        return one, other

    def end(self, host: Host) -> None:
        """Its process ends, in any way."""
        how = self.rng.choice(("close", "kill", "cut"))
        if host.db is None:
            return
        if how == "close":
            with contextlib.suppress(FencedError):
                host.close()
        elif how == "cut":
            host.power_cut()
            return
        host.kill()


def network_workload(function: NetworkWorkload) -> NetworkWorkload:
    """Register a workload."""
    NETWORK_WORKLOADS[function.__name__] = function
    return function


def run_network_workload(name: str, seed: int) -> Network:
    """Run a workload to its end."""
    pair = Pair(seed)
    try:
        # Processes of two machines do not wait for each other: here one opens in the middle of the other's opening.
        with mock.patch.object(opening, "_lock_of", return_value=threading.RLock()):
            NETWORK_WORKLOADS[name](pair)
    finally:
        for host in pair:
            host.kill()
    assert not pair.network.model.problems, pair.network.model.problems[0]
    return pair.network


@network_workload
def first_openings(pair: Pair) -> None:
    """Nothing is there yet."""
    for host in pair:
        host.open()
        host.some_puts(1, pair.level())
        if pair.rng.random() < 0.5:
            host.checkpoint()
        pair.end(host)


@network_workload
def take_overs(pair: Pair) -> None:
    """Each host leaves everything on the server; its old log goes when it comes back."""
    pair.started()
    for host in pair.rng.choices(pair.hosts, k=4):
        if host.try_open():
            host.some_puts(pair.rng.randrange(2), pair.level())
            host.checkpoint()
            host.kill()


@network_workload
def stranded_commits(pair: Pair) -> None:
    """A host has acknowledged what never reached the server; the other one takes over and goes on."""
    one, other = pair.started()
    if not one.try_open():
        raise AssertionError
    one.some_puts(1)
    one.checkpoint()
    one.some_puts(pair.rng.randrange(1, 3), pair.level())
    pair.end(one)
    other.open()
    other.some_puts(1)
    other.checkpoint()
    pair.end(other)
    if not one.try_open():
        one.move_away()
        one.open()
    one.some_puts(1)


@network_workload
def fenced(pair: Pair) -> None:
    """The host that was taken over from still runs, acknowledges, and learns of it at its next checkpoint."""
    one, other = pair.started()
    one.open()
    one.some_puts(1)
    other.open()
    one.some_puts(1, pair.level())
    other.some_puts(1)
    for host in pair.rng.sample((one, other), 2):
        with contextlib.suppress(FencedError):
            host.checkpoint()
        with contextlib.suppress(FencedError):
            host.some_puts(1)
    for host in (one, other):
        pair.end(host)
    for host in pair.rng.sample((one, other), 2):
        if host.try_open():
            host.some_puts(1)
            pair.end(host)


@network_workload
def in_between(pair: Pair) -> None:
    """In the middle of what one host does, before it asks the server, the other one takes over, and perhaps writes."""
    one, other = pair.started()
    for _ in range(2):
        left = pair.rng.randrange(24)

        def hook(kind: str, path: str) -> None:
            nonlocal left
            left -= kind in ("look", "step")
            if left < 0:
                one.disk.hook = None
                if other.try_open():
                    other.some_puts(pair.rng.randrange(2))
                    if pair.rng.random() < 0.7:
                        other.checkpoint()
                    pair.end(other)

        one.disk.hook = hook
        with contextlib.suppress(FencedError):
            one.open()
            one.some_puts(1)
            one.checkpoint()
            one.some_puts(1)
            one.checkpoint()
        one.disk.hook = None
        pair.end(one)
        one.kill()
        if one.stranded() is not None:
            one.move_away()


@network_workload
def right_then(pair: Pair) -> None:
    """Right before the server is told something, or right after it, the other host takes over."""
    one, other = pair.started()
    one.open()
    one.some_puts(pair.rng.randrange(2))
    opens = pair.rng.random() < 0.6
    if opens:
        one.kill()
    asked, before = 0, pair.rng.randrange(1, 3 if opens else 4)

    def hook(kind: str, path: str) -> None:
        nonlocal asked
        asked += kind == "step" or (asked > 0 and kind == "look")
        if asked == before:
            one.disk.hook = None
            other.open()
            other.some_puts(pair.rng.randrange(2))
            if pair.rng.random() < 0.7:
                other.checkpoint()
            pair.end(other)

    one.disk.hook = hook
    with contextlib.suppress(FencedError):
        if opens:
            one.open()
        for _ in range(2):
            one.some_puts(1)
            one.checkpoint()
    one.kill()
    if one.try_open():
        one.some_puts(1)


@network_workload
def killed_while_opening(pair: Pair) -> None:
    """The process is killed anywhere in its take-over; the owner before still runs, and goes on if it can."""
    one, other = pair.started()
    one.open()
    for _ in range(2):
        with contextlib.suppress(FencedError), other.killed_after(pair.rng.randrange(pair.rng.choice((20, 45)))):
            other.open()
            other.some_puts(1)
        with contextlib.suppress(FencedError):
            one.some_puts(1)
            one.checkpoint()
    pair.end(one)
    for host in pair.rng.sample((one, other), 2):
        if host.try_open():
            host.some_puts(1)
            pair.end(host)


@network_workload
def cut_while_opening(pair: Pair) -> None:
    """As before, and the machine's power goes with it."""
    one, other = pair.started()
    for host in pair.rng.choices((one, other), k=3):
        with contextlib.suppress(FencedError), host.killed_after(pair.rng.randrange(pair.rng.choice((20, 45)))):
            host.open()
            host.some_puts(1)
            host.checkpoint()
        host.power_cut()
    for host in (one, other):
        if host.try_open():
            host.checkpoint()
            host.kill()


@network_workload
def lost_answers(pair: Pair) -> None:
    """The server's answer to a take-over or a checkpoint is lost: it was done, or not, or will be."""
    one, other = pair.started()
    for host in pair.rng.choices((one, other), k=4):
        wishes = [pair.rng.choice(("", WHOLE, LATE)) for _ in range(pair.rng.randrange(1, 3))]

        def hook(kind: str, path: str, wishes: list[str] = wishes) -> object:
            if kind != "step" or not wishes or pair.rng.random() < 0.5:
                return None
            wish = wishes.pop()
            if wish:
                return wish
            raise OSError(errno.EIO, "EIO", path)

        host.disk.hook = hook
        for _ in range(2):
            with contextlib.suppress(StoreFailedError):
                if host.db is None:
                    host.open()
                host.some_puts(1)
                host.checkpoint()
        host.disk.hook = None
        host.kill()
        if host.stranded() is not None:
            host.move_away()


@network_workload
def segments_pile_up(pair: Pair) -> None:
    """Answers of the server are lost, so the log that is taken over from has several segments, perhaps all on it."""
    one, other = pair.started()
    one.open()
    for last in (False, True):
        one.some_puts(1)
        one.fail_once("step", errno.EIO, pair.rng.choice((WHOLE, WHOLE, "")) if last else "")
        with contextlib.suppress(StoreFailedError):
            one.checkpoint()
        one.disk.hook = None
        if pair.rng.random() < 0.5:
            one.kill()
            if not last:
                one.open()
    one.kill()
    for host in (other, one, other):
        if host.try_open():
            host.some_puts(1)
            host.checkpoint()
            host.kill()
