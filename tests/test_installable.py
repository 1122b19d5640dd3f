"""What installs: versions that agree, names that editors see, an import that needs no POSIX."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import bayeslmm as blm

ROOT = Path(__file__).resolve().parents[1]


def test_versions_agree():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r'^version = "(.*)"', project, re.M)[1] == blm.__version__
    assert re.search(r"^version: (.*)", citation, re.M)[1] == blm.__version__


def test_stubs_name_what_the_package_has():
    tree = ast.parse((ROOT / "bayeslmm" / "__init__.pyi").read_text(encoding="utf-8"))
    homes = {
        alias.asname: node.module for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert homes.pop("errors") is None and homes == blm._HOME
    assert (ROOT / "bayeslmm" / "py.typed").exists()


def test_the_help_of_the_package_shows_every_public_name_and_verbs_that_exist():
    from bayeslmm.results.point import PointFit
    from bayeslmm.results.posterior import PosteriorFit

    named = set(re.findall(r"`(\w+)`", blm.__doc__))
    missing = set(blm.__all__) - named - {"__version__"}
    assert not missing, missing
    tables = {"to_markdown", "to_latex"}
    unknown = {n for n in named - set(blm.__all__) - tables if not (hasattr(PointFit, n) or n in dir(PosteriorFit))}
    assert not unknown - {"idata"}


def test_the_reference_lists_every_public_name():
    listed = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8").split()
    assert not set(blm.__all__) - {"__version__", "errors"} - set(listed)


def test_attributes_of_a_class_stand_one_by_one():
    """Pages of classes show "a, b : float" as a type (a,) of b."""
    import importlib

    listed = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8").split()
    paths = [path.split(".") for path in listed if re.fullmatch(r"[a-z_]+(\.[a-z_]+)*\.[A-Z]\w+", path)]
    classes = [getattr(importlib.import_module(".".join(["bayeslmm", *home])), name) for *home, name in paths]
    sections = {each.__name__: re.findall(r"Attributes\n-+\n(.*)", each.__doc__, re.S) for each in classes}
    assert any(sections.values())
    for name, section in sections.items():
        assert not re.search(r"^\w+, \w+.* : ", "".join(section).replace("\n    ", "\n"), re.M), name


def test_a_windows_machine_imports_every_name_and_keeps_downloads_where_its_programs_do(tmp_path):
    """What can be tried elsewhere: the platform's name, its environment, and no module of POSIX."""
    code = (
        "import sys, os\n"
        "import numpy, pandas, scipy.optimize, scipy.linalg, numba, formulae, xarray  # are those of this machine\n"
        "for name in ('fcntl', 'resource', 'pwd', 'grp', 'termios'):\n"
        "    sys.modules[name] = None\n"
        "sys.platform = 'win32'\n"
        "import bayeslmm as blm\n"
        "for name in blm.__all__:\n"
        "    getattr(blm, name)\n"
        "from bayeslmm.datasets import _cache_folder\n"
        "print(_cache_folder())\n"
    )
    kept = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    environment = {**kept, "LOCALAPPDATA": str(tmp_path), "USERPROFILE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == tmp_path / "bayeslmm" / "Cache"


def test_importing_and_fitting_need_no_posix():
    """As on Windows, where these modules are missing."""
    code = (
        "import sys\n"
        "for name in ('fcntl', 'resource', 'pwd', 'grp', 'termios', 'posix_ipc'):\n"
        "    sys.modules[name] = None\n"
        "import bayeslmm as blm\n"
        "for name in blm.__all__:\n"
        "    getattr(blm, name)\n"
        "import tempfile, pathlib\n"
        "fit = blm.lmer('Reaction ~ Days + (1 | Subject)', blm.load_dataset('sleepstudy'))\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    blm.save(fit, pathlib.Path(folder, 'fit.nc'))\n"
        "    assert blm.load(pathlib.Path(folder, 'fit.nc')).criterion == fit.criterion\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
