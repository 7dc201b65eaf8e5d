"""Keys, records and operations for the property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from sessiondb.codec import KEY_BYTES_MAX
from sessiondb.wal.operations import Delete, Drop, Put, PutBytes

__all__ = ["any_keys", "blobs", "edge_keys", "json_objects", "json_values", "operations", "table_names", "texts"]

# The last code points before and after a change of UTF-8 length or of the surrogates' gap: where an order by
# UTF-16 units, or a careless "next key", goes wrong.
edge_keys = st.sampled_from(["a", "aa", "ab", "b", "a\U0010ffff", "\ud7ff", "\ue000", "\U0010ffff"]) | st.text(
    alphabet="ab\x01\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff", min_size=1, max_size=3
)

texts = st.text(max_size=12)
_without_nul = st.characters(codec="utf-8", exclude_characters="\0")
any_keys = st.text(alphabet=_without_nul, min_size=1, max_size=30) | st.text(
    alphabet=_without_nul, min_size=1, max_size=KEY_BYTES_MAX
).filter(lambda key: len(key.encode()) <= KEY_BYTES_MAX)

_numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | _numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(texts, json_values, max_size=4)
blobs = st.binary(max_size=40)

table_names = st.text(min_size=1, max_size=20).filter(str.isprintable)
_tables = texts
operations = st.lists(
    st.builds(Put, _tables, any_keys, blobs)
    | st.builds(PutBytes, _tables, any_keys, blobs)
    | st.builds(Delete, _tables, any_keys)
    | st.builds(Drop, _tables),
    min_size=1,
    max_size=8,
)
