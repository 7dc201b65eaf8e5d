"""Reading a table: everything a mapping offers, without the changes."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from typing import Any, Generic, TypeVar, overload

from .codec import RecordCodec, check_key
from .errors import UsageError
from .finding import count, find
from .mapping import TableItems, TableValues
from .planning import make_plan
from .versions import VERSION_FIELD
from .views import View, Views

__all__ = ["TableReader", "check_bounds", "prefix_stop"]

T = TypeVar("T")
D = TypeVar("D")


class TableReader(Mapping[str, T], Generic[T]):
    """The reading half of `sessiondb.Table`."""

    def __init__(self, views: Views, name: str, codec: RecordCodec[T]):
        self.name = name
        self._views = views
        self._codec = codec

    @property
    def type(self) -> Any:
        """The records' type, `typing.Any` for any JSON value."""
        return self._codec.type

    # ---- one record

    def __getitem__(self, key: str) -> T:
        image = self._views.get(self.name, key) if key.__class__ is str else self._get_odd(key)
        if image is None:
            raise KeyError(key)
        return self._codec.decode(key, image)

    @overload
    def get(self, key: str, /) -> T | None: ...
    @overload
    def get(self, key: str, /, default: T) -> T: ...
    @overload
    def get(self, key: str, /, default: D) -> T | D: ...
    def get(self, key: str, /, default: Any = None) -> Any:
        """The record, or `default` when there is none.

        Raises:
            ValidationError: the stored record does not fit the table's type.
        """
        image = self._views.get(self.name, key) if key.__class__ is str else self._get_odd(key)
        return default if image is None else self._codec.decode(key, image)

    def _get_odd(self, key: object) -> bytes | None:
        return self._views.get(self.name, check_key(self.name, key))

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._views.get(self.name, str.__str__(key)) is not None

    # ---- many records

    def get_many(self, keys: Iterable[str]) -> dict[str, T]:
        """Those of the records that exist, all as of one moment, in the order of `keys`."""
        wanted = self._check_keys(keys)
        with self._pin() as view:
            images = view.get_many(self.name, wanted)
        return {key: self._codec.decode(key, image) for key, image in images.items()}

    # ---- ranges

    def scan(
        self,
        prefix: str = "",
        *,
        start: str | None = None,
        stop: str | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[tuple[str, T]]:
        """(key, record) pairs in key order, all as of the moment of the call.

        Args:
            prefix: only keys that begin with it.
            start: only keys at or above it.
            stop: only keys below it.
            reverse: from the last to the first.
            limit: at most so many pairs.
        """
        check_bounds(prefix=prefix, start="" if start is None else start, stop="" if stop is None else stop)
        if limit is not None and (not isinstance(limit, int) or limit < 0):
            raise UsageError(f"limit is {limit!r}; it must be a whole number of at least 0")
        decode = self._codec.decode
        return ((key, decode(key, image)) for key, image in self._images(prefix, start, stop, reverse, limit))

    def _images(
        self, prefix: str, start: str | None, stop: str | None, reverse: bool, limit: int | None
    ) -> Iterator[tuple[str, bytes]]:
        view = self._pin()  # now, not when the first pair is asked for
        bounds = [bound for bound in (prefix or None, start) if bound is not None]
        low = max(bounds, default=None)
        bounds = [bound for bound in (prefix_stop(prefix), stop) if bound is not None]
        high = min(bounds, default=None)

        def images() -> Iterator[tuple[str, bytes]]:
            with view:
                for number, pair in enumerate(view.scan(self.name, low, high, reverse=reverse)):
                    if number == limit:
                        return
                    yield pair

        return images() if limit != 0 else iter(())

    # ---- queries

    def find(
        self,
        where: Mapping[str, Any] | None = None,
        *,
        order_by: str | Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
    ) -> Iterator[tuple[str, T]]:
        """(key, record) pairs that satisfy all conditions, as of the moment of the call.

        Conditions look at top-level fields of the stored documents; `sessiondb.query` says what equals what.

        Args:
            where: field to a value (``None`` is a stored null) or to `between`, `one_of`, `prefix` or `absent`.
            order_by: fields to sort by, with ``-`` in front for descending; null and absent come last both ways. In
                the end, and without it, by key.
            limit: at most so many pairs.
            offset: after leaving out so many.

        Raises:
            UsageError: a field that the type does not have, a value that cannot be compared, a bad limit.
            ValidationError: a stored record does not fit the table's type (when it is reached).
        """
        plan = make_plan(self._codec, where, order_by)
        for name, number in (("limit", 0 if limit is None else limit), ("offset", offset)):
            if not isinstance(number, int) or isinstance(number, bool) or number < 0:
                raise UsageError(f"{name} is {number!r}; it must be a whole number of at least 0")
        view = self._pin()  # now, not when the first pair is asked for

        def records() -> Iterator[tuple[str, T]]:
            with view:
                for key, image in find(view.layers(self.name), plan, view.indexes(self.name), limit, offset):
                    yield key, self._codec.decode(key, image)

        return records()

    def indexes(self) -> list[str]:
        """The fields that have an index, by their names in Python."""
        with self._pin() as view:
            fields = view.indexes(self.name)
        names = {field: name for name, field in (self._codec.fields or {}).items()}
        return sorted(names.get(field, field) for field in fields if field != VERSION_FIELD)

    def count(self, prefix: str = "", *, where: Mapping[str, Any] | None = None) -> int:
        """The number of records; with `prefix` of those whose key begins with it, with `where` as in `find`."""
        check_bounds(prefix=prefix)
        if where is not None:
            if prefix:
                raise UsageError("count() takes a prefix of the keys or conditions, not both")
            plan = make_plan(self._codec, where, ())
            with self._pin() as view:
                return count(view.layers(self.name), plan, view.indexes(self.name))
        with self._pin() as view:
            if not prefix:
                return view.count(self.name)
            return sum(1 for _ in view.scan(self.name, prefix, prefix_stop(prefix)))

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in self._images("", None, None, False, None))

    def __reversed__(self) -> Iterator[str]:
        return (key for key, _ in self._images("", None, None, True, None))

    def items(self) -> ItemsView[str, T]:
        """(key, record) pairs in key order."""
        return TableItems(self)

    def values(self) -> ValuesView[T]:
        """Records in key order."""
        return TableValues(self)

    # ---- inside

    def _check_keys(self, keys: Iterable[str]) -> list[str]:
        if isinstance(keys, (str, bytes)):
            raise UsageError(
                f"keys are several: pass a list, as in [{keys!r}], or each character would be taken for one"
            )
        return [check_key(self.name, key) for key in keys]

    def _pin(self) -> View:
        return self._views.pin()


def check_bounds(**bounds: object) -> None:
    """A prefix that is no text must not be taken for none: ``delete_prefix(None)`` would delete everything."""
    for name, value in bounds.items():
        if not isinstance(value, str):
            raise UsageError(f"{name} is {value!r}; it must be a str")


def prefix_stop(prefix: str) -> str | None:
    """The first key behind all that begin with `prefix`; ``None`` when there is none."""
    while prefix:
        code = ord(prefix[-1]) + 1
        if code == 0xD800:
            code = 0xE000  # surrogates are no characters
        if code <= 0x10FFFF:
            return prefix[:-1] + chr(code)
        prefix = prefix[:-1]
    return None
