"""What cannot be shown honestly is refused before a file is touched."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from report_samples import ENVIRONMENT, measurement, run_of, small_run
from sessiondb.errors import UsageError
from sessiondb_bench.report import write_report
from sessiondb_bench.report.checking import check_runs

NAN, INFINITE = math.nan, math.inf


def refused(runs: Any, tmp_path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        write_report(runs, tmp_path / "r.md", ["markdown"])
    assert list(tmp_path.iterdir()) == []
    return str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field in ("median_us", "p95_us", "p99_us", "max_us") for value in (NAN, INFINITE, 0.0, -1.0)]
    + [(field, value) for field in ("seconds", "per_second") for value in (NAN, INFINITE, -1.0, 1e300)]
    + [("ratio", value) for value in (NAN, INFINITE, 0.0, -2.0, 1e12)]
    + [
        ("operations", 0),
        ("operations", -1),
        pytest.param("operations", 10**400, id="operations-huge"),
        ("threads", 0),
        ("records", -1),
    ]
    + [("record_bytes", -1), ("max_us", 1e14), ("median_us", 1e-9)],
)
def test_a_number_that_no_measurement_can_be_is_refused(field: str, value: Any, tmp_path: Path) -> None:
    one = measurement("put", floor="dict")
    setattr(one, field, value)
    message = refused([run_of([measurement("get"), one])], tmp_path)
    assert field in message or "histogram" in message
    assert "measurement 2 ('put' on 'json')" in message
    assert "next: " in message


@pytest.mark.parametrize(
    "buckets",
    [[(NAN, 1)], [(INFINITE, 1)], [(0.0, 1)], [(-1.0, 1)], [(2.0, 1), (1.0, 1)], [(1.0, -1)], [(1.0, 10**6)]],
)
def test_a_histogram_that_no_measurement_can_have_is_refused(buckets: Any, tmp_path: Path) -> None:
    assert "histogram" in refused([run_of([measurement(histogram=buckets)])], tmp_path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"p95_us": 1.0}, "median_us is "),
        ({"ratio": 1.2}, "does not say to which floor"),
        ({"store": "x" * 201}, "store has 201 characters"),
        ({"store": " "}, "no name"),
        ({"operation": ""}, "no name"),
        ({"counts": {"syncs": NAN}}, "counts['syncs'] is nan"),
        ({"counts": {"syncs": INFINITE}}, "counts['syncs'] is inf"),
        ({"guarantee": "everything"}, "not a benchmark run"),
        ({"kind": "god"}, "not a benchmark run"),
        ({"median_us": "5"}, "not a benchmark run"),
    ],
)
def test_a_measurement_that_contradicts_itself_is_refused(fields: Any, words: str, tmp_path: Path) -> None:
    one = measurement()
    for name, value in fields.items():
        setattr(one, name, value)
    assert words in refused([run_of([one])], tmp_path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"started": "yesterday"}, "no date"),
        ({"started": "0001-01-01T00:00:00+23:00"}, "no date"),
        ({"command": "x" * 20_000}, "command has 20,000 characters"),
        ({"environment": msgspec.structs.replace(ENVIRONMENT, load_before=NAN)}, "load_before is nan"),
        ({"environment": msgspec.structs.replace(ENVIRONMENT, load_after=-1.0)}, "load_after is -1"),
        ({"environment": msgspec.structs.replace(ENVIRONMENT, cores=0)}, "cores is 0"),
        ({"environment": msgspec.structs.replace(ENVIRONMENT, versions={"a": "b" * 10_001})}, "versions has"),
    ],
)
def test_a_run_that_cannot_be_is_refused(fields: Any, words: str, tmp_path: Path) -> None:
    assert words in refused([small_run(**fields)], tmp_path)


def test_nothing_to_show_is_refused(tmp_path: Path) -> None:
    assert "there is no run" in refused([], tmp_path)
    assert "no measurement in any" in refused([run_of([])], tmp_path)
    assert "501 runs" in refused([small_run()] * 501, tmp_path)


def test_a_run_without_measurements_beside_one_that_has_some_is_told() -> None:
    check_runs([small_run(), run_of([], problem="stopped")])


def test_names_in_a_refusal_show_no_control_characters(tmp_path: Path) -> None:
    one = measurement("put\x1b[31m\n" + "x" * 100)
    one.threads = 0
    message = refused([run_of([one])], tmp_path)
    assert "\x1b" not in message
    assert "\n" not in message
    assert len(message) < 400


def test_a_run_as_it_was_written_is_taken() -> None:
    check_runs([small_run(started="2026-11-22"), small_run(started="2026-11-22T21:52:00")])
