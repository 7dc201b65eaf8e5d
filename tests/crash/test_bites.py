"""The tests bite: each planted protocol bug is caught, and a report says by what.

Who hunts, and in which order, is in `crash.hunting`; the first who complains has caught it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from crash.hunting import MUTANTS, NETWORK, caught_by_network, caught_by_states, hunt_planted
from crash.oracle import forget_everything
from crash.workers import spread
from figures import Tell


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    forget_everything()


PLAIN = [
    "a commit is acknowledged without a sync",
    "a failed sync is tried again",
    "a step returns before it is durable",
    "SQLite's segments are dropped before its transaction is done",
    "LMDB's segments are dropped before its transaction is done",
    "a log with stranded transactions is removed",
    "a checkpoint builds upon another owner's state",
    "OWNER is written after the server was asked",
]


def test_there_are_enough_planted_bugs() -> None:
    assert len(MUTANTS) >= 15


@pytest.mark.parametrize("sentence", PLAIN)
def test_a_planted_bug_is_caught_in_the_plain_run_too(sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = MUTANTS[sentence]
    mutant.plant(monkeypatch)
    if mutant.target == NETWORK:
        assert caught_by_network(mutant.workloads, seeds=4, budget=1)
    else:
        assert caught_by_states(mutant.workloads, mutant.target, seeds=2, budget=8)


@pytest.fixture(scope="module")
def caught_by(request: pytest.FixtureRequest) -> dict[str, str]:
    """What catches each bug of the tests that were chosen: all of them are hunted at the same time."""
    chosen = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    planted = [params["planted"] for params in chosen if "planted" in params]
    return dict(zip(planted, spread(hunt_planted, planted), strict=True))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("planted", ["json", "memory", NETWORK])
def test_nothing_is_caught_where_nothing_is_planted(planted: str, caught_by: dict[str, str]) -> None:
    assert not caught_by[planted]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("planted", MUTANTS)
def test_a_planted_bug_is_caught(planted: str, caught_by: dict[str, str], tell: Tell) -> None:
    sentence, caught = planted, caught_by[planted]
    tell(f"{sentence}\n    {caught[:200] or 'NOT CAUGHT'}")
    assert caught, f"nobody notices when {sentence}"
    assert not re.search("AttributeError|NameError|TypeError|ModuleNotFoundError", caught), (
        f"the planted bug does not fit: {caught}"
    )
