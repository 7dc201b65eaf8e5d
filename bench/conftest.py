"""The benchmark suite's options, fixtures and results: ``pytest bench`` in the project's root.

What is measured is in `suite/`; how an operation becomes a line of the results is in `sessiondb_bench.suite`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import sessiondb
from sessiondb_bench.environment import commit, environment, file_system, load
from sessiondb_bench.results import Environment, Run, save_run
from sessiondb_bench.subjects import Subject, engine_subject, floor_subjects, missing_peers, peer_subjects
from sessiondb_bench.subjects.engine import location_in, remove_from_server
from sessiondb_bench.suite import Collected, Sizes, Task, command_of, free_name, measure, table_of, without_places

pytest_plugins = ["postgres.fixtures"]

HERE = Path(__file__).parent
COLLECTED = pytest.StashKey[Collected]()
SAVED = pytest.StashKey[str]()
STARTED = pytest.StashKey[tuple[datetime, Environment]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("sessiondb benchmarks")
    group.addoption("--bench-records", type=int, default=5_000, metavar="N", help="records in a store (5,000)")
    group.addoption("--bench-record-bytes", type=int, default=300, metavar="N", help="size of a record as JSON (300)")
    group.addoption(
        "--bench-seconds", type=float, default=0.25, metavar="S",
        help="how long to measure each operation, and as long again its floor (0.25)",
    )  # fmt: skip
    group.addoption("--bench-scale", type=float, default=1.0, metavar="X", help="X times the records and seconds")
    group.addoption(
        "--bench-dir", metavar="DIR", help="where the stores go, on the disk to be measured (the temporary folder)"
    )
    group.addoption("--save-run", action="store_true", help="write bench/results/DATE-COMMIT.json")
    group.addoption("--run-file", type=Path, metavar="FILE", help="write the run to this file")


def pytest_configure(config: pytest.Config) -> None:
    if not Path(_folder(config)).is_dir():
        raise pytest.UsageError(f"--bench-dir: there is no folder {_folder(config)}")
    run_file = config.getoption("run_file")
    if run_file is not None and not os.access(run_file.absolute().parent, os.W_OK):  # before minutes of measuring
        raise pytest.UsageError(f"--run-file: nothing can be written to {run_file.absolute().parent}")
    config.stash[COLLECTED] = Collected()
    config.stash[STARTED] = (datetime.now(UTC), environment(_folder(config)))


def _folder(config: pytest.Config) -> str:
    return str(config.getoption("bench_dir") or tempfile.gettempdir())


def pytest_report_header(config: pytest.Config) -> list[str]:
    kind = file_system(_folder(config))
    lines = [f"stores on: {kind}"]
    if kind.startswith(("tmpfs", "ramfs", "overlay")):
        lines.append(
            f"NOTE: on {kind} there may be no disk, and syncs cost nothing then; next: choose one by --bench-dir"
        )
    where = config.stash[STARTED][1]
    if where.load_before > where.cores / 2:
        lines.append(f"NOTE: the load is {where.load_before:g} on {where.cores} cores: look at ratios, not at times")
    return lines


@pytest.fixture(scope="session")
def sizes(pytestconfig: pytest.Config) -> Sizes:
    """How much is measured."""
    option, scale = pytestconfig.getoption, pytestconfig.getoption("bench_scale")
    return Sizes(
        max(10, round(option("bench_records") * scale)), option("bench_record_bytes"), option("bench_seconds") * scale
    )


@pytest.fixture
def folder(pytestconfig: pytest.Config) -> Iterator[Callable[[], str]]:
    """Makes new, empty folders on the disk that is measured; they are gone after the test."""
    with tempfile.TemporaryDirectory(prefix="sessiondb-bench-", dir=_folder(pytestconfig)) as root:
        yield lambda: tempfile.mkdtemp(dir=root)


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a PostgreSQL server, with a schema of its own, which is removed after the run.

    Where there is no server its rows are left out, and the run says why.
    """
    try:
        dsn: str = request.getfixturevalue("pg_dsn")
        import psycopg

        from postgres.fixtures import drop_schema, new_name

        connection = psycopg.connect(dsn, autocommit=True, connect_timeout=10)
    except (pytest.fail.Exception, ImportError, OSError, AssertionError) as error:
        reason = str(error)
    except psycopg.OperationalError as error:
        reason = f"the server does not answer: {error}"
    except psycopg.Error:  # what libpq says of such a text repeats it, with the password
        reason = "SESSIONDB_TEST_PG_DSN is no URL of a server"
    else:
        schema = new_name()
        with connection:
            yield f"{dsn}{'&' if '?' in dsn else '?'}schema={schema}"
            drop_schema(connection, schema)
        return
    request.config.stash[COLLECTED].missing["postgres"] = reason.strip()
    pytest.skip(f"postgres: {reason.strip()}")


