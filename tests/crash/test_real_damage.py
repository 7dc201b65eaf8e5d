"""Damage to the files of SQLite and LMDB stores: refused, found by `check`, or harmless; never a wrong value.

Both libraries trust what they read. So every record carries a checksum of its own, and what no reading of a record
can notice (a tree that leads nowhere, or astray) `check` must. LMDB may end the process on a damaged tree: such cases
are counted apart.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crash.real_damage import HUNG, KINDS, STORES, WRONG, Case, Report, Store, cases, judge_all, prepare
from crash.workers import WORKERS
from figures import Tell

ALL = int(os.environ.get("SESSIONDB_TEST_STATES", "0")) > 50_000
"""Every bit and every place, which takes hours."""
BITS_EVERY = 40
PLACES_MAX = 100


@pytest.fixture
def store(request: pytest.FixtureRequest, fast_folder: Path) -> Store:
    folder = fast_folder / "store"
    folder.mkdir()
    return prepare(request.param, folder)


def check_all(store: Store, chosen: list[Case], folder: Path) -> Report:
    """Judge; nothing may be wrong."""
    report = judge_all(store, chosen, folder / "workers", WORKERS)
    wrong = report.all(WRONG)
    assert not wrong, f"{store.kind}: {len(wrong)} of {len(chosen)}: " + "\n".join(wrong[:20])
    assert not report.all(HUNG), report.all(HUNG)
    if store.target == "sqlite":
        assert not report.all("died"), report.all("died")
    return report


@pytest.mark.parametrize("store", STORES, indirect=True)
def test_some_damage_is_detected_or_harmless(store: Store, fast_folder: Path) -> None:
    """A sample for the plain run."""
    chosen = [Case(store.own_files[0], "cuts", len(store.files[store.own_files[0]]), 0)]
    for path in store.own_files:
        for kind in KINDS:
            found = cases(store, path, kind)
            chosen += found[len(path) :: max(len(found) // 3, 1)][:3]
    counts = check_all(store, chosen, fast_folder).counts
    assert counts["refused"] > 3
    assert counts["harmless"] > 3


@pytest.mark.parametrize("store", STORES, indirect=True)
def test_what_is_not_damaged_is_right(store: Store, fast_folder: Path) -> None:
    whole = Case(store.own_files[0], "cuts", len(store.files[store.own_files[0]]), 0)
    assert check_all(store, [whole], fast_folder).outcomes == {whole: "harmless"}


@pytest.mark.parametrize("store", STORES, indirect=True)
def test_a_missing_file_is_refused_or_not_needed(store: Store, fast_folder: Path) -> None:
    """SQLite's log holds a checkpoint whose frames are gone from ours: without it the store is older than its log."""
    report = check_all(store, [Case(path, "missing", 0, 0) for path in store.own_files], fast_folder)
    for case, outcome in report.outcomes.items():
        passing = case.path.endswith(("-shm", "lock.mdb")) or not store.files[case.path]
        assert outcome == ("harmless" if passing else "refused"), case


@pytest.mark.parametrize("store", STORES, indirect=True)
def test_files_of_another_store_or_of_another_time_are_refused_or_harmless(store: Store, fast_folder: Path) -> None:
    """An older copy of the file alone (the log does not reach back), and another store's."""
    chosen = []
    for number, (seed, young) in enumerate([(5, True), (6, True), (6, False)]):
        folder = fast_folder / f"other{number}"
        folder.mkdir()
        other = prepare(store.kind, folder, seed, young=young)
        chosen += [Case(path, "replaced", number, 0, other.files.get(path, b"")) for path in store.own_files]
    report = check_all(store, chosen, fast_folder)
    main = [report.outcomes[case] for case in chosen if case.path == store.own_files[0]]
    assert "refused" in main
    assert set(report.counts) <= {"refused", "found", "harmless"}


@pytest.mark.slow
@pytest.mark.timeout(10**6 if ALL else 600)
@pytest.mark.parametrize("store", STORES, indirect=True)
def test_damage_everywhere_is_detected_or_harmless(store: Store, fast_folder: Path, tell: Tell) -> None:
    """A bit of every few bytes, and cuts, zeros and garbage at places spread over every file."""
    chosen: list[Case] = []
    for path in store.own_files:
        passing = path.endswith(("-shm", "lock.mdb"))  # made anew by whoever opens it first
        for kind in KINDS:
            every = BITS_EVERY if kind == "bits" else max(len(cases(store, path, kind)) // PLACES_MAX, 1)
            chosen += cases(store, path, kind, every=1 if ALL else every * (8 if passing else 1))
    counts = check_all(store, chosen, fast_folder).counts
    tell(f"damage, {store.kind}: {len(chosen)} damaged stores, {dict(counts)}, 0 wrong")
    assert counts["refused"] > len(chosen) // 20
