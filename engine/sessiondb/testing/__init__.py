"""What tests need: contracts that backends and tables keep, a faulty disk, and a pytest fixture.

For the author of a backend: subclass `BackendContract` and `TableContract` in a test module, name the backend, and
run pytest; there is one test for each sentence of `sessiondb.backend`::

    from sessiondb.testing import BackendContract, TableContract

    class TestMyBackend(BackendContract):
        backend_class = MyBackend

    class TestMyTables(TableContract):
        url = "mine:///{path}.mine"

What a backend finds is compared with the conditions and orders of `sessiondb.query`; one that cannot filter or sort
leaves `BackendView.find` as it is, but it remembers which indexes were made.

A backend on a server that several hosts reach (`Backend.remote`) keeps `OwnershipContract` too, and one that can be the
target of a migration `ReplacementContract`.

For whoever implements `sessiondb.DatabaseStorage`: subclass `StorageContract`.

For the user of the library: the fixture `sessiondb.testing.fixtures.sessiondb_store`, a database that is gone
after the test.

This package imports pytest; nothing else in `sessiondb` does, and nothing in `sessiondb` imports this package.
"""

import pytest

# Before the imports below: only then do failing asserts of the contracts show their values.
for _name in (
    "backend_contract", "view_contract", "query_contract", "index_contract", "documents",
    "ownership_contract", "replacement_contract", "table_contract", "record_contract", "find_contract",
    "storage_contract", "entity_contract", "storage_under_test",
    "session_contract", "session_listing_contract", "session_under_test",
):  # fmt: skip
    pytest.register_assert_rewrite(f"sessiondb.testing.{_name}")

from .backend_contract import BackendContract  # noqa: E402
from .faulty_files import FaultyFiles  # noqa: E402
from .ownership_contract import OwnershipContract  # noqa: E402
from .replacement_contract import ReplacementContract  # noqa: E402
from .storage_contract import StorageContract  # noqa: E402
from .table_contract import TableContract, TableUnderTest  # noqa: E402

__all__ = [
    "BackendContract", "FaultyFiles", "OwnershipContract", "ReplacementContract", "StorageContract", "TableContract",
    "TableUnderTest",
]  # fmt: skip
