"""Subjects that need no disk, and do as a test wants."""

from __future__ import annotations

from itertools import islice
from typing import Any

from sessiondb_bench.subjects.subject import Subject


class Plain(Subject):
    """A dict."""

    kind = "sessiondb"
    guarantee = "nothing"
    name = "plain"

    def __init__(self, folder: str = ""):
        self.folder = folder
        self.records: dict[str, Any] = {}
        self.calls: list[str] = []
        self.settled = self.closed = 0

    def put(self, key, record):
        self.calls.append("put")
        self.records[key] = record

    def get(self, key):
        self.calls.append("get")
        return self.records.get(key)

    def put_many(self, records):
        self.records.update(records)

    def scan(self, start, count):
        self.calls.append("scan")
        there = ((key, self.records[key]) for key in sorted(self.records) if key >= start)
        return islice(there, count)

    def settle(self):
        self.settled += 1

    def close(self):
        self.closed += 1


class Bare(Plain):
    """It can write, and nothing else."""

    name = "bare"

    def put_many(self, records):
        raise NotImplementedError

    def get(self, key):
        raise NotImplementedError("bare writes, and nothing else")

    def scan(self, start, count):
        raise NotImplementedError


class Forgetful(Plain):
    """It loses what it was given."""

    name = "forgetful"

    def put_many(self, records):
        pass
