"""Reads pickles of plain data, and runs nothing that they name.

A pickle is a program for a stack machine; its instructions GLOBAL and REDUCE import a function and call it, which is
how loading a foreign pickle runs foreign code. This module is such a machine without imports and calls: a name is a
text that is looked up in the table `MAKERS`, and what is not there ends the reading with an error that says the name.
The instructions are taken apart by `pickletools`, as Python's own tests do.

What comes out are values of Python, with one difference: dicts and sets are `Pairs` and `Members`, lists in the order
of the pickle. So nothing is hashed here (a pickle can choose numbers whose hashes are all equal), and a list as a key
harms nobody.

Memory is bounded by the pickle's size and `INSTRUCTIONS_MAX`. A pickle may name a part of itself again and again, also
from within; it costs nothing here, and whoever walks through the result must count (as `plain` does).
"""

from __future__ import annotations

import codecs
import pickletools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from .pickle_objects import MAKERS, Members, Pairs, UniqueId

__all__ = ["INSTRUCTIONS_MAX", "PickleProblem", "read_pickle"]

INSTRUCTIONS_MAX = 1 << 22
"""More than any record has: each makes at most one object."""

codecs.lookup("raw-unicode-escape")  # Python imports it at its first use, which is not to be while reading a pickle


class PickleProblem(Exception):
    """The pickle is damaged, or holds something else than plain data; says what."""


