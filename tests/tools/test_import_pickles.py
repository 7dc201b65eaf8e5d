"""Pickles are read without running anything: what comes out, what is refused, and that nothing else happens."""

from __future__ import annotations

import collections
import datetime
import decimal
import json
import os
import pickle
import pickletools
import random
import subprocess
import sys
import textwrap
import uuid
import zoneinfo
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessiondb_tools.importing import pickled
from sessiondb_tools.importing.pickle_objects import Members, Pairs, UniqueId
from sessiondb_tools.importing.pickled import PickleProblem, read_pickle
from sessiondb_tools.importing.plain import CONVERSIONS, NotPlain, Plainer
from sessiondb_tools.importing.values import ValueProblem, decode

UTC = datetime.UTC
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def again(value: Any) -> Any:
    """What was read, as Python would have loaded it."""
    if isinstance(value, Pairs):
        return {again(key): again(each) for key, each in value}
    if isinstance(value, Members):
        return {again(each) for each in value}
    if isinstance(value, UniqueId):
        return uuid.UUID(int=value.number)
    if isinstance(value, list | tuple):
        return type(value)(again(each) for each in value)
    return value


PLAIN = [
    None, True, False, 0, -1, 255, 256, 65_535, 65_536, 2**31, -(2**63), 2**64, -(2**2100),
    0.0, -1.5, 1e308, float("inf"),
    "", "ü", "\x00", "x" * 300, "\ud800", b"", b"\x00\xff", b"y" * 300, bytearray(), bytearray(b"\x80"),
    [], [1], list(range(2_000)), (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {}, {"a": 1}, {1: {None: [()]}},
    dict.fromkeys(map(str, range(2_000))), set(), {1}, frozenset(), frozenset({"a", 2}),
    datetime.date(1, 1, 1), datetime.date(9999, 12, 31), datetime.time(23, 59, 59, 999_999),
    datetime.time(1, tzinfo=UTC),
    datetime.datetime(2026, 11, 22, 1, 2, 3, 4), datetime.datetime(2026, 1, 1, tzinfo=UTC),
    datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=-3), "here")),
    datetime.timedelta(-1, 5, 6), datetime.timedelta.max, decimal.Decimal("-1.50"), decimal.Decimal("1E+400"),
]  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_data_comes_out_as_it_went_in(protocol: int) -> None:
    for value in PLAIN:
        found = again(read_pickle(pickle.dumps(value, protocol)))
        assert (type(found), found) == (set if isinstance(value, frozenset) else type(value), value)


def test_a_number_that_is_none_is_read() -> None:
    found = read_pickle(pickle.dumps(float("nan")))
    assert found != found


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_uuids_are_read_also_where_one_stands_twice(protocol: int) -> None:
    one = uuid.UUID("12345678-1234-5678-1234-567812345678")
    assert again(read_pickle(pickle.dumps([one, {"k": one}], protocol))) == [one, {"k": one}]


def test_what_is_shared_stays_shared_and_a_list_may_hold_itself() -> None:
    inner: list[Any] = []
    inner.append(inner)
    found = read_pickle(pickle.dumps([inner, inner]))
    assert found[0] is found[1] is found[0][0]


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.datetimes() | st.dates() | st.timedeltas()
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@settings(max_examples=150)
@given(values, st.sampled_from(PROTOCOLS))
def test_any_plain_data_comes_out_as_it_went_in(value: Any, protocol: int) -> None:
    assert again(read_pickle(pickle.dumps(value, protocol))) == value
    assert again(read_pickle(pickletools.optimize(pickle.dumps(value, protocol)))) == value


# ---- what is refused


class Basket:
    """A class of another program."""


class Popped:
    def __reduce__(self) -> tuple[object, ...]:
        return eval, ("__import__('os').system('touch run')",)


