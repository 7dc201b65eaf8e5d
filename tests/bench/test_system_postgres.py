"""The whole-system figures of a store on a server, and that nothing of it is left there."""

from sessiondb_bench.results import load_run
from sessiondb_bench.system import __main__ as command
from sessiondb_bench.system.plan import Plan

TINY = {"rounds": 1, "replayed": 30, "moved": 40, "alone_s": 0.0, "threads": (1,), "commits": 5}


def test_a_server_is_measured_and_left_as_it_was(pg_dsn, pg_admin, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Plan, "quick", classmethod(lambda cls, **values: cls(**{**TINY, **values})))

    def schemas():
        return pg_admin.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'sessiondb_bench%'").fetchall()

    before = schemas()
    words = ["--quick", "--dir", str(tmp_path), "--backend", "postgres", "--dsn", pg_dsn]
    parts = ["--part", "replay", "--part", "syncs"]
    assert command.main([*words, *parts, "--output", f"{tmp_path}/run.json"]) == 0
    measurements = load_run(tmp_path / "run.json").measurements
    assert [one.operation for one in measurements] == [
        "replay (transactions of 1)", "replay (transactions of 100)", "put (syncs counted)",
    ]  # fmt: skip
    assert [one.counts["records"] for one in measurements[:2]] == [30, 30]
    assert measurements[-1].counts["syncs_per_commit"] == 1
    assert schemas() == before
