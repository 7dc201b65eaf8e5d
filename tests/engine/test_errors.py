"""Errors cross the boundary of a process: worker pools pickle what their jobs raise."""

from __future__ import annotations

import copy
import pickle

import pytest

import sessiondb
from sessiondb import errors
from sessiondb.errors import CorruptionError, DuplicateKeyError, SessionDBError, ValidationError


@pytest.mark.parametrize(
    "error",
    [
        CorruptionError("it is damaged", path="store.json", offset=7, lsn=3, advice="restore it"),
        DuplicateKeyError("people", "ada"),
        ValidationError("it is no number", table="people", key="ada", path="$.age"),
        *(kind("what happened") for kind in vars(errors).values()
          if isinstance(kind, type) and issubclass(kind, SessionDBError)
          and kind not in (CorruptionError, DuplicateKeyError, ValidationError)),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_an_error_is_the_same_after_pickling_and_copying(error: SessionDBError) -> None:
    error.add_note("seen by the worker")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)
        assert again.args == error.args


def test_an_error_that_was_raised_can_be_pickled(tmp_path: object) -> None:
    with sessiondb.open(f"{tmp_path}/store.json") as db:
        db.table("people").insert("ada", {})
        with pytest.raises(DuplicateKeyError) as caught:
            db.table("people").insert("ada", {})
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.table, again.key) == ("people", "ada")
