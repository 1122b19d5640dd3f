"""What a family and a covariance structure cost: in a copy of the package each is added as one file and its lines.

The files stand in tests/exercises as they would in their rooms. The copy runs the laws of both rooms over them, fits
and prints; without compiling, which takes longer than all of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bayeslmm

TESTS, PACKAGE = Path(__file__).parent, Path(bayeslmm.__file__).parent
FAMILY = {  # file of the room, its table, and what is written there before what
    "room": "families",
    "file": "exponential.py",
    "lines": {
        "from .gamma import": "from .exponential import Exponential\n",
        "        Gamma,\n": "        Exponential,\n",
        "gamma  ": "exponential       log, inverse, identity                      none            variance μ²\n",
    },
}
STRUCTURE = {
    "room": "covariances",
    "file": "moving_average.py",
    "lines": {
        "from .structure import": "from .moving_average import MovingAverage\n",
        "CompoundSymmetry, Auto": "MovingAverage, ",
    },
}
USED = """
import warnings
import numpy as np, pandas as pd
import bayeslmm as blm
warnings.simplefilter("ignore")
rng = np.random.default_rng(3)
g, t = np.repeat(np.arange(12), 6), np.tile(np.arange(3), 24)
d = pd.DataFrame({"g": [f"g{k}" for k in g], "t": [f"t{k}" for k in t], "x": rng.normal(size=72)})
d["y"] = rng.exponential(np.exp(0.5 + 0.3 * d.x + rng.normal(0, 0.6, 12)[g]))
"""
OF_FAMILY = """
m = blm.Model("y ~ x + (1 | g)", d, family="exponential")
fit = m.fit_ml()
assert abs(fit.fixef().loc["x", "estimate"] - 0.3) < 0.4 and np.isfinite(fit.loglik)
assert "xponential" in str(fit.summary()) and "Exponential" in str(m.equations())
assert len(fit.predict(d.head(3))) == 3 and np.isfinite(fit.residuals(kind="deviance")).all()
blm.save(fit, "fit.nc")
assert blm.load("fit.nc").loglik == fit.loglik
assert "exponential" in str(m.pymc["y"].owner.op).lower()
"""
OF_STRUCTURE = """
u = rng.normal(size=(12, 4))
d["z"] = (u[:, 1:] + 0.8 * u[:, :-1])[g, t] + rng.normal(0, 0.3, 72)
m = blm.Model("z ~ 1 + ma1(0 + t | g)", d)
fit = m.fit_reml()
rho = fit.var_corr()
assert "ma1" in str(fit.summary()) or "ma1" in str(m.equations())
covariance = next(iter(rho.values())).to_numpy()
np.testing.assert_allclose(covariance[2, 0], 0.0, atol=1e-9)
assert 0.1 < covariance[1, 0] / np.sqrt(covariance[0, 0] * covariance[1, 1]) < 0.7
assert len(fit.predict(d.head(3))) == 3
blm.save(fit, "fit.nc")
assert blm.load("fit.nc").loglik == fit.loglik
"""


def built(exercise, folder):
    """A copy of the package with the file in its room, and its lines in the table."""
    shutil.copytree(PACKAGE, folder / "bayeslmm", ignore=shutil.ignore_patterns("__pycache__"))
    room = folder / "bayeslmm" / exercise["room"]
    shutil.copy(TESTS / "exercises" / exercise["file"], room)
    table = (room / "__init__.py").read_text()
    for before, line in exercise["lines"].items():
        assert table.count(before) == 1, before
        table = table.replace(before, line + before)
    (room / "__init__.py").write_text(table)


def run(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": str(folder), "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(
    ("exercise", "name", "use"),
    [(FAMILY, "exponential", OF_FAMILY), (STRUCTURE, "ma1", OF_STRUCTURE)],
    ids=["family", "structure"],
)
def test_one_file_and_its_lines_in_the_table_are_all(exercise, name, use, tmp_path):
    built(exercise, tmp_path)
    run(tmp_path, "-c", USED + use)
    laws = TESTS / exercise["room"] / "test_laws.py"
    pytest_options = ("-q", "-p", "no:cacheprovider", "-c", os.devnull, "--import-mode=append", "-k", name)
    assert "passed" in run(tmp_path, "-m", "pytest", *pytest_options, str(laws))
