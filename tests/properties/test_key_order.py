"""Keys are in the order of their UTF-8 bytes, through every layer that a scan reads."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

import sessiondb
from properties.quiet_files import QuietFiles
from properties.strategies import any_keys, edge_keys

keys = edge_keys | any_keys


def test_a_scan_chooses_and_orders_by_utf_8_bytes(effort: settings, tmp_path: Path) -> None:
    """Some keys are in the backend, some in the log, some deleted again: one order."""
    files = QuietFiles()
    with sessiondb.open(tmp_path / "store.json", files=files) as db:

        @effort
        @given(
            st.sets(keys, max_size=12),
            st.sets(keys, max_size=12),
            st.data(),
            st.booleans(),
            st.none() | st.integers(0, 6),
        )
        def check(below: set[str], above: set[str], data: st.DataObject, reverse: bool, limit: int | None) -> None:
            table = db.table("t")
            db.drop("t")
            table.put_many(dict.fromkeys(below, "below"))
            db.checkpoint()
            table.put_many(dict.fromkeys(above, "above"))
            known = sorted(below | above) or ["a"]
            gone = set(data.draw(st.lists(st.sampled_from(known), max_size=3)))
            table.delete_many(gone)
            bounds = st.sampled_from(known) | keys
            prefix = data.draw(st.just("") | bounds | bounds.map(lambda key: key[:1]))
            start, stop = data.draw(st.none() | bounds), data.draw(st.none() | bounds)

            chosen = [
                key
                for key in sorted((below | above) - gone, key=str.encode)
                if key.encode().startswith(prefix.encode())
                and (start is None or start.encode() <= key.encode())
                and (stop is None or key.encode() < stop.encode())
            ]
            if reverse:
                chosen.reverse()
            expected = [(key, "above" if key in above else "below") for key in chosen[:limit]]
            assert list(table.scan(prefix, start=start, stop=stop, reverse=reverse, limit=limit)) == expected
            assert table.count(prefix) == sum(key.startswith(prefix) for key in (below | above) - gone)

        check()


def test_the_smallest_key_behind_a_prefix_is_found_at_every_edge_of_utf_8(tmp_path: Path) -> None:
    """The key behind a prefix is not always prefix + 1: surrogates are none, and U+10FFFF is the last."""
    edges = ["\x01", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff"]
    with sessiondb.open("memory:") as db:
        table = db.table("t")
        table.put_many({first + second: 0 for first in edges for second in ["", *edges]})
        for edge in edges:
            assert [key for key, _ in table.scan(edge)] == [edge + second for second in ["", *edges]]
            assert table.count(edge) == 1 + len(edges)
        assert table.delete_prefix("\U0010ffff") == 1 + len(edges)
        assert table.delete_prefix("\ud7ff") == 1 + len(edges)
        assert len(table) == (len(edges) - 2) * (1 + len(edges))
