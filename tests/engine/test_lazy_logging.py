"""Messages go through `logging` as ever; it is only imported later."""

from __future__ import annotations

import logging

import pytest

from sessiondb.lazy_logging import LazyLogger, before_first_message


def test_a_message_has_the_name_the_level_and_the_place_of_whoever_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sessiondb")
    logger = LazyLogger("sessiondb.somewhere")
    for log in (logger.info, logger.warning, logger.error):
        log("%s and %d", "this", 2)
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "ERROR"]
    for record in caplog.records:
        assert (record.name, record.getMessage(), record.filename) == (
            "sessiondb.somewhere", "this and 2", "test_lazy_logging.py",
        )  # fmt: skip


def test_who_sets_logging_up_is_called_once_before_the_first_message(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []
    before_first_message(lambda: calls.append(len(caplog.records)))
    logger = LazyLogger("sessiondb.somewhere")
    logger.warning("one")
    logger.warning("two")
    assert calls == [0]


def test_who_changed_his_mind_is_not_called(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []
    before_first_message(lambda: calls.append(1))
    before_first_message(None)
    LazyLogger("sessiondb.somewhere").warning("one")
    assert calls == []
