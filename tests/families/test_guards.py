"""Every family has every guard: a table of families by data that have gone wrong in one of them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.families import FAMILIES as ALL

N = 24
FAMILIES = {name: kind for name, kind in ALL.items() if name != "beta_binomial"}  # which takes no single trials
DRAWS = {"draws": 40, "tune": 40, "chains": 2, "random_seed": 1, "progressbar": False}
POSITIVE = ("lognormal", "gamma", "inverse_gaussian", "weibull")
COUNTS = tuple(name for name, kind in FAMILIES.items() if kind.is_count)
YES_NO = ("bernoulli", "binomial", "ordinal")


def table(family: str) -> pd.DataFrame:
    """Responses (N,) that a family can have, with six levels of g."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(6), 4)
    eta = rng.normal(size=6)[g] * 0.5 + rng.normal(size=N) * 0.5
    y = {
        "beta": 1.0 / (1.0 + np.exp(-eta)),
        "bernoulli": (eta > 0.0).astype(float),
        "binomial": (eta > 0.0).astype(float),
        "ordinal": 1.0 + (eta > -0.4) + (eta > 0.4),
        **dict.fromkeys(POSITIVE, np.exp(eta)),
        **dict.fromkeys(COUNTS, np.floor(np.exp(eta + 1.0)) + 1.0),
    }.get(family, eta)
    return pd.DataFrame({"y": y, "x": rng.normal(size=N), "g": [f"g{i}" for i in g], "row": range(N)})


def fitted(family: str, data: pd.DataFrame, formula: str = "y ~ x + (1 | g)", **given: object) -> blm.Posterior:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.BayesLMMWarning)  # forty draws are not for use
        return blm.Model(formula, data, family=family, **given).fit(**DRAWS)


def is_finite(fit: blm.Posterior) -> bool:
    return bool(np.isfinite(fit.fixef()["mean"]).all())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_constant_response(family):
    value = 1.0 if family not in ("beta",) else 0.25
    data = table(family).assign(y=value)
    if family in (*COUNTS, "bernoulli", "binomial"):  # bounded likelihood: proper priors do
        assert is_finite(fitted(family, data))
        if FAMILIES[family].least == 0.0:
            assert is_finite(fitted(family, data.assign(y=0.0)))
        return
    with pytest.raises(errors.DataError, match="nothing to explain"):
        fitted(family, data)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.WeaklyIdentifiedWarning")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("formula", ["y ~ x + (1 | row)", "y ~ x + (x | row)", "y ~ x + (1 | g) + (1 | row)"])
def test_one_row_a_level(family, formula):
    if family in ("gaussian", "student_t", "lognormal", "exgaussian", *YES_NO):
        with pytest.raises(errors.UnidentifiedTermError, match=f"{N} levels for {N} rows"):
            blm.Model(formula, table(family), family=family)
    else:
        blm.Model(formula, table(family), family=family)


def test_one_row_a_level_of_several_trials_is_overdispersion():
    data = table("binomial").assign(m=5)
    blm.Model("p(y, m) ~ x + (1 | row)", data, family="binomial")
    with pytest.raises(errors.UnidentifiedTermError, match="same probabilities"):
        blm.Model("p(y, m) ~ x + (1 | row)", data.assign(m=1), family="binomial")


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.WeaklyIdentifiedWarning")
@pytest.mark.parametrize("family", ["bernoulli", "ordinal"])
def test_dummies_of_single_rows_are_told_no_better(family):
    data = table(family).assign(f=["u", "v"] * (N // 2))
    for formula in ("y ~ x + (0 + f | row)", "y ~ x + (f | row)"):
        with pytest.raises(errors.UnidentifiedTermError, match="same probabilities"):
            blm.Model(formula, data, family=family)
    # variance 1 + s²x² of the latent variable: s is told by how it grows with x
    blm.Model("y ~ x + (0 + x | row)", data, family=family)


@pytest.mark.parametrize("family", FAMILIES)
def test_missing_infinite_and_impossible_responses(family):
    data = table(family)
    with pytest.warns(errors.DroppedRowsWarning, match="1 of 24 rows"):
        model = blm.Model("y ~ x + (1 | g)", data.assign(y=data["y"].where(data["row"] != 3)), family=family)
    assert model.design.n == N - 1
    with pytest.raises(errors.DataError):
        blm.Model("y ~ x + (1 | g)", data.assign(y=data["y"].where(data["row"] != 3, np.inf)), family=family)
    if family in ("gaussian", "student_t", "exgaussian"):
        return
    impossible = 1.5 if family in ("beta", "bernoulli", "ordinal", "binomial", *COUNTS) else -1.0
    with pytest.raises(errors.DataError, match="'y'"):
        blm.Model("y ~ x + (1 | g)", data.assign(y=data["y"].where(data["row"] != 3, impossible)), family=family)


def test_no_trials():
    data = table("binomial").assign(m=3.0)
    data.loc[3, ["y", "m"]] = 0.0  # says nothing, and breaks nothing
    assert is_finite(fitted("binomial", data, "p(y, m) ~ x + (1 | g)"))
    with pytest.raises(errors.DataError):
        blm.Model("p(y, m) ~ x + (1 | g)", data.assign(m=-1.0), family="binomial")


def test_single_trials_tell_nothing_of_how_probabilities_vary():
    data = table("binomial").assign(m=1)
    for left in ("y", "p(y, m)"):
        with pytest.raises(errors.DataError, match="no row has more than one trial.*phi.*bernoulli"):
            blm.Model(f"{left} ~ x + (1 | g)", data, family="beta_binomial")


@pytest.mark.parametrize("family", FAMILIES)
def test_weights(family):
    data = table(family).assign(w=2.0)
    if family in ("gaussian", "student_t", "lognormal", "binomial"):
        blm.Model("y ~ x + (1 | g)", data, family=family, weights="w")
    else:
        with pytest.raises(errors.NotAvailableError, match="weights with family"):
            blm.Model("y ~ x + (1 | g)", data, family=family, weights="w")
    for bad in (0.0, -1.0, np.inf):
        with pytest.raises((errors.DataError, errors.NotAvailableError)):
            blm.Model("y ~ x + (1 | g)", data.assign(w=bad), family=family, weights="w")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [5.0, 1e6])
def test_huge_offsets(family, size):
    """A fit with finite numbers, or an error of ours."""
    data = table(family).assign(o=np.linspace(-size, size, N))
    try:
        fit = fitted(family, data, "y ~ x + offset(o) + (1 | g)")
    except errors.BayesLMMError:
        return
    assert is_finite(fit)
