"""The reference says what the code says: names, signatures, defaults, errors, options, fields."""

from __future__ import annotations

import ast
import inspect
import re
import typing
from typing import Any

import pytest

import sessiondb
import sessiondb.testing
from docs.pages import ROOT, blocks_of, prose_of
from sessiondb import errors
from sessiondb.config import Options
from sessiondb.stats import TornTailReport

REFERENCE = ROOT / "docs" / "reference"
API = prose_of(REFERENCE / "api.md")
ERRORS = prose_of(REFERENCE / "errors.md")

_HEADING = re.compile(r"^### `([^`]+)`$", re.MULTILINE)
HEADINGS = _HEADING.findall(API)
SIGNATURES = [heading for heading in HEADINGS if "(" in heading]


def named(heading: str) -> str:
    return heading.partition("(")[0]


def public(kind: type) -> list[str]:
    return [name for name in dir(kind) if not name.startswith("_")]


Parameter = tuple[str, inspect._ParameterKind, object]


def parameters_of(function: Any) -> list[list[Parameter]]:
    """Of the function and of its overloads, without ``self``."""
    signatures = [inspect.signature(each) for each in (function, *typing.get_overloads(function))]
    return [
        [(name, each.kind, each.default) for name, each in signature.parameters.items() if name != "self"]
        for signature in signatures
    ]


def documented_parameters(signature: str) -> tuple[str, list[Parameter], str]:
    """Name, parameters and return annotation of a heading."""
    name, rest = signature.split("(", 1)
    definition = ast.parse(f"def f({rest}: ...").body[0]
    assert isinstance(definition, ast.FunctionDef)
    returns = "" if definition.returns is None else ast.unparse(definition.returns)
    made: dict[str, Any] = {}
    definition.returns = None
    exec(ast.unparse(definition), {"Any": Any}, made)
    parameters = inspect.signature(made["f"]).parameters
    return name, [(key, each.kind, each.default) for key, each in parameters.items()], returns


def alike(documented: list[Parameter], real: list[Parameter]) -> bool:
    """Names and kinds are equal; so are defaults, where ``...`` stands for any."""
    if [each[:2] for each in documented] != [each[:2] for each in real]:
        return False
    for (_, _, shown), (_, _, default) in zip(documented, real, strict=True):
        if (shown is inspect.Parameter.empty) != (default is inspect.Parameter.empty):
            return False
        if shown is not ... and default is not ... and shown != default:
            return False
    return True


@pytest.mark.parametrize("heading", SIGNATURES)
def test_a_documented_signature_is_the_real_one(heading: str) -> None:
    name, documented, returns = documented_parameters(heading)
    function: Any = sessiondb
    for part in name.split("."):
        function = getattr(function, part)
    assert any(alike(documented, real) for real in parameters_of(function)), inspect.signature(function)
    annotation = inspect.signature(function).return_annotation
    assert returns == ("" if annotation is inspect.Signature.empty else annotation)


def test_a_wrong_signature_is_noticed() -> None:
    def real(key: str, *, sync: str | None = None) -> None: ...

    for wrong in (
        "f(key)",
        "f(key, sync=None)",
        "f(key, *, sync='always')",
        "f(key, *, sync)",
        "f(name, *, sync=None)",
    ):
        assert not alike(documented_parameters(wrong)[1], parameters_of(real)[0]), wrong
    assert alike(documented_parameters("f(key, *, sync=None)")[1], parameters_of(real)[0])


def test_every_public_name_is_documented() -> None:
    documented = {named(heading) for heading in HEADINGS} | set(_HEADING.findall(ERRORS))
    classes = {"Database", "Table", "DatabaseStorage"}
    for name in classes:
        assert f"\n## {name}\n" in API
    assert set(sessiondb.__all__) - documented - classes == set()


@pytest.mark.parametrize("kind", [sessiondb.Database, sessiondb.Table, sessiondb.DatabaseStorage])
def test_every_method_is_documented(kind: type) -> None:
    documented = {named(heading) for heading in HEADINGS}
    missing = [name for name in public(kind) if f"{kind.__name__}.{name}" not in documented]
    assert missing == []


def test_nothing_is_documented_that_does_not_exist() -> None:
    for heading in HEADINGS:
        owner, _, member = named(heading).partition(".")
        assert owner in sessiondb.__all__, heading
        if member and member != "name":  # an instance's attribute
            assert hasattr(getattr(sessiondb, owner), member), heading


@pytest.mark.parametrize(
    "kind", [sessiondb.Stats, sessiondb.RecoveryReport, sessiondb.MigrationResult, TornTailReport, sessiondb.Position]
)
def test_every_field_of_a_report_is_documented(kind: Any) -> None:
    name = kind.__name__
    start = API.index(f"A `{name}` has:" if kind is TornTailReport else f"### `{name}`")
    section = re.split(r"^#{2,3} ", API[start + 4 :], maxsplit=1, flags=re.MULTILINE)[0]
    rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    fields = set(re.findall(r"`(\w+)`", " ".join(rows)))
    mine = set(kind.__struct_fields__)
    others = set(TornTailReport.__struct_fields__) if kind is sessiondb.RecoveryReport else set()
    assert mine <= fields <= mine | others


def test_every_name_for_tests_is_documented() -> None:
    for name in sessiondb.testing.__all__:
        assert f"| `{name}` |" in API


# ---- errors


def test_every_error_is_documented() -> None:
    assert sorted(_HEADING.findall(ERRORS)) == sorted(errors.__all__)


def test_the_tree_of_errors_is_the_one_in_the_code() -> None:
    (block,) = blocks_of(REFERENCE / "errors.md")
    assert errors.__doc__ is not None
    drawn = inspect.cleandoc(errors.__doc__).split("::\n\n", 1)[1].split("\n\n", 1)[0]
    assert inspect.cleandoc(drawn) == block.text.rstrip()


def test_the_tree_of_errors_is_the_one_of_the_classes() -> None:
    (block,) = blocks_of(REFERENCE / "errors.md")
    path: list[str] = []
    drawn = {}
    for line in block.text.splitlines():
        match = re.match(r"(?P<branch>[│├└─ ]*)(?P<name>\w+)", line)
        assert match is not None, line
        depth = len(match["branch"]) // 4
        path[depth:] = [match["name"]]
        drawn[match["name"]] = path[depth - 1] if depth else "Exception"
    assert drawn == {name: getattr(errors, name).__bases__[0].__name__ for name in errors.__all__}


# ---- options


def test_every_option_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", (REFERENCE / "options.md").read_text("utf-8"), re.MULTILINE)
    real = {
        name: parameter.default
        for name, parameter in inspect.signature(sessiondb.open).parameters.items()
        if name != "location"
    }
    assert [name for name, _ in rows] == list(real)
    for name, default in rows:
        if name == "files":
            continue
        documented = ast.literal_eval(default.strip("`"))
        assert documented == getattr(Options(), name), name
        assert real[name] in (documented, sessiondb.UNSET), name
