"""Changing a session file: what is not changed keeps its bytes, what is new looks as its neighbours do."""

import json

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sessiondb_backends.session_layout_shapes import parse_sessions
from sessiondb_backends.session_layout_text import Style, edit_object, render


def as_js(value):
    """As JSON.stringify(value, null, 2) writes it."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode()


def image(record):
    return msgspec.json.encode(record)


def edited(data, images, recreated=(), *, known="", dropped=False):
    """The file after a change; records as Python values, ``None`` deletes."""
    encoded = {key: None if record is None else image(record) for key, record in images.items()}
    text = parse_sessions(data, known=known).edited(encoded, recreated, lambda: None, dropped=dropped)
    after = text.encode()
    again = parse_sessions(after, known=known or text.layout)
    assert again.images == text.images
    assert again.encode() == after
    return after


A, B, C = ({"session": key, "n": number} for number, key in enumerate("abc"))


def test_a_new_session_stands_at_the_end_as_javascript_would_write_it():
    assert edited(as_js([A]), {"b": B}) == as_js([A, B])
    assert edited(as_js({"sessions": [A], "baseDir": "x"}), {"b": B}) == as_js({"sessions": [A, B], "baseDir": "x"})


def test_an_update_changes_the_fields_it_changes():
    nested = {"session": "a", "t": "é", "prState": {"x": [1, 2], "y": {}}, "z": []}
    after = {**nested, "prState": {"x": [1]}, "new": {"k": [[], {}]}}
    del after["z"]
    assert edited(as_js([nested, B]), {"a": after}) == as_js([after, B])


def test_an_equal_record_changes_nothing_however_its_fields_are_ordered():
    data = b'[{"session":"a","n":1.0,"t":"\\u00e9"}]\n'
    assert edited(data, {"a": {"t": "é", "n": 1.0, "session": "a"}}) == data


def test_a_field_that_is_changed_leaves_the_bytes_of_the_others():
    data = b'[ { "t" : "\\u00e9\\/", "session":"a" ,"n":1e3, "x": [1,\n2] } ]'
    assert edited(data, {"a": {"session": "a", "t": "é/", "n": 1e3, "x": [1, 3]}}) == data.replace(
        b"[1,\n2]", b"[1, 3]"
    )
    assert edited(data, {"a": {"session": "a", "t": "é/", "x": [1, 2]}}) == data.replace(b',"n":1e3', b"")


def test_one_and_one_point_zero_and_true_are_different_values():
    for before, after in ((1, 1.0), (1, True), (0, False), ("1", 1), (None, 0), ({"a": 1}, {"a": 1.0})):
        data = as_js([{"session": "a", "x": before}])
        assert edited(data, {"a": {"session": "a", "x": after}}) == as_js([{"session": "a", "x": after}])


def test_deleting_leaves_the_others_as_they_are():
    for gone, left in (("a", [B, C]), ("b", [A, C]), ("c", [A, B])):
        assert edited(as_js([A, B, C]), {gone: None}) == as_js(left)
    assert edited(as_js([A, B, C]), dict.fromkeys("abc")) == b"[]"
    assert edited(b'[ {"session":"a"} ,\n{"session":"b"}\n]\n', {"b": None}) == b'[ {"session":"a"}\n]\n'


def test_deleting_what_is_not_there_changes_nothing():
    data = as_js([A])
    assert edited(data, {"b": None}) == data
    assert edited(b" \n", {"b": None}) == b" \n"


def test_a_deletion_removes_every_copy_and_an_update_changes_the_first():
    copies = [A, {"session": "b", "n": 1}, {"session": "b", "n": 2}, C, {"session": "b", "n": 3}]
    assert edited(as_js(copies), {"b": None}) == as_js([A, C])
    assert edited(as_js(copies), {"b": {"session": "b", "n": 9}}) == as_js([A, {"session": "b", "n": 9}, *copies[2:]])


def test_a_session_that_is_made_again_stands_at_the_end_without_its_copies():
    copies = [{"session": "b", "n": 1}, A, {"session": "b", "n": 2}]
    again = {"session": "b", "n": 1}
    assert edited(as_js(copies), {"b": again}, ["b"]) == as_js([A, again])
    assert edited(as_js(copies), {"c": C, "b": again, "d": None}, ["b", "d"]) == as_js([A, C, again])


def test_a_dropped_table_leaves_what_was_put_after_it():
    assert edited(as_js([A, B]), {"b": {"session": "b"}, "c": C}, dropped=True) == as_js([{"session": "b"}, C])
    assert edited(as_js({"sessions": [A], "baseDir": "x"}), {}, dropped=True) == as_js({"sessions": [], "baseDir": "x"})


@pytest.mark.parametrize("data", [b"", b"\n", b"[]", b"[ ]", b"[\n]"], ids=ascii)
def test_the_first_session_of_an_array_is_written_as_javascript_does(data):
    assert edited(data, {"a": A, "b": B}) == as_js([A, B])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"sessions":[]}', b'{"sessions":[{"session":"a","n":0},{"session":"b","n":1}]}'),
        (b'{"sessions": []}\n', b'{"sessions": [{"session": "a", "n": 0}, {"session": "b", "n": 1}]}\n'),
        (as_js({"sessions": []}), as_js({"sessions": [A, B]})),
        (as_js({"sessions": [], "baseDir": "x"}), as_js({"sessions": [A, B], "baseDir": "x"})),
        (
            json.dumps({"x": {"y": 1}, "sessions": []}, indent="\t").encode(),
            json.dumps({"x": {"y": 1}, "sessions": [A, B]}, indent="\t").encode(),
        ),
        (
            as_js({"timestamp": "t", "version": "1.0", "data": {"sessions": []}}),
            as_js({"timestamp": "t", "version": "1.0", "data": {"sessions": [A, B]}}),
        ),
        (as_js({"sessions": []}).replace(b"\n", b"\r\n"), as_js({"sessions": [A, B]}).replace(b"\n", b"\r\n")),
    ],
)
def test_the_first_session_follows_the_file_around_it(before, after):
    assert edited(before, {"a": A, "b": B}) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'[{"session":"a","n":0}]', b'[{"session":"a","n":0},{"session":"b","n":1}]'),
        (b'[{"session": "a", "n": 0}]\n', b'[{"session": "a", "n": 0}, {"session": "b", "n": 1}]\n'),
        (
            b'[\n  {"session":"a","n":0},\n  {"session":"c"}\n]',
            b'[\n  {"session":"a","n":0},\n  {"session":"c"},\n  {"session":"b","n":1}\n]',
        ),
        (
            b'[\n\t{\n\t\t"session": "a"\n\t}\n]',
            b'[\n\t{\n\t\t"session": "a"\n\t},\n\t{\n\t\t"session": "b",\n\t\t"n": 1\n\t}\n]',
        ),
        (b'[{\n  "session" :"a"\n}]', b'[{\n  "session" :"a"\n},{\n  "session" :"b",\n  "n" :1\n}]'),
    ],
)
def test_a_new_session_is_laid_out_as_the_last_one(before, after):
    assert edited(before, {"b": B}) == after


def test_keyed_sessions_repeat_their_key_only_where_they_did():
    data = as_js({"one": {"repoName": "r"}, "two": {"session": "two", "branch": "x"}})
    images = {"one": {"session": "one", "repoName": "s"}, "two": {"session": "two", "branch": "y"}}
    assert edited(data, images) == as_js({"one": {"repoName": "s"}, "two": {"session": "two", "branch": "y"}})
    new = {"th\u00e9": {"session": "th\u00e9", "branch": "z"}}
    assert edited(data, new) == as_js({**json.loads(data), **new})
    lacking = as_js({"one": {"repoName": "r"}})
    assert edited(lacking, new) == as_js({"one": {"repoName": "r"}, "th\u00e9": {"branch": "z"}})
    assert edited(lacking, {"one": None}) == b"{}"
    assert edited(b"{}", new, known="keyed") == as_js(new)
    assert edited(lacking, {"one": {"session": "one", "repoName": "r"}}, ["one"]) == lacking


def test_sessions_that_were_all_deleted_can_be_made_anew_in_one_go():
    data = as_js({"sessions": [A], "baseDir": "x"})
    text = parse_sessions(data).edited({"a": None}, (), lambda: None)
    assert text.encode() == as_js({"sessions": [], "baseDir": "x"})
    assert text.edited({"b": image(B)}, (), lambda: None).encode() == as_js({"sessions": [B], "baseDir": "x"})


def test_an_edit_leaves_the_text_before_it_as_it_was():
    data = as_js([A, B])
    text = parse_sessions(data)
    text.edited({"a": None, "c": image(C)}, (), lambda: None)
    assert text.encode() == data
    assert list(text.images) == ["a", "b"]


def test_long_work_is_interrupted_for_others():
    pauses = []
    many = [{"session": f"{number}"} for number in range(500)]
    text = parse_sessions(as_js(many))
    text.edited({f"n{number}": image({"session": f"n{number}"}) for number in range(500)}, (), lambda: pauses.append(1))
    assert len(pauses) >= 20


def test_an_object_that_holds_nothing_gets_fields():
    assert edit_object(b"{}", b'{"a":1,"b":[]}', b"") == b'{\n  "a": 1,\n  "b": []\n}'
    assert edit_object(b'{"a":1}', b"{}", b"") == b"{}"


def test_what_looks_like_punctuation_in_a_text_is_left_alone():
    value = {"a": '{"x":[1,2]}, \\" : ', "b": ["]", {"}": ":"}]}
    assert render(image(value), Style(), b"") == as_js(value)


# ---- any change to any file

TEXTS = st.text(alphabet='ab"\\/{}[]:,é😀\n\u2028\x01', max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | TEXTS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXTS, children, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["a", "b", "#1", "task#1", "1", 'é"', "mt#2"])
FIELDS = st.dictionaries(TEXTS.filter(lambda name: name != "session"), VALUES, max_size=4)
CHANGES = st.lists(st.tuples(KEYS, st.none() | FIELDS), max_size=6)
LAYOUTS = st.sampled_from(["array", "state", "sessions", "backup", "keyed"])


def build(layout, sessions):
    """The file as a Python value."""
    records = [{"session": key, **fields} for key, fields in sessions]
    around = {
        "array": records, "state": {"sessions": records, "baseDir": "/x", "more": [{}]},
        "sessions": {"other": {"a": []}, "sessions": records},
        "backup": {"timestamp": "t", "version": "1.0", "data": {"sessions": records}},
    }  # fmt: skip
    return around[layout] if layout != "keyed" else {record["session"]: record for record in records}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LAYOUTS, st.lists(st.tuples(KEYS, FIELDS), max_size=5), CHANGES, st.sampled_from([2, 4, "\t"]))
@example("array", [], [("a", {"": None}), ("a", {":": None, "": None})], 2)
@example("array", [("a", {"x": 1})], [("a", {"y": 1}), ("a", {"y": 1, "x": 1})], 2)
def test_a_file_after_any_change_is_the_changed_sessions_as_they_would_have_been_written(
    layout, sessions, changes, indent
):
    if layout == "keyed":
        sessions = list(dict(sessions).items())
    data = json.dumps(build(layout, sessions), indent=indent, ensure_ascii=False).encode()
    if indent != 2 and not sessions:
        return  # how an empty array would be laid out does not show
    images, deleted, after = {}, {}, list(sessions)
    in_file = dict(reversed(sessions))
    for key, fields in changes:
        known = [number for number, (other, _) in enumerate(after) if other == key]
        if fields is None:
            after = [pair for pair in after if pair[0] != key]
            deleted.pop(key, None)
            deleted[key] = None
            images[key] = None
        else:
            images[key] = {"session": key, **fields}
            if known:
                # The fields that stood in the file keep their order, whatever came in between.
                before = {} if key in deleted else in_file.get(key, {})
                kept = {name: fields[name] for name in before if name in fields}
                after[known[0]] = (key, {**kept, **fields})
            else:
                after.append((key, fields))
    recreated = [key for key in deleted if images[key] is not None]
    found = edited(data, images, recreated, known=layout)
    expected = build(layout, _made_last(after, recreated, dict(sessions)))
    assert json.loads(found) == expected
    if after:
        assert found == json.dumps(expected, indent=indent, ensure_ascii=False).encode()


def _made_last(sessions, recreated, before):
    """Behind those that were there, first those that are new, then those that were made again."""
    kept = [pair for pair in sessions if pair[0] in before and pair[0] not in recreated]
    new = [pair for pair in sessions if pair[0] not in before and pair[0] not in recreated]
    return kept + new + [pair for key in recreated for pair in sessions if pair[0] == key]
