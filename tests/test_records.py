"""Records cannot be changed, hold nothing but their fields, and are made by keyword."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "bayeslmm"
ALL = {"frozen", "slots", "kw_only"}
EXCEPT = {
    # built up while a formula is read
    "_Sum": {"frozen", "kw_only"},
    "Check": {"frozen"},
    # few fields in an order that needs no names
    **dict.fromkeys(("Atom", "Censoring", "Counts", "Factor", "LKJ", "Prior"), {"kw_only"}),
    # compute once what is asked of them often
    **dict.fromkeys(("Identification", "Layout", "Template"), {"slots"}),
    "Relationship": {"slots", "kw_only"},
    "_Call": {"kw_only"},
    **dict.fromkeys(("ContrastMatrix", "Helmert", "Poly", "Sum", "Treatment"), {"kw_only"}),
    **dict.fromkeys(("Equations", "_Line", "_Math", "Table", "Text"), {"kw_only"}),
}


def lacking(source: str) -> Iterator[tuple[str, set[str]]]:
    """The dataclasses of a module, and which of the three each is not."""
    for node in ast.walk(ast.parse(source)):
        for decorator in getattr(node, "decorator_list", []):
            if ast.unparse(decorator).partition("(")[0] in ("dataclass", "dataclasses.dataclass"):
                said = {k.arg for k in getattr(decorator, "keywords", ()) if ast.unparse(k.value) == "True"}
                yield node.name, ALL - said


def test_records_are_frozen_slotted_and_keyword_only():
    found = [pair for path in sorted(PACKAGE.rglob("*.py")) for pair in lacking(path.read_text())]
    assert {name: less for name, less in found if less} == EXCEPT


def test_a_record_that_is_not_is_found():
    source = (
        "@dataclass\nclass A: ...\n"
        "@dataclasses.dataclass(frozen=False, slots=True)\nclass B: ...\n"
        "@dataclass(frozen=True, slots=True, kw_only=True)\nclass C: ..."
    )
    assert dict(lacking(source)) == {"A": ALL, "B": {"frozen", "kw_only"}, "C": set()}


def test_records_that_hold_arrays_or_tables_are_equal_to_themselves_only():
    """What == of dataclasses does with arrays is an error of NumPy's; loops compare none."""
    hold = re.compile(r"\b(Array|ndarray|NDArray|DataFrame|Series|Index|Design|PointSolution)\b")
    lacking_it = [
        f"{path.name}: {node.name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if "engine" not in path.parts or path.name == "reml.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        for decorator in map(ast.unparse, node.decorator_list)
        if decorator.startswith("dataclass") and "eq=False" not in decorator
        for field in node.body
        if isinstance(field, ast.AnnAssign)
        and hold.search(ast.unparse(field.annotation))
        and not re.search("ClassVar|Callable", ast.unparse(field.annotation))
    ]
    assert not lacking_it
