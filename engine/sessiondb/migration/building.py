"""Making the new store from the source, in bounded memory, and comparing what it became with what it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..backend import Backend, Changes, TableChanges
from ..errors import BackendError
from ..replacement import Replacement
from .content import Content, Readable, read_content

__all__ = ["batches", "build", "compare"]

BATCH_RECORDS = 5_000
BATCH_BYTES = 8 << 20


def batches(view: Readable, content: Content, *, whole: bool) -> Iterator[Changes]:
    """All tables, records and indexes of a view, as changes of a store that is empty.

    Args:
        view: the source.
        content: what it holds.
        whole: all in one, for a backend that is written as a whole anyway; otherwise so much as memory is meant for.
    """
    changes: Changes = {}
    records = size = 0
    for name, table in content.tables.items():
        images: dict[str, bytes | None] = {}
        changes[name] = TableChanges(table.kind, False, images)
        for key, image in view.scan(name):
            if not whole and (records >= BATCH_RECORDS or size >= BATCH_BYTES):
                yield changes
                records = size = 0
                images = {}
                changes = {name: TableChanges(table.kind, False, images)}
            images[key] = image
            records, size = records + 1, size + len(image) + len(key)
        # Behind the records: an index is made quicker from what is there.
        changes[name] = changes[name]._replace(indexes=dict.fromkeys(table.indexes, True))
    if changes:
        yield changes


def build(
    replacement: Replacement,
    backend: type[Backend],
    view: Readable,
    content: Content,
    report: Callable[[str], Callable[[int, int], None]],
    *,
    with_indexes: bool,
) -> None:
    """Fill the replacement with all that the view shows, and read it back.

    Raises:
        BackendError: it could not be written, or what was read back is something else.
    """
    writing = report("writing")
    done = 0
    for changes in batches(view, content, whole=backend.whole_file):
        replacement.add(changes, _no_pause)
        done += sum(len(change.images) for change in changes.values())
        writing(done, content.records)
    damage = replacement.check()
    if damage:
        raise BackendError(f"what was written reads back damaged: {damage[0]}; nothing was replaced")
    built = replacement.read()
    try:
        found = read_content(built, report=report("reading it back"))
    finally:
        built.close()
    compare(content, found, with_indexes=with_indexes)


def compare(wanted: Content, found: Content, *, with_indexes: bool) -> None:
    """Raise unless everything that was wanted was found, and nothing else.

    Raises:
        BackendError: there is a difference; the message names the tables.
    """
    if found == wanted or (found.digest == wanted.digest and not with_indexes):
        return
    names = sorted(wanted.tables.keys() | found.tables.keys())
    wrong = [name for name in names if wanted.tables.get(name) != found.tables.get(name)]
    raise BackendError(
        f"what was written reads back as something else (table {', '.join(map(repr, wrong[:5]))}); nothing was "
        "replaced; next: check the disk, and report this"
    )


def _no_pause() -> None:
    """Nobody else waits in this process."""
