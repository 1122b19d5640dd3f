"""Imports go down only; heavy libraries enter through their one door, inside functions."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "bayeslmm"
# A room imports from its own floor and from those to the left.
FLOORS = [
    *("families", "covariances", "residual_structures", "terms", "formulas", "design", "engine"),
    *(
        "sources",
        "streaming",
        "results",
        "predictive",
        "pooling",
        "model_comparison",
        "checks",
        "planning",
        "show",
        "model",
    ),
]
# leaf -> what it may import; every room may import a leaf
LEAVES = {"errors": set(), "tools": {"errors", "__version__"}, "datasets": {"errors"}}
TOP = {"__init__", "__main__", "cli"}  # may import everything
DOORS = {  # heavy library -> where it may be imported, inside functions
    "formulae": ("formulas/expressions.py",),
    "pymc": ("engine/pymc_", "families/"),
    "pytensor": ("engine/pymc_", "families/", "covariances/"),
    "nutpie": ("engine/joint_nuts.py", "engine/marginal_nuts.py"),
    "matplotlib": ("show/",),
    "arviz_plots": ("show/",),
    "plotly": ("show/interactive.py",),
    "arviz": ("results/", "show/"),
    "joblib": ("engine/processes.py",),
    "pyarrow": ("sources/arrow.py",),
    "polars": ("sources/polars_lazy.py",),
    "dask": ("sources/dask_frames.py",),
    "arviz_base": ("results/", "show/"),
    "arviz_stats": ("results/", "show/"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    target: str  # absolute dotted name, "bayeslmm.design.design" or "pymc.math"
    line: int
    in_function: bool
    for_types: bool  # under `if TYPE_CHECKING:`


def imports(source: str, path: str) -> Iterator[Import]:
    """Every import in a module of the package, wherever it stands; ``path`` is relative to the package."""
    package = ("bayeslmm", *Path(path).parts[:-1])

    def visit(node, in_function, for_types):
        for target in _targets(node, package):
            yield Import(target=target, line=node.lineno, in_function=in_function, for_types=for_types)
        inside = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        unguarded = node.orelse if _guards_types(node) else []
        for child in ast.iter_child_nodes(node):
            types = for_types or (_guards_types(node) and child not in unguarded)
            yield from visit(child, inside, types)

    yield from visit(ast.parse(source), False, False)


def _targets(node, package):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = list(package[: len(package) - node.level + 1]) if node.level else []
        base += [node.module] if node.module else []
        return [".".join([*base, alias.name]) for alias in node.names]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = getattr(node.func, "attr", getattr(node.func, "id", None))
        if called in {"import_module", "__import__"}:
            return [str(node.args[0].value)]
    return []


def _guards_types(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _room(path: str) -> str:
    return Path(path).with_suffix("").parts[0]


def upward_imports(source: str, path: str) -> list[str]:
    """Imports of bayeslmm that do not go down, types included; a room without a floor is one too."""
    room = _room(path)
    if room in TOP:
        return []
    if room in LEAVES:
        allowed = LEAVES[room] | {room}
    elif room in FLOORS:
        allowed = {*FLOORS[: FLOORS.index(room) + 1], *LEAVES}
    else:
        return [f"{path}: {room} has no floor in the plan"]
    found = []
    for imported in imports(source, path):
        library, *inner = imported.target.split(".")
        if library == "bayeslmm" and (inner[:1] or ["bayeslmm"])[0] not in allowed:
            found.append(f"{path}:{imported.line} {room} imports {imported.target}")
    return found


def misplaced_heavy_imports(source: str, path: str) -> list[str]:
    """Heavy libraries imported outside their door, or inside it at module level."""
    found = []
    for imported in imports(source, path):
        library = imported.target.split(".")[0]
        if library not in DOORS or imported.for_types:
            continue
        if not path.startswith(DOORS[library]):
            found.append(f"{path}:{imported.line} {library} belongs in {', '.join(DOORS[library])}")
        elif not imported.in_function:
            found.append(f"{path}:{imported.line} {library} must be imported inside a function")
    return found


def _modules():
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", _modules())
@pytest.mark.parametrize("check", [upward_imports, misplaced_heavy_imports])
def test_every_module_keeps_the_plan(check, path):
    assert check((PACKAGE / path).read_text(encoding="utf-8"), path) == []


def test_the_modules_are_found():
    assert {"errors.py", "covariances/template.py", "engine/pls.py", "datasets/__init__.py"} <= set(_modules())


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("design/design.py", "from ..engine import pls"),
        ("design/design.py", "from ..engine.pls import solve"),
        ("design/design.py", "from .. import engine"),
        ("design/design.py", "import bayeslmm.engine.pls as pls"),
        ("design/design.py", "import bayeslmm"),
        ("design/design.py", "from bayeslmm import Model"),
        ("engine/reml.py", "def f():\n    from ..results.point import PointFit"),
        ("engine/reml.py", "if TYPE_CHECKING:\n    from ..results.point import PointFit"),
        ("engine/reml.py", "def f():\n    import_module('bayeslmm.results.point')"),
        ("results/tidy.py", "from ..model_comparison import anova"),
        ("show/plots/ranef.py", "from ...model import Model"),
        ("show/plots/ranef.py", "from ... import __main__"),
        ("datasets/__init__.py", "from ..formulas import formula"),
        ("errors.py", "from . import datasets"),
        ("utils.py", ""),
    ],
)
def test_an_import_that_goes_up_is_caught(path, source):
    assert len(upward_imports(source, path)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("engine/pls.py", "from . import elimination\nfrom ..covariances.template import Template\nimport numpy"),
        ("engine/pls.py", "from ..errors import FitError\nfrom .. import errors"),
        ("show/plots/ranef.py", "from ..text import table\nfrom ...results import tidy\nfrom . import style"),
        ("model.py", "from .show import text\nfrom . import datasets"),
        ("datasets/__init__.py", "from ..errors import DataError"),
        ("__main__.py", "from . import Model\nfrom .show.text import summary"),
        ("__init__.py", "from .model import Model"),
    ],
)
def test_an_import_that_goes_down_is_allowed(path, source):
    assert upward_imports(source, path) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("engine/pymc_model.py", "import pymc as pm"),
        ("engine/pymc_model.py", "try:\n    import nutpie\nexcept ImportError:\n    nutpie = None"),
        ("engine/pymc_model.py", "class A:\n    import pytensor.tensor as pt"),
        ("engine/pymc_model.py", "if TYPE_CHECKING:\n    x: int\nelse:\n    import pymc"),
        ("engine/reml.py", "def f():\n    import pymc"),
        ("engine/reml.py", "def f():\n    import_module('pymc')"),
        ("priors/priors.py", "def f():\n    from pymc import Normal"),
        ("formulas/formula.py", "def f():\n    import formulae"),
        ("design/design.py", "from formulae.terms import Model"),
        ("results/posterior.py", "def f():\n    import matplotlib.pyplot as plt"),
        ("results/posterior.py", "from arviz_stats import summary"),
        ("pooling/pooling.py", "def f():\n    import arviz as az"),
        ("show/text.py", "import matplotlib"),
        ("__init__.py", "def f():\n    import arviz"),
    ],
)
def test_a_heavy_import_in_the_wrong_place_is_caught(path, source):
    assert len(misplaced_heavy_imports(source, path)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("engine/pymc_model.py", "def f():\n    import pymc as pm"),
        ("engine/joint_nuts.py", "def f():\n    import nutpie"),
        ("engine/pymc_model.py", "class A:\n    def f(self):\n        import pytensor.tensor as pt"),
        ("results/posterior.py", "if TYPE_CHECKING:\n    import pymc\ndef f():\n    import arviz as az"),
        ("show/plots/ranef.py", "def f():\n    import matplotlib.pyplot as plt, arviz_plots"),
        ("formulas/expressions.py", "def f():\n    from formulae import design_matrices"),
    ],
)
def test_a_heavy_import_through_its_door_is_allowed(path, source):
    assert misplaced_heavy_imports(source, path) == []


def _picture() -> dict[str, list[str]]:
    """Modules that the picture in docs/architecture.md names, by room."""
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    rooms: dict[str, list[str]] = {}
    room = ""
    for line in text.splitlines():
        if named := re.match(r"  (\w+)/ ", line):
            room = named[1]
        elif re.match(r"  \w", line):
            room = ""
        rooms.setdefault(room, []).extend(re.findall(r"\b\w+\.py\b", line))
    return rooms


def test_the_picture_of_the_house_shows_every_module_where_it_stands():
    stand: dict[str, set[str]] = {}
    for path in _modules():
        room, _, module = path.rpartition("/")
        if module != "__init__.py" and room not in ("cli", ""):
            stand.setdefault(room, set()).add(module)
    drawn = {room: set(modules) - {"__init__.py"} for room, modules in _picture().items() if room in stand}
    datasets = {"datasets": set()}
    assert {**datasets, **drawn} == {**datasets, **stand}


def test_the_floors_are_those_of_the_picture():
    rooms = [room for room in _picture() if room]
    assert [room for room in rooms if room in FLOORS] == [floor for floor in FLOORS if floor != "model"]


def _imported_modules(path: str, modules: set[str]) -> set[str]:
    source = (PACKAGE / path).read_text(encoding="utf-8")
    inner = {i.target.removeprefix("bayeslmm.") for i in imports(source, path)}
    return {name for name in inner | {name.rpartition(".")[0] for name in inner} if name in modules}


def test_modules_do_not_import_each_other():
    dotted = {path.removesuffix(".py").replace("/", "."): path for path in _modules()}
    graph = {name: _imported_modules(path, set(dotted)) for name, path in dotted.items()}

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for name in graph[waiting.pop()] - seen:
                seen.add(name)
                waiting.append(name)
        return seen

    reach = {name: reached(name) for name in graph}
    circles = {frozenset(b for b in reach[a] if a in reach[b]) for a in graph if a in reach[a]}
    assert sorted(map(sorted, circles)) == []
