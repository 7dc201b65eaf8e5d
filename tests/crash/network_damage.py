"""Damage of the file that says who a host is: the log is refused as it is, or what opens is right.

`SITUATIONS` are moments in the life of host one, whose ``OWNER`` is then damaged, removed, or put back to an earlier
one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from random import Random

from sessiondb.errors import CorruptionError, FencedError

from .network import HOSTS, SERVER, Host, Network, Start
from .oracle import deterministic, forget_everything
from .session import Killed

__all__ = ["SITUATIONS", "damages", "judge_damage", "prepare_damage"]

OWNER = f"{SERVER.folder}/OWNER"

SITUATIONS = ("owner", "asked", "answered", "lost", "stranded", "came back", "came back and died")


def prepare_damage(situation: str) -> tuple[Start, list[bytes]]:
    """What is there, and every ``OWNER`` that host one has had, the last one first; call it in `deterministic`."""
    network = Network()
    one, other = (Host(network, name) for name in HOSTS)
    owners = []

    def remember() -> None:
        owners.insert(0, one.disk.file_bytes(OWNER))

    one.open()
    remember()
    one.some_puts(1)
    one.checkpoint()
    if situation in ("lost", "came back", "came back and died"):
        one.kill()
    else:
        one.some_puts(2)
        one.kill()
    if situation in ("asked", "answered", "came back and died"):
        if situation == "came back and died":
            _take_over(other)
        _die_at_take_over(one, after=situation != "asked")
        remember()
    elif situation != "owner":
        _take_over(other)
        if situation == "came back":
            one.open()
            remember()
            one.some_puts(2)
            one.kill()
    network.settle()
    return network.start, owners


def _take_over(host: Host) -> None:
    host.open()
    host.some_puts(1)
    host.checkpoint()
    host.kill()


def _die_at_take_over(host: Host, *, after: bool) -> None:
    steps = 0

    def hook(kind: str, path: str) -> None:
        nonlocal steps
        steps += kind == "step" or steps > 0
        if steps > after:
            raise Killed

    host.disk.hook = hook
    with contextlib.suppress(Killed):
        host.open()
    host.kill()


def damages(owners: list[bytes]) -> Iterator[bytes | None]:
    """What may be there instead; ``None``: nothing."""
    now = owners[0]
    yield None
    yield from (now[:length] for length in range(len(now)))
    yield from owners[1:]
    yield b"".join(reversed(now.splitlines(keepends=True)))
    yield bytes(len(now))
    yield now + now
    yield Random(1).randbytes(len(now))
    for bit in range(len(now) * 8):
        damaged = bytearray(now)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)


def judge_damage(start: Start, content: bytes | None) -> str:
    """Open host one with this in its ``OWNER``; returns how it ended, `AssertionError` when that is not right."""
    with deterministic(9):
        network = Network(start)
        disk = network.machines["one"]
        if content is None:
            disk.unlink(OWNER)
        else:
            inode = disk.inodes[disk.entries[OWNER]]
            inode.data = content
        host = Host(network, "one")
        before = host._log()
        stored = dict(network.stores)
        outcome = ""
        try:
            for _ in range(2):
                was_lost = network.model.is_lost("one")
                try:
                    host.open()
                except (CorruptionError, FencedError) as error:
                    assert host._log() == before, "it is refused, and the log was changed"
                    assert network.stores == stored, "it is refused, and the server was changed"
                    host.kill()
                    outcome = type(error).__name__
                    continue
                assert not was_lost, "what is stranded was forgotten"
                host.some_puts(1)
                host.checkpoint()
                host.kill()
                outcome = "opened"
                before = host._log()
                break
            assert not network.model.problems, network.model.problems[0]
            return outcome
        finally:
            host.kill()
            forget_everything()
