"""What is to be measured, from the words of the command line: workloads, stores, sync levels, sizes."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import NamedTuple, TypeVar

from sessiondb.errors import ConfigError
from sessiondb_bench.records import EXACT_BYTES_MIN
from sessiondb_bench.running import FLOORS, Candidate, Plan
from sessiondb_bench.subjects.engine import BACKENDS, SYNC_LEVELS, engine_subject
from sessiondb_bench.subjects.floors import GROWING, floor_subjects
from sessiondb_bench.subjects.peers import missing_peers, peer_subjects
from sessiondb_bench.workloads import FAMILIES, WORKLOADS

from ..exit_codes import USAGE, CommandError

__all__ = ["FULL", "QUICK", "Choice", "Defaults", "available", "candidates", "choose", "missing"]

RECORDS_MAX = 5_000_000
"""Keys are in the order of their numbers up to ten millions, and workloads insert more."""
RECORD_BYTES_MAX = 1 << 20
THREADS_MAX = 256
SECONDS_MIN, SECONDS_MAX = 0.1, 86_400.0
SHOWN_FLOORS = (*FLOORS.values(), GROWING)
"""They always take part: without them there are no ratios, and two runs can hardly be compared."""


_N = TypeVar("_N", int, float)


class Defaults(NamedTuple):
    """What is run when the command line does not say."""

    workloads: str
    sync: str
    threads: str
    records: str
    seconds: float


QUICK = Defaults("fillrandom,readrandom,ycsb-a", "always,never", "1", "5000", 30.0)
FULL = Defaults("all", "always,interval,never", "1,4", "20000", 1_200.0)


class Choice(NamedTuple):
    """What the command line means.

    Attributes:
        names_backends: those were asked for: one that is not installed is an error.
        has_peers: whether other stores take part.
    """

    plan: Plan
    backends: list[str]
    sync: list[str]
    names_backends: bool
    has_peers: bool

    @property
    def command(self) -> str:
        """Does the same again; without folders, files and servers."""
        plan = self.plan
        words = [
            "sessiondb", "bench", "run", "--backends", ",".join(self.backends), "--sync", ",".join(self.sync),
            "--workloads", ",".join(plan.workloads), "--threads", ",".join(map(str, plan.threads)),
            "--records", ",".join(map(str, plan.records)), "--size", str(plan.record_bytes),
            "--time", f"{plan.seconds:g}", "--seed", str(plan.seed), *([] if self.has_peers else ["--no-peers"]),
            *(["--dsn", "URL"] if "postgres" in self.backends else []),
        ]  # fmt: skip
        return shlex.join(words)


def choose(
    *, backends: str | None, sync: str | None, workloads: str | None, threads: str | None, records: str | None,
    size: int, seconds: float | None, seed: int, has_peers: bool, has_server: bool, full: bool,
) -> Choice:  # fmt: skip
    """Read the options of `bench run`; ``None`` where one is not given.

    Raises:
        CommandError: one is wrong.
    """
    defaults = FULL if full else QUICK
    known = [name for name in BACKENDS if name != "postgres" or has_server]
    chosen = known if backends is None else _words("--backends", backends, BACKENDS, {"all": known})
    if "postgres" in chosen and not has_server:
        raise CommandError("--backends postgres takes a server; next: --dsn postgresql://...", USAGE)
    plan = Plan(
        workloads=_words("--workloads", workloads or defaults.workloads, WORKLOADS, FAMILIES),
        threads=_numbers("--threads", threads or defaults.threads, THREADS_MAX),
        records=_numbers("--records", records or defaults.records, RECORDS_MAX),
        record_bytes=_within("--size", size, EXACT_BYTES_MIN, RECORD_BYTES_MAX),
        seconds=_within("--time", defaults.seconds if seconds is None else seconds, SECONDS_MIN, SECONDS_MAX),
        seed=seed,
    )
    if max(plan.threads) > min(plan.records):
        raise CommandError(
            f"--threads has {max(plan.threads)}, and --records {min(plan.records)}: every thread needs one; next: more "
            "records",
            USAGE,
        )
    levels = _words("--sync", sync or defaults.sync, SYNC_LEVELS, {"all": SYNC_LEVELS})
    return Choice(plan, chosen, levels, backends is not None, has_peers)


def available(choice: Choice, folder: str, dsn: str | None) -> tuple[Choice, list[str]]:
    """The choice with the backends that can run here, and why others cannot; found out by making a store of each.

    Before anything is measured: whoever waited for the others should not hear then that the server is not there.

    Raises:
        ConfigError: one that was asked for is not installed.
        SessionDBError: a store cannot be made.
    """
    runs, left_out = [], []
    for backend in choice.backends:
        place = tempfile.mkdtemp(prefix="probe-", dir=folder)
        try:
            engine_subject(backend, choice.sync[0], place, dsn=dsn).close()
        except ConfigError as error:
            if choice.names_backends or backend == "postgres":
                raise
            left_out.append(f"sessiondb {backend} is left out: {error}")
        else:
            runs.append(backend)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return choice._replace(backends=runs), left_out


def candidates(choice: Choice, dsn: str | None) -> list[Candidate]:
    """Who takes part: the floors, sessiondb, the other stores that are installed.

    Args:
        choice: what the command line means.
        dsn: of the server, for ``postgres``.
    """
    found = [Candidate(name, make) for name, make in floor_subjects() if name in SHOWN_FLOORS]
    for backend in choice.backends:
        levels = choice.sync[:1] if backend == "memory" else choice.sync  # nothing is kept, whatever the level
        for level in levels:
            name = f"sessiondb {backend}" + ("" if backend == "memory" else f", {level}")
            found.append(Candidate(name, partial(engine_subject, backend, level, dsn=dsn)))
    if choice.has_peers:
        found += [Candidate(name, make) for name, make in peer_subjects()]
    return found


def missing(choice: Choice) -> list[str]:
    """The other stores that are not installed, in a sentence."""
    names = list(missing_peers()) if choice.has_peers else []
    advice = '; next: pip install "sessiondb[bench]"'
    return [f"not installed, and left out: {', '.join(names)}{advice}"] if names else []


# ---- words of options


def _split(option: str, text: str) -> list[str]:
    words = list(dict.fromkeys(word.strip() for word in text.split(",")))
    if "" in words:
        raise CommandError(f"{option} is {text!r}; it must be a list with commas, without empty places", USAGE)
    return words


def _words(option: str, text: str, known: Iterable[str], families: Mapping[str, Iterable[str]]) -> list[str]:
    names = list(known)
    found: list[str] = []
    for word in _split(option, text):
        if word not in names and word not in families:
            near = get_close_matches(word, [*names, *families], 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise CommandError(f"{option} has {word!r}{hint}; it must be of {', '.join([*names, *families])}", USAGE)
        found += families.get(word, [word])
    return list(dict.fromkeys(found))


def _numbers(option: str, text: str, most: int) -> list[int]:
    words = _split(option, text)
    for word in words:
        if not (word.isascii() and word.isdigit()):
            raise CommandError(f"{option} has {word!r}; it must be a list of whole numbers with commas", USAGE)
    return [_within(option, int(word), 1, most) for word in words]


def _within(option: str, number: _N, least: float, most: float) -> _N:
    if not least <= number <= most:
        raise CommandError(f"{option} is {number:,}; it must be from {least:,.15g} to {most:,.15g}", USAGE)
    return number