class _Name(NamedTuple):
    """Something that the pickle wants to be imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def read_pickle(data: bytes) -> Any:
    """The value that a pickle of plain data stands for.

    Raises:
        PickleProblem: it is damaged, or holds something else.
    """
    machine = _Machine()
    position = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of texts with unknown escapes
        try:
            for number, (opcode, argument, at) in enumerate(pickletools.genops(data)):
                if number >= INSTRUCTIONS_MAX:
                    raise PickleProblem(f"the pickle has more than {INSTRUCTIONS_MAX:,} instructions")
                position = at or 0
                machine.step(opcode.name, argument)
        except (ValueError, ArithmeticError) as error:
            raise PickleProblem(f"the pickle is damaged at offset {position}: {_first_line(error)}") from None
    if position + 1 != len(data):
        raise PickleProblem(f"the pickle ends at offset {position}, but there is more")
    return machine.result()


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0][:200]


class _Machine:
    """The stack machine. A mark puts the stack aside, and what needs a mark takes it back."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Do one instruction."""
        if name in _PUSHED:
            self._stack.append(argument)
        else:
            do = _STEPS.get(name)
            if do is None:
                raise PickleProblem(f"it holds no plain data: the instruction {name} makes objects of other programs")
            do(self, argument)

    def result(self) -> Any:
        """The value, after the last instruction."""
        if len(self._stack) != 1 or self._below:
            raise PickleProblem("the pickle is damaged: it does not leave one value")
        return _no_name(self._stack[0])

    def _pop(self) -> Any:
        if not self._stack:
            raise ValueError("the stack is empty")
        return self._stack.pop()

    def _value(self) -> Any:
        return _no_name(self._pop())

    def _top(self, kind: type) -> Any:
        if not self._stack or not isinstance(self._stack[-1], kind):
            raise ValueError(f"the instruction needs a value of the kind {kind.__name__.lower()}")
        return self._stack[-1]

    def _behind_mark(self) -> list[Any]:
        if not self._below:
            raise ValueError("there is no mark")
        found, self._stack = self._stack, self._below.pop()
        for each in found:
            _no_name(each)
        return found

    # ---- the stack and the memo

    def nothing(self, _: Any) -> None:
        """PROTO, FRAME and STOP."""

    def mark(self, _: Any) -> None:
        self._below.append(self._stack)
        self._stack = []

    def pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._behind_mark()

    def pop_mark(self, _: Any) -> None:
        self._behind_mark()

    def duplicate(self, _: Any) -> None:
        self._stack.append(self._top(object))

    def remember(self, index: Any) -> None:
        self._memo[len(self._memo) if index is None else index] = self._top(object)

    def recall(self, index: Any) -> None:
        if index not in self._memo:
            raise ValueError(f"nothing is remembered as {index}")
        self._stack.append(self._memo[index])

    # ---- values

    def constant(self, value: Any) -> None:
        self._stack.append(value)

    def text_of_python_2(self, text: str) -> None:
        if not text.isascii():
            raise PickleProblem("it holds bytes of Python 2 that are no ASCII text")
        self._stack.append(text)

    def new_list(self, _: Any) -> None:
        self._stack.append([])

    def new_dict(self, _: Any) -> None:
        self._stack.append(Pairs())

    def new_set(self, _: Any) -> None:
        self._stack.append(Members())

    def list_behind_mark(self, _: Any) -> None:
        self.constant(self._behind_mark())

    def tuple_behind_mark(self, _: Any) -> None:
        self.constant(tuple(self._behind_mark()))

    def dict_behind_mark(self, _: Any) -> None:
        self.constant(Pairs(_paired(self._behind_mark())))

    def set_behind_mark(self, _: Any) -> None:
        self.constant(Members(self._behind_mark()))

    def small_tuple(self, size: int) -> None:
        parts = [self._value() for _ in range(size)]
        self._stack.append(tuple(reversed(parts)))

    def append(self, _: Any) -> None:
        value = self._value()
        _plain_list(self._top(list)).append(value)

    def extend(self, _: Any) -> None:
        values = self._behind_mark()
        _plain_list(self._top(list)).extend(values)

    def add_members(self, _: Any) -> None:
        values = self._behind_mark()
        self._top(Members).extend(values)

    def set_item(self, _: Any) -> None:
        value, key = self._value(), self._value()
        self._top(Pairs).append((key, value))

    def set_items(self, _: Any) -> None:
        items = _paired(self._behind_mark())
        self._top(Pairs).extend(items)

    # ---- what other readers import and call

    def name(self, text: str) -> None:
        module, _, name = text.partition(" ")
        self._stack.append(_Name(module, name))

    def name_from_stack(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a name is no text")
        self._stack.append(_Name(module, name))

    def make(self, _: Any) -> None:
        arguments, name = self._value(), self._pop()
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise ValueError("a call of something that is no name")
        maker = MAKERS.get((name.module, name.name))
        if maker is None:
            raise _not_plain(name)
        made = maker(arguments)
        if made is None:
            raise PickleProblem(f"it holds a {name} made from unknown arguments")
        self._stack.append(made)

    def make_object(self, _: Any) -> None:
        arguments, name = self._value(), self._pop()
        if not isinstance(name, _Name):
            raise ValueError("an object of something that is no name")
        if name != _Name("uuid", "UUID") or arguments != ():
            raise _not_plain(name)
        self._stack.append(UniqueId())

    def set_state(self, _: Any) -> None:
        state = self._value()
        made: UniqueId = self._top(UniqueId)
        number = state[0][1] if isinstance(state, Pairs) and len(state) == 1 and state[0][0] == "int" else None
        if type(number) is not int or not 0 <= number < 1 << 128:
            raise PickleProblem("it holds a uuid.UUID with an unknown state")
        made.number = number


def _no_name(value: Any) -> Any:
    if isinstance(value, _Name):
        raise _not_plain(value)
    return value


def _not_plain(name: _Name) -> PickleProblem:
    shown = str(name)[:200]
    return PickleProblem(f"it holds a {shown if shown.isprintable() else ascii(shown)}, which is no plain data")


def _plain_list(value: list[Any]) -> list[Any]:
    if type(value) is not list:
        raise ValueError("the instruction needs a list")
    return value


def _paired(values: list[Any]) -> list[tuple[Any, Any]]:
    if len(values) % 2:
        raise ValueError("a key without a value")
    return list(zip(values[::2], values[1::2], strict=True))


_PUSHED = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
"""Instructions that push their argument."""

_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.nothing, "FRAME": _Machine.nothing, "STOP": _Machine.nothing,
    "MARK": _Machine.mark, "POP": _Machine.pop, "POP_MARK": _Machine.pop_mark, "DUP": _Machine.duplicate,
    "PUT": _Machine.remember, "BINPUT": _Machine.remember, "LONG_BINPUT": _Machine.remember,
    "MEMOIZE": _Machine.remember,
    "GET": _Machine.recall, "BINGET": _Machine.recall, "LONG_BINGET": _Machine.recall,
    "NONE": lambda machine, _: machine.constant(None),
    "NEWTRUE": lambda machine, _: machine.constant(True),
    "NEWFALSE": lambda machine, _: machine.constant(False),
    "STRING": _Machine.text_of_python_2, "BINSTRING": _Machine.text_of_python_2,
    "SHORT_BINSTRING": _Machine.text_of_python_2,
    "EMPTY_LIST": _Machine.new_list, "LIST": _Machine.list_behind_mark,
    "APPEND": _Machine.append, "APPENDS": _Machine.extend,
    "EMPTY_TUPLE": lambda machine, _: machine.small_tuple(0), "TUPLE": _Machine.tuple_behind_mark,
    "TUPLE1": lambda machine, _: machine.small_tuple(1), "TUPLE2": lambda machine, _: machine.small_tuple(2),
    "TUPLE3": lambda machine, _: machine.small_tuple(3),
    "EMPTY_DICT": _Machine.new_dict, "DICT": _Machine.dict_behind_mark,
    "SETITEM": _Machine.set_item, "SETITEMS": _Machine.set_items,
    "EMPTY_SET": _Machine.new_set, "FROZENSET": _Machine.set_behind_mark, "ADDITEMS": _Machine.add_members,
    "GLOBAL": _Machine.name, "STACK_GLOBAL": _Machine.name_from_stack,
    "REDUCE": _Machine.make, "NEWOBJ": _Machine.make_object, "BUILD": _Machine.set_state,
}  # fmt: skip
