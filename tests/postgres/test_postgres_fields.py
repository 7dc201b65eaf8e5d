"""Which fields records have: noted quickly, and the same as by looking at every name."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from sessiondb_backends.postgres_apply import FIELDS_MAX, Fields

names = st.sampled_from(
    ["a", "b", "", "é", "😀", 'a"b', "a\\b", "\n", "\x00", "\x7f", "f0", "f1", "$", "%s"]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
documents = st.dictionaries(names, st.none() | st.integers() | st.lists(st.text(max_size=2))) | st.sampled_from(
    [1, None, [], ["a"], [{"a": 1}], "a", True]
)


@given(st.lists(names, unique=True, max_size=5), st.lists(documents, max_size=20))
@settings(database=None, deadline=None)
def test_the_fields_are_those_of_all_documents_in_the_order_of_their_first_sight(known, records):
    expected = dict.fromkeys(known)
    for record in records:
        if isinstance(record, dict):
            expected.update(dict.fromkeys(record))
    fields = Fields(known)
    for start in range(0, len(records), 3):
        fields.learn(msgspec.json.encode(record) for record in records[start : start + 3])
    assert list(fields.names) == list(expected)


def test_there_are_so_many_columns_at_most():
    fields = Fields(())
    fields.learn(msgspec.json.encode({f"n{number}": 1, f"m{number}": 2}) for number in range(FIELDS_MAX))
    assert len(fields.names) == FIELDS_MAX
    fields.learn([b'{"another":1}', b'{"n0":1}'])
    assert len(fields.names) == FIELDS_MAX
