"""Compiled code is made of the sources as they are: what was kept of others is compiled anew."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bayeslmm
from bayeslmm.tools import compiling

PACKAGE = Path(bayeslmm.__file__).parent
CALLER = "bayeslmm.engine.caller"
VALUE = f"from {CALLER} import value; import numpy as np; x = np.zeros(1); value(x); print(x[0])"


@pytest.fixture
def package(tmp_path):
    """A copy of the package with a compiled function that calls one of another file, and nothing compiled."""
    shutil.copytree(PACKAGE, tmp_path / "bayeslmm", ignore=shutil.ignore_patterns("*.nb?", "__pycache__"))
    engine = tmp_path / "bayeslmm/engine"
    head = "from ..tools.compiling import compiled\n\n\n"
    (engine / "callee.py").write_text(head + "@compiled\ndef term():\n    return 1.0\n")
    (engine / "caller.py").write_text(
        "from .callee import term\n" + head + "@compiled\ndef value(x):\n    x[0] = term()\n"
    )
    return tmp_path


def run(package, code):
    """What a process that uses this copy of the package prints, and what it warns of."""
    environment = {**os.environ, "PYTHONPATH": str(package), "NUMBA_CACHE_DIR": str(package / "cache")}
    process = subprocess.run([sys.executable, "-c", code], env=environment, cwd=package, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout.split(), process.stderr


def value(package):
    return float(run(package, VALUE)[0][0])


def kept(package):
    return {file: file.stat().st_mtime_ns for file in (package / "cache").rglob("caller.value*.nb?")}


def test_an_edit_of_what_is_called_reaches_the_caller(package):
    assert value(package) == 1.0
    files = kept(package)
    assert files and value(package) == 1.0 and kept(package) == files  # found, not compiled again
    callee = package / "bayeslmm/engine/callee.py"
    callee.write_text(callee.read_text().replace("1.0", "2.0"))
    assert value(package) == 2.0
    assert kept(package) != files


def test_another_version_of_the_package_compiles_anew(package):
    value(package)
    files = kept(package)
    init = package / "bayeslmm/__init__.py"
    init.write_text(init.read_text().replace(f'"{bayeslmm.__version__}"', '"99.0"'))
    assert value(package) == 1.0
    assert kept(package) != files


def test_what_was_compiled_from_other_sources_is_not_kept(package):
    value(package)
    [index] = (package / "cache").rglob("caller.value-*.nbi")
    folder = str(index.parent)
    assert not compiling.is_kept(folder, "caller.value")  # by this copy of the package, which has no caller.py
    index.write_bytes(b"nonsense")
    assert not compiling.is_kept(folder, "caller.value")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes")
def test_an_index_that_was_written_without_its_code_names_no_older_code(package):
    """As after an upgrade on a disk that is nearly full: numba writes the small index first."""
    value(package)
    (small,), (large,) = (
        [file.stat().st_size for file in kept(package) if file.suffix == end] for end in (".nbi", ".nbc")
    )
    callee = package / "bayeslmm/engine/callee.py"
    callee.write_text(callee.read_text().replace("1.0", "2.0"))
    most = (small + large) // 2
    printed, said = run(package, f"import resource as r; r.setrlimit(r.RLIMIT_FSIZE, ({most}, {most})); {VALUE}")
    assert printed == ["2.0"] and "cannot be kept" in said
    assert value(package) == 2.0


TWO = (
    f"import numpy as np; from {CALLER} import value\nfor kind in 'fd': x = np.zeros(2, kind); value(x[:1]); print(*x)"
)


def test_code_for_other_arguments_is_not_run(package):
    """Two processes that compile at once may give their files one name."""
    expected, _ = run(package, TWO)
    first, second = (file for file in sorted(kept(package)) if file.suffix == ".nbc")
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    assert run(package, TWO)[0] == expected == ["1.0", "0.0"] * 2


LINKED = f"""
import numpy as np; from {CALLER} import value; from bayeslmm.engine.callee import text_of
x = np.zeros(1); value(x); assert x[0] == 1.0
import numba
@numba.njit
def twice(x):
    value(x)
    x[0] *= 2.0
twice(x); assert x[0] == 2.0
assert text_of(3) == 1
"""


def test_kept_code_is_run_and_linked_into_what_is_compiled_later(package):
    """Also where it needs a symbol (the secret of hashes of text) that is defined with what numba compiles by."""
    callee = package / "bayeslmm/engine/callee.py"
    callee.write_text(
        callee.read_text() + "\n\n@compiled\ndef text_of(n):\n    return len({str(i % 1): i for i in range(n)})\n"
    )
    for _ in range(2):  # compiled, then kept
        run(package, LINKED)


def imported_names(tree):
    """What a file imports from the package itself: name -> file of the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield from ((alias.asname or alias.name, node) for alias in node.names)


@pytest.mark.parametrize("path", compiling.sources(), ids=lambda path: path.stem)
def test_what_compiled_code_holds_stands_in_files_that_are_stamped(path):
    """A constant or function of a file outside the stamp would stay as it was when that file changes."""
    if path == PACKAGE / "tools/compiling.py":
        return
    tree = ast.parse(path.read_text())
    stamped = {file.stem for file in compiling.sources()}
    outside = {
        name
        for name, node in imported_names(tree)
        if not {(node.module or name).split(".")[-1], name} & (stamped | {"compiling"})
    }
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and any("compiled" in ast.unparse(d) for d in function.decorator_list):
            used = {node.id for body in function.body for node in ast.walk(body) if isinstance(node, ast.Name)}
            assert not used & outside, f"{path.stem}.{function.name} holds {used & outside}"