@pytest.fixture
def new_location(folder: Callable[[], str], request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Says where a new store of a backend may go; nothing is there. It is removed after the test."""
    said: list[str] = []

    def say(backend: str) -> str:
        dsn = request.getfixturevalue("server") if backend == "postgres" else None
        said.append(location_in(folder(), backend, dsn))
        return said[-1]

    yield say
    for location in said:
        remove_from_server(location)


@pytest.fixture
def open_engine(folder: Callable[[], str], request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Opens new stores of sessiondb by backend and sync level; they are closed after the test."""
    opened: list[Subject] = []

    def open_it(backend: str, sync: str = "always", **options: Any) -> Any:
        dsn = request.getfixturevalue("server") if backend == "postgres" else None
        # What is measured is one operation, and not a checkpoint that happens to begin beside it.
        calm = {"checkpoint_records": 10**9, "checkpoint_bytes": 10**12, "checkpoint_age_s": 1e9}
        subject = engine_subject(backend, sync, folder(), dsn=dsn, **(calm | options))
        opened.append(subject)
        return subject

    yield open_it
    for subject in opened:
        subject.close()


@pytest.fixture
def open_other(folder: Callable[[], str], pytestconfig: pytest.Config) -> Iterator[Callable[[str], Subject]]:
    """Opens a new floor or peer by name; it is closed after the test. One that is not installed is left out."""
    opened: list[Subject] = []

    def open_it(name: str) -> Subject:
        makers = dict(floor_subjects() + peer_subjects())
        if name not in makers:
            reason = missing_peers()[name]
            pytestconfig.stash[COLLECTED].missing[name] = reason
            pytest.skip(f"{name}: {reason}")
        subject = makers[name](folder())
        opened.append(subject)
        return subject

    yield open_it
    for subject in opened:
        subject.close()


@pytest.fixture
def measured(benchmark: Any, sizes: Sizes, pytestconfig: pytest.Config) -> Callable[..., None]:
    """Measures a `Task`, whose attributes it takes, and adds it to the run."""
    return lambda *args, **kwargs: measure(benchmark, Task(*args, **kwargs), sizes, pytestconfig.stash[COLLECTED])


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    machine_info.pop("node", None)  # the machine's name is nobody's business


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    collected = config.stash[COLLECTED]
    measurements = collected.all()
    if measurements:
        terminalreporter.section("sessiondb: latency in microseconds, ratio to the floor that took turns")
        for line in table_of(measurements):
            terminalreporter.write_line(line)
    for name, reason in collected.missing.items():
        terminalreporter.write_line(f"NOT MEASURED: {name}: {reason}", yellow=True)
    if path := config.stash.get(SAVED, None):
        terminalreporter.write_line(f"run written: {path}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    if not (config.getoption("save_run") or config.getoption("run_file")):
        return
    collected = config.stash[COLLECTED]
    measurements = collected.all()
    if not measurements:
        config.stash[SAVED] = "none, for nothing was measured"
        return
    began, where = config.stash[STARTED]
    where.load_after = load()
    run = Run(
        command=command_of(config.invocation_params.args, HERE.parent), suite="latency",
        started=began.isoformat(timespec="seconds"),
        version=sessiondb.__version__, commit=commit(HERE.parent), environment=where, measurements=measurements,
        problem=_problem(session, exitstatus),
        left_out=[without_places(f"{name}: {reason}") for name, reason in collected.missing.items()],
    )  # fmt: skip
    paths = [config.getoption("run_file")] if config.getoption("run_file") else []
    if config.getoption("save_run"):
        paths.append(free_name(HERE / "results", began.date().isoformat(), run.commit))
    for path in paths:
        save_run(run, path)
    config.stash[SAVED] = ", ".join(map(str, paths))


def _problem(session: pytest.Session, exitstatus: int) -> str:
    if session.testsfailed:
        return f"{session.testsfailed} of the benchmarks failed"
    return "" if exitstatus == pytest.ExitCode.OK else "the run was ended before its end"
