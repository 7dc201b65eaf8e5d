"""The shapes in which sessions were kept: read as they are, and everything else refused with its place."""

import json

import pytest

from sessiondb_backends.session_layout_shapes import LAYOUTS, NEW_LAYOUTS, LayoutError, parse_sessions

ONE = {"session": "task#1", "repoName": "local/one", "createdAt": "2031-05-01T10:00:00Z", "taskId": "#1"}
TWO = {"session": "2", "repoUrl": "file:///srv/two", "odd": {"a": [1, 2.50, None], "b": {}, "c": False}}
STATE = {"sessions": [ONE, TWO], "baseDir": "/srv/state"}
BACKUP = {"timestamp": "2031-06-01T00:00:00.000Z", "version": "1.0", "data": STATE}
KEYED = {"one": {"repoName": "local/one"}, "two": {"session": "two", "x": 1}}
SHAPES = {
    "array": [ONE, TWO],
    "state": STATE,
    "sessions": {"sessions": [ONE, TWO]},
    "backup": BACKUP,
    "keyed": KEYED,
}


def as_js(value):
    """As JSON.stringify(value, null, 2) writes it."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode()


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    "write",
    [
        as_js,
        compact,
        lambda value: compact(value) + b"\n",
        lambda value: json.dumps(value).encode(),
        lambda value: json.dumps(value, indent="\t").encode() + b"\r\n\r\n",
        lambda value: b" \n" + as_js(value).replace(b"\n", b"\r\n"),
    ],
    ids=["js", "compact", "echo", "python", "tabs", "crlf"],
)
def test_every_shape_is_known_and_keeps_every_byte(name, write):
    data = write(SHAPES[name])
    text = parse_sessions(data)
    assert text.layout == name
    assert text.encode() == data
    assert text.duplicates == 0
    assert list(text.images) == (["one", "two"] if name == "keyed" else ["task#1", "2"])


def test_records_are_compact_and_in_the_order_of_the_file():
    text = parse_sessions(as_js([TWO, ONE]))
    assert list(text.images.items()) == [("2", compact(TWO)), ("task#1", compact(ONE))]


def test_a_keyed_session_has_its_key_as_a_field():
    text = parse_sessions(as_js({**KEYED, 'o"d\u00e9': {"branch": "x"}, "e": {"session": "e"}}))
    assert [json.loads(image) for image in text.images.values()] == [
        {"session": "one", "repoName": "local/one"}, {"session": "two", "x": 1},
        {"session": 'o"d\u00e9', "branch": "x"}, {"session": "e"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "base_dir"),
    [
        (STATE, "/srv/state"), (BACKUP, "/srv/state"), ({"sessions": [], "baseDir": ""}, ""),
        ({"sessions": [], "baseDir": None}, None), ({"sessions": []}, None), ([], None),
    ],
)  # fmt: skip
def test_the_base_dir_is_what_the_file_says(value, base_dir):
    assert parse_sessions(as_js(value)).base_dir == base_dir


def test_unknown_fields_around_the_sessions_are_kept():
    data = as_js({"metadata": {"customField": [1]}, "sessions": [ONE], "data": 7, "z": None})
    text = parse_sessions(data)
    assert (text.layout, text.encode()) == ("sessions", data)
    changed = text.edited({"2": compact(TWO)}, (), lambda: None)
    assert changed.encode() == as_js({"metadata": {"customField": [1]}, "sessions": [ONE, TWO], "data": 7, "z": None})


@pytest.mark.parametrize("data", [b"", b" ", b"\n\t \r\n"], ids=ascii)
def test_an_empty_file_holds_no_session(data):
    text = parse_sessions(data)
    assert (text.layout, text.images, text.encode()) == ("empty", {}, data)


@pytest.mark.parametrize("data", [b"[]", b"[ ]\n", b'{"sessions":[]}', b'{"sessions": [ ] , "baseDir": "x"}'])
def test_a_file_without_sessions_keeps_its_bytes(data):
    assert parse_sessions(data).encode() == data


def test_of_sessions_with_one_key_the_first_is_the_record():
    first, second, third = ({"session": "a", "n": n} for n in range(3))
    data = as_js([first, {"session": "b"}, second, third])
    text = parse_sessions(data)
    assert text.images == {"a": compact(first), "b": b'{"session":"b"}'}
    assert text.duplicates == 2
    assert text.encode() == data
    assert [session.key for session in text.sessions] == ["a", "b", "a", "a"]


def test_numbers_and_texts_keep_how_they_were_written():
    data = (
        b'[{"session":"\\u0061","n":[1e21,-0,1.0,1.50,123456789012345678901234567890],"t":"\\/\\u00e9\\ud83d\\ude00"}]'
    )
    text = parse_sessions(data)
    assert text.images == {"a": data[1:-1]}
    assert text.encode() == data


def test_a_new_file_can_be_made_in_the_shapes_that_need_nothing_else():
    for layout, data in NEW_LAYOUTS.items():
        assert parse_sessions(data).layout == layout
        assert layout in LAYOUTS


@pytest.mark.parametrize(
    ("data", "problem", "offset"),
    [
        (b"{ invalid json }", "name in quotes", 2),
        (b'{"a": json}', "expecting value", 6),
        (b'{"a": {"b": json}}', "expecting value", 12),
        (b'{"foo":1}', "'foo' is no session", 7),
        (b"42", "no array and no object", 0),
        (b'  "x"', "no array and no object", 2),
        (b"null", "no array and no object", 0),
        (b"{}", "empty object", 0),
        (b'{"sessions": {}}', "'sessions' is no session", 13),
        (b'{"sessions": null}', "'sessions' is no session", 13),
        (b'{"a": {"b": 1}}', "'a' is no session", 6),
        (b'{"compilerOptions": {"strict": true}, "paths": {}}', "'compilerOptions' is no session", 20),
        (b'{"a": {"session": "b", "branch": "x"}}', "'a' is no session", 6),
        (b'{"a": {"session": null, "branch": "x"}}', "'a' is no session", 6),
        (b'{"a": {"branch": "x"}, "b": 3}', "'b' is no session", 28),
        (b'{"a": {"branch": "x"}, "a": {"branch": "y"}}', "'a' stands twice", 23),
        (b'{"sessions": [], "sessions": []}', "'sessions' stands twice", 17),
        (b'{"sessions": [], "baseDir": 7}', "`baseDir` is no text", 28),
        (b'{"sessions": [], "data": {"sessions": []}}', "in `sessions` and in `data`", 25),
        (b'{"timestamp": "", "version": "2.0", "data": {"sessions": []}}', "version '2.0'", 29),
        (b'{"timestamp": "", "version": "1.0", "data": {"sessions": 1}}', "no array `sessions`", 44),
        (b'{"timestamp": "", "version": "1.0", "data": {"sessions": [], "sessions": []}}', "twice", 61),
        (b"[1]", "session 0 is no object", 1),
        (b'[{"session":"a"},\n {"id":"b"}]', "session 1 has no `session`", 19),
        (b'[{"sessionId":"a"}]', "session 0 has its key in `sessionId`", 1),
        (b'[{"session":7}]', "no key: a key is a str", 1),
        (b'[{"session":""}]', "not empty", 1),
        (b'[{"session":"a\\u0000"}]', "NUL", 1),
        (b'[{"session":"' + b"k" * 481 + b'"}]', "481 UTF-8 bytes", 1),
        (b'[{"session":"a","session":"b"}]', "has a field twice", 1),
        (b'[{"session":"a","x":1,"x":2}]', "has a field twice", 1),
        (b'[{"session":"a","x":"\\ud800"}]', "cannot be read as a record", 1),
        (b'[{"session":"a","x":1e400}]', "cannot be read as a record", 1),
        (b'[{"session":"a","x":NaN}]', "NaN is no JSON", 1),
        (b'[{"session":"a"}', "comma or ] is missing", 16),
        (b'[{"session":"a"},]', "expecting value", 17),
        (b'[{"session":"a"}] x', "more follows", 18),
        (b'[{"session":"a"}][]', "more follows", 17),
        (b'[{"session":"a"}\n{"session":"b"}]', "comma or ] is missing", 17),
        (b'{"a" {"branch": "x"}}', "a colon is missing", 4),
        (b"{7: {}}", "name in quotes", 1),
        (b"\xef\xbb\xbf[]", "byte order mark", 0),
        (b'["\xff"]', "not UTF-8", 2),
        ("[]".encode("utf-16-le"), "no JSON", 1),
        (b"[\x00]", "expecting value", 1),
        ('[{"session":"é"},\n{}]'.encode(), "session 1 has no `session`", 19),
        (b"[" * 100_000, "nested too deep", 1),
    ],
    ids=lambda value: ascii(value[:30]) if isinstance(value, bytes) else None,
)
def test_everything_else_is_refused_with_its_place(data, problem, offset):
    with pytest.raises(LayoutError) as caught:
        parse_sessions(data)
    assert problem in caught.value.problem
    assert caught.value.offset == offset


def test_an_empty_object_is_keyed_only_where_that_is_known():
    assert parse_sessions(b"{}", known="keyed").layout == "keyed"


def test_every_cut_file_is_refused_but_the_empty_one():
    data = as_js(SHAPES["state"])
    for length in range(1, len(data)):
        with pytest.raises(LayoutError):
            parse_sessions(data[:length])