FOREIGN = {
    "an instance": (Basket(), "Basket"),
    "a call": (Popped(), "builtins.eval"),
    "a function": (print, "builtins.print"),
    "a class": (dict, "builtins.dict"),
    "an ordered dict": (collections.OrderedDict(a=1), "collections.OrderedDict"),
    "a complex number": (1j, "builtins.complex"),
    "a range": (range(3), "builtins.range"),
    "a zone with a name": (datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC")), "zoneinfo.ZoneInfo"),
    "an exception": (ValueError("x"), "builtins.ValueError"),
    "no number": (decimal.Decimal("NaN"), "decimal.Decimal made from unknown arguments"),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("case", FOREIGN)
def test_what_is_no_plain_data_is_refused_by_name(case: str, protocol: int) -> None:
    value, said = FOREIGN[case]
    for whole in (value, {"deep": [(value,)]}):
        with pytest.raises(PickleProblem, match="it holds a ") as caught:
            read_pickle(pickle.dumps(whole, protocol))
        assert said.replace("builtins", "").strip(".") in str(caught.value)


HOSTILE = {
    "GLOBAL and REDUCE": b"cos\nsystem\n(S'touch run'\ntR.",
    "STACK_GLOBAL and REDUCE": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x09touch run\x85R.",
    "INST": b"(S'touch run'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'touch run'\no.",
    "NEWOBJ": b"\x80\x02cos\nsystem\nU\x09touch run\x85\x81.",
    "NEWOBJ_EX": b"\x80\x04cos\nsystem\n)}\x92.",
    "a name from the memo": b"cos\nsystem\nq\x000h\x00(S'touch run'\ntR.",
    "a call of a call": b"c_codecs\nencode\n(S'x'\nS'latin1'\ntR(tR.",
    "another encoding": b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",
    "the encoder as a value": b"c_codecs\nencode\n.",
    "a name in a list": b"](cos\nsystem\ne.",
    "a name as a key": b"}cos\nsystem\nNs.",
    "a name as an argument": b"cbuiltins\nset\n(cos\nsystem\ntR.",
    "a name with dots": b"\x80\x04\x8c\x08builtins\x8c\x0cset.__class__\x93)R.",
    "a dotted way to a known one": b"\x80\x04\x8c\x08datetime\x8c\x04date\x93\x8c\x01x\x85R.",
    "BUILD on a list": b"]}b.",
    "BUILD with attributes": b"\x80\x02cuuid\nUUID\n)\x81}U\x03intcos\nsystem\nsb.",
    "BUILD with another number": b"\x80\x02cuuid\nUUID\n)\x81}U\x03intU\x01xsb.",
    "a UUID with arguments": b"\x80\x02cuuid\nUUID\nU\x01x\x85\x81.",
    "a persistent id": b"Pfile\n.",
    "a persistent id from the stack": b"U\x01xQ.",
    "an extension": b"\x82\x01.",
    "an out-of-band buffer": b"\x80\x05\x97.",
    "append to a dict": b"}Na.",
    "append to a set": b"\x8fNa.",
    "members of a list": b"](N\x90.",
    "items of a list": b"](NNu.",
    "a key without a value": b"}(Nu.",
    "a text without an end": b"V\\u12\n.",
    "nothing on the stack": b".",
    "two values": b"NN.",
    "a mark is left": b"(N.",
    "a pop of nothing": b"0.",
    "no mark": b"t.",
    "nothing to remember": b"q\x00.",
    "nothing remembered": b"h\x07.",
    "a huge index of the memo": b"Nr\xff\xff\xff\xffj\xfe\xff\xff\xff.",
    "a text of 4 GiB": b"X\xff\xff\xff\xff" + b"x" * 10,
    "a text of 16 EiB": b"\x8d" + b"\xff" * 8 + b"x",
    "bytes of 8 EiB": b"\x8e" + b"\xff" * 7 + b"\x7f",
    "a bytearray of 8 EiB": b"\x96" + b"\xff" * 7 + b"\x7f",
    "an integer of 2 GiB": b"\x8b\xff\xff\xff\x7f\x01",
    "an integer of too many digits": b"L" + b"9" * 5_000 + b"L\n.",
    "a frame of 16 EiB that ends": b"\x80\x04\x95" + b"\xff" * 8 + b"N",
    "a wrong number": b"I1x\n.",
    "a month of 13": b"\x80\x04\x8c\x08datetime\x8c\x04date\x93C\x04\x07\xe4\x0d\x01\x85R.",
    "a date of 3 bytes": b"\x80\x04\x8c\x08datetime\x8c\x04date\x93C\x03\x07\xe4\x01\x85R.",
    "a timedelta of too many days": b"\x80\x04\x8c\x08datetime\x8c\x09timedelta\x93J\xff\xff\xff\x7f\x85R.",
    "a timedelta of a float": b"\x80\x04\x8c\x08datetime\x8c\x09timedelta\x93G?\xf0\0\0\0\0\0\0\x85R.",
    "a zone of a day": b"\x80\x04\x8c\x08datetime\x8c\x08timezone\x93h\x00\x85R.",
    "a decimal of words": b"cdecimal\nDecimal\n(S'1e1e1'\ntR.",
    "bytes of Python 2": b"S'\\xe4'\n.",
    "more behind the end": b"N.N",
    "an unknown instruction": b"\xff.",
    "no end": b"N",
    "nothing": b"",
    "text": b"hello",
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_pickle_is_refused(case: str) -> None:
    with pytest.raises(PickleProblem):
        read_pickle(HOSTILE[case])


def test_nothing_is_imported_opened_or_executed_whatever_a_pickle_says() -> None:
    """In a process of its own, where Python reports what happens: importing, compiling, opening, starting, and more."""
    program = """
        import json, sys
        from sessiondb_tools.importing.pickled import PickleProblem, read_pickle
        hostile, plain = ([bytes.fromhex(data) for data in group] for group in json.load(sys.stdin))
        seen, refused, modules = [], 0, set(sys.modules)
        sys.addaudithook(lambda name, _: seen.append(name))
        for data in hostile:
            try:
                read_pickle(data)
            except PickleProblem:
                refused += 1
        read = [len(read_pickle(data)) for data in plain]
        happened = sorted(set(seen))
        print(refused, set(read), happened, sys.modules.keys() - modules)
    """
    plain = [pickle.dumps(PLAIN, protocol) for protocol in PROTOCOLS]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False,
        input=json.dumps([[data.hex() for data in group] for group in (HOSTILE.values(), plain)]),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(HOSTILE)} {{{len(PLAIN)}}} [] set()\n"


# ---- bombs


def test_a_pickle_of_too_many_instructions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "INSTRUCTIONS_MAX", 1_000)
    with pytest.raises(PickleProblem, match="more than 1,000 instructions"):
        read_pickle(b"(" + b"]" * 1_001 + b"t.")


def plain(data: bytes, *convert: str) -> Any:
    return Plainer(convert).plain(read_pickle(data)).value


def test_billion_laughs_is_refused_before_it_is_written_out() -> None:
    value: Any = "laugh" * 20
    for _ in range(30):
        value = [value] * 10
    data = pickle.dumps(value)
    assert len(data) < 2_000
    with pytest.raises(NotPlain, match="larger than a record can be"):
        plain(data)


def test_one_long_text_that_is_named_again_and_again_is_refused() -> None:
    with pytest.raises(NotPlain, match="larger than a record can be"):
        plain(pickle.dumps(["x" * 100_000] * 1_000))


def test_a_value_that_holds_itself_is_refused() -> None:
    value: dict[str, Any] = {}
    value["me"] = [value]
    with pytest.raises(NotPlain, match=r"holds itself \(at \$\.me\[0\]\.me"):
        plain(pickle.dumps(value))


@pytest.mark.parametrize("opening", [b"]" * 200_000 + b"a" * 199_999, b"N" + b"\x85" * 200_000])
def test_thousands_of_levels_are_no_matter_until_they_are_refused(opening: bytes) -> None:
    with pytest.raises(NotPlain, match="200 levels"):
        plain(opening + b".", "tuples")


def test_keys_with_equal_hashes_cost_nothing() -> None:
    """In a dict of Python, 100,000 of these take minutes."""
    step = sys.hash_info.modulus
    items = b"".join(pickle.dumps(number * step, 2)[2:-1] + b"N" for number in range(1, 100_000))
    found = read_pickle(b"\x80\x02}(" + items + b"u.")
    assert len(found) == 99_999
    with pytest.raises(NotPlain, match="a dict's key is an int"):
        Plainer().plain(found)


def test_compressed_bombs_are_refused() -> None:
    import zlib

    bomb = zlib.compress(b"\0" * (80 << 20), 9)
    with pytest.raises(ValueProblem, match="larger than a record can be"):
        decode(bomb, "zlib+pickle")
    for bad, said in ((bomb[:1000], "cut off|larger"), (b"x", "cut off|not compressed"), (b"no", "not compressed")):
        with pytest.raises(ValueProblem, match=said):
            decode(bad, "zlib+json")
    with pytest.raises(ValueProblem, match="more behind"):
        decode(zlib.compress(b"1") + b"1", "zlib+json")


def test_a_set_of_what_is_no_text_can_still_be_sorted() -> None:
    """Sorting by what msgspec encodes failed for lone surrogates, which only the check of the record refuses."""
    assert plain(pickle.dumps({"\ud800", "b", 1, (2, "x")}), "sets", "tuples") == ["\ud800", "b", 1, [2, "x"]]


# ---- random damage


SEEDS = [pickle.dumps(value, protocol) for value in PLAIN for protocol in PROTOCOLS if len(repr(value)) < 500]


def read_all_the_way(data: bytes) -> None:
    """What an import does with a pickle; only documented errors may come out."""
    try:
        value = read_pickle(data)
        Plainer(CONVERSIONS).plain(value)
    except (PickleProblem, NotPlain):
        return


def test_damaged_pickles_raise_nothing_but_documented_errors() -> None:
    chance = random.Random(1)
    for _ in range(20_000):
        data = bytearray(chance.choice(SEEDS + list(HOSTILE.values())))
        for _ in range(chance.randrange(1, 5)):
            at = chance.randrange(len(data) + 1)
            what = chance.random()
            if what < 0.5:
                data[at : at + 1] = bytes([chance.randrange(256)])
            elif what < 0.7:
                del data[at : at + chance.randrange(4)]
            elif what < 0.9:
                data[at:at] = chance.choice(SEEDS)[:-1]
            else:
                data[at:at] = bytes([chance.randrange(256)])
        read_all_the_way(bytes(data))


# ---- MessagePack


MESSAGEPACK_BAD = {
    "an array of 4 Gi elements": b"\xdd\xff\xff\xff\xff\xc0",
    "a map of 4 Gi members": b"\xdf\xff\xff\xff\xff\xa1a",
    "nested too deeply": b"\x91" * 1_000_000 + b"\xc0",
    "an object as a key": b"\x81\x80\x01",
    "more behind the end": b"\xc0\xc0",
    "an unknown byte": b"\xc1",
    "no UTF-8": b"\xa1\xff",
    "a time of year 10000 and more": b"\xc7\x0c\xff" + b"\0" * 4 + b"\x7f" + b"\xff" * 7,
    "nothing": b"",
}


@pytest.mark.parametrize("case", MESSAGEPACK_BAD)
def test_bad_messagepack_is_refused(case: str) -> None:
    with pytest.raises(ValueProblem, match="no MessagePack"):
        decode(MESSAGEPACK_BAD[case], "msgpack")


def test_messagepack_extensions_are_refused() -> None:
    with pytest.raises(NotPlain, match="JSON cannot hold an Ext"):
        Plainer(CONVERSIONS).plain(decode(b"\xd4\x05a", "msgpack"))
