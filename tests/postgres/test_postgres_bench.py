"""The benchmark of this backend runs; nobody asserts its figures."""

import json

from sessiondb_bench import postgres


def test_it_prints_a_figure_for_each_question_and_leaves_nothing_behind(
    pg_dsn, pg_admin, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(postgres, "RECORDS", 2_100)
    monkeypatch.setattr(postgres, "MOVED", 100)
    assert postgres.main(["--dsn", pg_dsn, "--dir", str(tmp_path), "--rounds", "1", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert len(figures) == 12
    assert all(figure > 0 for figure in figures.values())
    assert list(tmp_path.iterdir()) == []
    left = pg_admin.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [postgres.SCHEMA]).fetchone()
    assert left is None
