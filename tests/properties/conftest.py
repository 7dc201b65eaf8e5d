"""How hard the property tests try: `effort` runs each of them plainly, and behind the marker `slow` for long."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

_COMMON = settings(
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_PLAIN = settings(_COMMON, max_examples=60, stateful_step_count=25)
_LONG = settings(_COMMON, max_examples=1_500, stateful_step_count=60)


@pytest.fixture(
    params=[
        pytest.param(_PLAIN, id="plain"),
        pytest.param(_LONG, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ]
)
def effort(request: pytest.FixtureRequest) -> settings:
    """The settings to run a property with."""
    chosen: settings = request.param
    return chosen


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """No thread and no descriptor outlives a test, however many databases it killed."""
    threads = set(threading.enumerate())
    descriptors = len(os.listdir("/dev/fd"))
    yield
    assert set(threading.enumerate()) <= threads
    assert len(os.listdir("/dev/fd")) <= descriptors
