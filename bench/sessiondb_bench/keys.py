"""Which record an operation goes to: numbers from a distribution, the same ones for the same seed.

The skewed distributions are those of YCSB, the Yahoo! Cloud Serving Benchmark (Cooper et al., "Benchmarking Cloud
Serving Systems with YCSB", SoCC 2010; github.com/brianfrankcooper/YCSB, package ``site.ycsb.generator``). They draw by
the method of Gray et al., "Quickly Generating Billion-Record Synthetic Databases", SIGMOD 1994, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

__all__ = ["THETA", "ZETA_OF_SPACE", "Zipfian", "latest", "scattered", "scrambled_zipfian", "uniform", "zeta"]

THETA = 0.99
"""The skew, YCSB's ``ZIPFIAN_CONSTANT``: rank `r` is drawn in proportion to 1 / (r + 1) ** 0.99."""
SPACE = 10**10
"""How many ranks are scattered over the records, however many those are; so YCSB has it."""
ZETA_OF_SPACE = 26.46902820178302
"""`zeta` of `SPACE`, which takes too long to compute; YCSB's ``ZETAN``."""

_FNV_BASIS = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3
_MASK = (1 << 64) - 1


def zeta(count: int, theta: float = THETA, *, start: int = 0, so_far: float = 0.0) -> float:
    """The sum of 1 / r ** theta for r from 1 to `count`; with `start` and `so_far` only what is missing is added."""
    return so_far + sum(math.pow(rank, -theta) for rank in range(start + 1, count + 1))


class Zipfian:
    """Ranks from 0, the most frequent one, to `count` - 1. The count may grow.

    Args:
        random: where chance comes from.
        count: how many ranks there are.
        zeta_of_count: `zeta` of them, when it is known.
    """

    def __init__(self, random: Random, count: int, zeta_of_count: float | None = None):
        if count < 1:
            raise ValueError("a distribution needs something to draw from")
        self._random = random.random
        self._count = count
        self._zeta = zeta(count) if zeta_of_count is None else zeta_of_count
        self._second = 1.0 + math.pow(0.5, THETA)
        self._alpha = 1.0 / (1.0 - THETA)
        self._eta = self._eta_now()

    def grow(self, count: int) -> None:
        """There are more ranks now."""
        self._zeta = zeta(count, start=self._count, so_far=self._zeta)
        self._count = count
        self._eta = self._eta_now()

    def __call__(self) -> int:
        """The next rank."""
        chance = self._random()
        scaled = chance * self._zeta
        if scaled < 1.0 or self._count == 1:
            return 0
        if scaled < self._second:
            return 1
        rank = int(self._count * math.pow(self._eta * chance - self._eta + 1.0, self._alpha))
        return min(rank, self._count - 1)  # a rounded power may reach the count

    def _eta_now(self) -> float:
        if self._count <= 2:
            return 0.0  # the first two ranks are drawn without it
        return (1.0 - math.pow(2.0 / self._count, 1.0 - THETA)) / (1.0 - self._second / self._zeta)


def scattered(number: int) -> int:
    """A number that looks like chance, always the same for the same one: 64-bit FNV-1a of its eight bytes, unsigned.

    As YCSB's ``fnvhash64``, which takes the absolute value of the signed number.
    """
    hashed = _FNV_BASIS
    for byte in number.to_bytes(8, "little"):
        hashed = ((hashed ^ byte) * _FNV_PRIME) & _MASK
    return hashed if hashed < 1 << 63 else (1 << 64) - hashed


def scrambled_zipfian(random: Random, count: int) -> Callable[[], int]:
    """Record numbers below `count`: zipfian, and those that are asked for most lie anywhere among the others."""
    rank = Zipfian(random, SPACE, ZETA_OF_SPACE)
    return lambda: scattered(rank()) % count


def latest(random: Random, count: int) -> tuple[Callable[[], int], Callable[[int], None]]:
    """Positions below `count`, the last one most often; and how to say that there are more now."""
    rank = Zipfian(random, count)
    newest = count - 1

    def draw() -> int:
        return newest - rank()

    def grow(count: int) -> None:
        nonlocal newest
        rank.grow(count)
        newest = count - 1

    return draw, grow


def uniform(random: Random, count: int) -> Callable[[], int]:
    """Record numbers below `count`, all equally often."""
    return lambda: int(random.random() * count)
