"""What installs: versions that agree, names that editors see, an import that needs no POSIX."""

import ast
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
