"""Distributions: as skewed as they say, and the same for the same seed."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from sessiondb_bench.keys import (
    THETA,
    ZETA_OF_SPACE,
    Zipfian,
    latest,
    scattered,
    scrambled_zipfian,
    uniform,
    zeta,
)

DRAWS = 20_000


def shares(draw, draws=DRAWS):
    return {number: times / draws for number, times in Counter(draw() for _ in range(draws)).items()}


def test_ranks_are_drawn_in_proportion_to_their_power():
    found = shares(Zipfian(Random(1), 1_000))
    total = zeta(1_000)
    for rank in (0, 1):  # drawn exactly
        assert found[rank] == pytest.approx((rank + 1) ** -THETA / total, rel=0.05)
    for first, behind in ((2, 10), (10, 100), (100, 1_000)):  # drawn by an approximation
        wanted = (zeta(behind) - zeta(first)) / total
        assert sum(found.get(rank, 0) for rank in range(first, behind)) == pytest.approx(wanted, rel=0.1)
    assert found.keys() <= set(range(1_000))


def test_the_sum_of_ycsb_is_the_one_of_its_space():
    """By Euler and Maclaurin; adding up ten thousand millions of terms takes too long."""
    known, end = 10_000, 10**10
    rest = (end ** (1 - THETA) - known ** (1 - THETA)) / (1 - THETA) + (end**-THETA - known**-THETA) / 2
    assert zeta(known) + rest == pytest.approx(ZETA_OF_SPACE, abs=1e-6)


def test_the_sum_goes_on_where_it_was():
    assert zeta(500, start=200, so_far=zeta(200)) == pytest.approx(zeta(500))


def test_ranks_that_are_added_are_drawn_as_if_they_had_always_been_there():
    grown, whole = Zipfian(Random(3), 10), Zipfian(Random(3), 50)
    grown.grow(50)
    assert [grown() for _ in range(1_000)] == [whole() for _ in range(1_000)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_ranks_are_enough(count):
    found = shares(Zipfian(Random(1), count), 2_000)
    assert found.keys() == set(range(count))
    assert sorted(found.values(), reverse=True) == [found[rank] for rank in range(count)]


def test_nothing_to_draw_from_is_an_error():
    with pytest.raises(ValueError, match="something to draw from"):
        Zipfian(Random(1), 0)


def test_the_hash_is_fnv_1a_of_eight_bytes():
    """The value of the published algorithm for eight zero bytes, and that a number is never negative."""
    assert scattered(0) == (1 << 64) - 0xA8C7F832281A39C5
    assert all(0 <= scattered(number) < 1 << 63 for number in range(1_000))


def test_the_favourites_lie_anywhere_and_are_as_frequent_as_in_ycsb():
    found = shares(scrambled_zipfian(Random(1), 1_000))
    ranked = sorted(found, key=lambda number: -found[number])
    assert ranked[0] == scattered(0) % 1_000
    assert found[ranked[0]] == pytest.approx(1 / ZETA_OF_SPACE, abs=0.005)
    assert found[ranked[1]] == pytest.approx(0.5**THETA / ZETA_OF_SPACE, abs=0.005)
    assert max(ranked[:10]) - min(ranked[:10]) > 500
    assert sum(found[number] for number in ranked[:100]) > 0.3, "a tenth of the records gets more than its share"
    assert len(found) > 950, "and the others are read, too"
    assert found.keys() <= set(range(1_000))


def test_the_latest_is_read_most_and_moves_on():
    draw, grow = latest(Random(1), 100)
    found = shares(draw, 5_000)
    assert max(found, key=lambda number: found[number]) == 99
    assert found.keys() <= set(range(100))
    grow(120)
    found = shares(draw, 5_000)
    assert max(found, key=lambda number: found[number]) == 119
    assert max(found) == 119


def test_uniform_is_even():
    found = shares(uniform(Random(1), 10))
    assert found.keys() == set(range(10))
    assert all(share == pytest.approx(0.1, abs=0.01) for share in found.values())


@pytest.mark.parametrize("make", [uniform, scrambled_zipfian, lambda random, count: latest(random, count)[0]])
def test_the_same_seed_draws_the_same(make):
    draws = [[draw() for _ in range(50)] for draw in (make(Random(7), 100), make(Random(7), 100), make(Random(8), 100))]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
