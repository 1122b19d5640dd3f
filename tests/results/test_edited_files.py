"""Files that were edited: whatever the description or an array says, a file loads to the same fit or is refused."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import h5py
import numpy as np
import pytest

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.results import storage

from .test_storage import SHORT, table

pytestmark = pytest.mark.filterwarnings("ignore::bayeslmm.errors.BayesLMMWarning")

BAD: tuple[Any, ...] = (
    None,
    True,
    0,
    5,
    -1,
    -1.5,
    1e15,
    10**15,
    10**400,
    float("nan"),
    float("inf"),
    "",
    "1",
    "y ~ x",
    "nothing",
    [],
    [1, "a"],
    [[]],
    {},
    {"a": 1},
    [{}],
    [None],
)
PRIORS = {"x": blm.Prior("Normal", mu=0, sigma=1), ("sd", "g"): blm.Prior("HalfNormal", sigma=1)}
EVERY = 29  # of the edits, prime to their number at a place: each place and each value has its turn
FITS = {
    "reml": lambda: blm.lmer("y ~ x + (x | kind)", table()),
    "exact": lambda: blm.Model("y ~ x + (x | g)", table(), priors=PRIORS).fit(**SHORT),
    "nuts": lambda: blm.Model("k ~ x + (1 | name)", table(), family="poisson").fit(
        **SHORT, centring={"name": 0.5}, target_accept=0.9
    ),
}


@cache
def fit_of(kind: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.BayesLMMWarning)
        return FITS[kind]()


def printed(fit: Any) -> str:
    """The estimates, as tables print them; and that other words of the fit can be printed."""
    str(fit.summary()), repr(fit), fit.verdict
    if hasattr(fit, "settings"):
        str(fit.priors), repr(fit.settings)
    return "\n".join(str(getattr(fit, verb)()) for verb in ("fixef", "ranef", "variance_components"))


@pytest.fixture(scope="module", params=FITS)
def original(request, tmp_path_factory):
    """A saved fit, its path, and what it prints."""
    path = tmp_path_factory.mktemp("edited") / "fit.nc"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.BayesLMMWarning)
        blm.save(fit_of(request.param), path)
        return path, printed(fit_of(request.param))


def places(about: Any) -> Iterator[tuple[Any, ...]]:
    """The path of every value in nested objects and lists."""
    pairs = about.items() if isinstance(about, dict) else enumerate(about) if isinstance(about, list) else ()
    for key, value in pairs:
        yield (key,)
        yield from ((key, *rest) for rest in places(value))


def edits(text: str) -> Iterator[tuple[str, Any]]:
    """Every value of the description replaced by every bad one, left out, and joined by a stranger."""
    for place in list(places(json.loads(text))):
        for bad in (*BAD, "left out", "joined", "longer"):
            about = json.loads(text)
            parent = about
            for key in place[:-1]:
                parent = parent[key]
            value = parent[place[-1]]
            if bad == "left out":
                del parent[place[-1]]
            elif bad == "joined":
                if not isinstance(parent, dict):
                    continue
                parent["stranger"] = value
            elif bad == "longer":
                if not isinstance(value, list):
                    continue
                parent[place[-1]] = value + (value[-1:] or [0])
            else:
                parent[place[-1]] = bad
            yield f"{'.'.join(map(str, place))}: {bad!r}", about


def what_is_wrong(path: Any, expected: str) -> str:
    """What is wrong with how an edited file is met; nothing, if it is refused or prints the same estimates."""
    try:
        return "" if printed(blm.load(path)) == expected else "it prints other estimates"
    except errors.StorageError as problem:
        return "" if str(path) in str(problem) else str(problem)
    except Exception as problem:
        return f"{type(problem).__name__}: {problem}"


def changed(path: Any, where: str, make: Any) -> None:
    """Replace an array of a file by what a function makes of it."""
    with h5py.File(path, "r+") as file:
        values = make(file[where][()])
        attributes = dict(file[where].attrs)
        del file[where]
        file[where] = values
        scale = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_Netcdf4Dimid", "_Netcdf4Coordinates"}
        for name, value in attributes.items():
            if name not in scale:
                file[where].attrs[name] = value


ARRAYS = {
    "longer": lambda a: np.concatenate([a, a[:1]]),
    "shorter": lambda a: a[:-1],
    "empty": lambda a: a[:0],
    "another axis": lambda a: a[..., None],
    "a number": lambda a: a.ravel()[0],
    "infinite": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 0, np.inf, a),
    "not a number": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 0, np.nan, a),
    "negative": lambda a: -1.0 - np.abs(a),
    "huge": lambda a: a * 1e30,
    "doubled": lambda a: 2.0 * a,
    "integers": lambda a: a.astype(np.int16),
    "text": lambda a: np.full(a.shape, b"text"),
    "complex": lambda a: a.astype(complex),
}


@pytest.mark.parametrize("how", ARRAYS)
def test_every_array_of_a_point_fit(tmp_path, how):
    """Numbers of its rows or estimates that were changed are told by what they say of each other."""
    blm.save(fit_of("reml"), tmp_path / "whole.nc")
    expected, wrong = printed(fit_of("reml")), []
    with h5py.File(tmp_path / "whole.nc") as file:
        names = [f"{group}/{name}" for group in (storage.DATA, storage.SOLUTION) for name in file[group]]
    names = [name for name in names if not name.rpartition("/")[2].strip("_").startswith("n")]
    for name in names:
        copy = shutil.copy(tmp_path / "whole.nc", tmp_path / "fit.nc")
        try:
            changed(copy, name, ARRAYS[how])
        except (TypeError, ValueError, IndexError):  # labels have no numbers
            continue
        problem = what_is_wrong(copy, expected)
        if problem:
            wrong.append(f"{name}: {problem}")
    assert len(names) > 12 and not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((n, how) for n in ("beta", "sd_g", "b_g", "cor_g", "sigma") for how in ("infinite", "text", "integers")),
        ("sd_g", "negative"),
        ("sigma", "negative"),
        ("cor_g", "huge"),
        ("beta", "another axis"),
        ("b_g", "shorter"),
    ],
)
def test_draws_that_are_none_of_the_model(tmp_path, name, how):
    blm.save(fit_of("exact"), tmp_path / "fit.nc")
    changed(tmp_path / "fit.nc", f"posterior/{name}", ARRAYS[how])
    with pytest.raises(errors.StorageError, match=r"fit\.nc"):
        blm.load(tmp_path / "fit.nc")


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ I(x ** 2) + (x | g)",
        "y ~ x + (1 | g)",
        "y ~ x + (x || g)",
        "y ~ 0 + x + (x | g)",
        "y ~ x + (x | x)",
        "x ~ y + (y | g)",
        "np.exp(y) ~ x + (x | g)",
    ],
)
@pytest.mark.parametrize("kind", ["point", "posterior"])
def test_a_formula_of_another_model(tmp_path, formula, kind):
    fit = blm.lmer("y ~ x + (x | g)", table()) if kind == "point" else fit_of("exact")
    blm.save(fit, tmp_path / "fit.nc")
    with h5py.File(tmp_path / "fit.nc", "r+") as file:
        file.attrs["bayeslmm"] = json.dumps(json.loads(file.attrs["bayeslmm"]) | {"formula": formula})
    with pytest.raises(errors.StorageError, match=r"fit\.nc"):
        blm.load(tmp_path / "fit.nc")


def test_every_value_of_the_description(original, tmp_path):
    path, expected = original
    copy = shutil.copy(path, tmp_path / "fit.nc")
    with h5py.File(path) as file:
        text = file.attrs["bayeslmm"]
    every = int(os.environ.get("EVERY", EVERY))
    tried = list(edits(text))[::every]
    wrong = []
    for what, about in tried:
        with h5py.File(copy, "r+") as file:
            file.attrs["bayeslmm"] = json.dumps(about)
        problem = what_is_wrong(copy, expected)
        if problem:
            wrong.append(f"{what}: {problem}")
    assert len(tried) > 40 and not wrong, "\n".join(wrong)


@pytest.mark.parametrize("matrices", [1e15, None, {"a": 1}, [3], "A"])
def test_matrices_that_are_no_list_of_matrices_are_refused(matrices, tmp_path):
    labels = [f"l{k}" for k in range(6)]
    data = table().assign(level=np.resize(labels, len(table())))
    model = blm.Model("y ~ x + (1 | gr(level, cov=A))", data, matrices={"A": (labels, np.eye(6) + 0.2)})
    blm.save(model.fit_reml(), tmp_path / "fit.nc")
    with h5py.File(tmp_path / "fit.nc", "r+") as file:
        about = json.loads(file.attrs["bayeslmm"])
        file.attrs["bayeslmm"] = json.dumps({**about, "matrices": matrices})
    with pytest.raises(errors.StorageError):
        blm.load(tmp_path / "fit.nc")
