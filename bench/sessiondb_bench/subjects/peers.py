"""Other stores, for comparison: each is measured where it is installed, under the guarantee that it really gives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import NamedTuple

from .object_peers import ShelvePeer, TinyDBPeer, ZODBPeer
from .sql_peers import DiskcachePeer, Sqlite3Peer, SqlitedictPeer
from .subject import Subject
from .tree_peers import LmdbPeer, PlyvelPeer, RocksdictPeer

__all__ = ["PEERS", "Peer", "missing_peers", "peer_subjects"]


class Peer(NamedTuple):
    """A store that is compared with.

    Attributes:
        make: makes one in a folder in which nothing is.
        modules: what must be importable.
        package: what ``pip install`` calls it; empty for the standard library.
    """

    make: Callable[[str], Subject]
    modules: tuple[str, ...] = ()
    package: str = ""


PEERS: dict[str, Peer] = {
    "sqlite3 WAL FULL": Peer(partial(Sqlite3Peer, synchronous="FULL"), ("sqlite3",)),
    "sqlite3 WAL NORMAL": Peer(partial(Sqlite3Peer, synchronous="NORMAL"), ("sqlite3",)),
    "lmdb sync": Peer(partial(LmdbPeer, synced=True), ("lmdb",), "lmdb"),
    "lmdb nosync": Peer(partial(LmdbPeer, synced=False), ("lmdb",), "lmdb"),
    "rocksdict sync": Peer(partial(RocksdictPeer, synced=True), ("rocksdict",), "rocksdict"),
    "rocksdict nosync": Peer(partial(RocksdictPeer, synced=False), ("rocksdict",), "rocksdict"),
    "plyvel sync": Peer(partial(PlyvelPeer, synced=True), ("plyvel",), "plyvel"),
    "plyvel nosync": Peer(partial(PlyvelPeer, synced=False), ("plyvel",), "plyvel"),
    "diskcache": Peer(DiskcachePeer, ("diskcache",), "diskcache"),
    "sqlitedict": Peer(SqlitedictPeer, ("sqlitedict",), "sqlitedict"),
    "TinyDB": Peer(TinyDBPeer, ("tinydb", "tinydb.table"), "tinydb"),
    "shelve": Peer(ShelvePeer, ("shelve",)),
    "ZODB": Peer(ZODBPeer, ("ZODB.FileStorage", "BTrees.OOBTree", "persistent.mapping", "transaction"), "ZODB"),
}


def missing_peers() -> dict[str, str]:
    """Those that cannot be measured here, each with the reason, for people."""
    missing = {}
    for name, peer in PEERS.items():
        try:
            for module in peer.modules:
                import_module(module)
        except ImportError as error:
            advice = f"; next: pip install {peer.package}" if peer.package else ""
            missing[name] = f"{error}{advice}"
    return missing


def peer_subjects() -> list[tuple[str, Callable[[str], Subject]]]:
    """The name of each peer that can be measured here, and what makes one in a folder in which nothing is."""
    missing = missing_peers()
    return [(name, peer.make) for name, peer in PEERS.items() if name not in missing]
