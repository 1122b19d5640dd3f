"""What the priors imply before any data are seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayeslmm as blm
from bayeslmm.design.build import build_design
from bayeslmm.design.priors import LKJ, Prior, resolve_priors
from bayeslmm.errors import InputError, PriorError
from bayeslmm.families import family_of
from bayeslmm.results.audit import _mean_and_sd, prior_audit, quantiles
from bayeslmm.results.prior_draws import prior_draws
from bayeslmm.results.variance import residual_variance


def frame(n=150, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return pd.DataFrame(
        {
            "y": 3.0 + 2.0 * x + rng.normal(size=n),
            "x": x,
            "g": np.arange(n) % 15,
            "h": rng.integers(0, 7, n),
            "count": rng.poisson(3.0, n),
            "positive": np.exp(rng.normal(size=n)),
            "share": rng.uniform(0.1, 0.9, n),
            "yes": rng.integers(0, 2, n),
            "grade": rng.integers(0, 3, n),
        }
    )


def audit(formula="y ~ x + (1 | g)", priors=None, *, data=None, family="gaussian", link=None, draws=1000, **options):
    design = build_design(formula, frame() if data is None else data, family=family_of(family, link))
    return prior_audit(design, resolve_priors(design, priors), draws=draws, **options)


def row(found, quantity, group="", term=""):
    t = found.table
    rows = t[(t["quantity"] == quantity) & (t["group"] == group) & (t["term"] == term)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_the_audit_of_the_schools_is_sensible():
    hsb = blm.load_dataset("hsb")
    found = audit("mathach ~ ses + (ses | school)", data=hsb, draws=4000)
    # |t₃| has quantiles 0.0682, 0.765 and 3.18; 4,000 draws put the median within 4 % (5 sds: 5 · 0.5/√4000/density)
    s = hsb["mathach"].std()
    sd = row(found, "sd", "school", "Intercept")
    assert sd["median"] == pytest.approx(0.765 * s, rel=0.08)
    assert sd["high"] == pytest.approx(3.18 * s, rel=0.15)
    assert sd["low"] == pytest.approx(0.0682 * s, rel=0.25)
    assert row(found, "sd", "school", "ses")["median"] == pytest.approx(0.765 * s / hsb["ses"].std(), rel=0.08)
    assert 0.5 < row(found, "icc")["median"] < 0.9  # two random terms against one residual
    shrinkage = row(found, "shrinkage", "school", "Intercept")
    sizes = hsb.groupby("school").size()
    assert shrinkage["remark"] == f"{sizes.median():g} rows"
    assert 0.0 < shrinkage["median"] < 0.1
    simulated, observed = row(found, "response", term="simulated"), row(found, "response", term="observed")
    assert simulated["low"] < observed["low"] < observed["high"] < simulated["high"]
    assert observed["median"] == pytest.approx(hsb["mathach"].median(), abs=0.01)
    assert row(found, "response_sd", term="observed")["median"] == pytest.approx(s)
    assert row(found, "response_mean", term="observed")["median"] == pytest.approx(hsb["mathach"].mean())
    assert found.remarks == ()
    assert list(found.table) == ["quantity", "group", "term", "low", "median", "high", "remark"]
    printed = str(found)
    assert max(map(len, printed.splitlines())) <= 100
    for needed in ("sd(ses | school)", "Nothing looks off", "do not depend on where predictors", "7,185 rows", "6.88"):
        assert needed in printed
    assert "<table" in found._repr_html_() and "sd(ses | school)" in found._repr_html_()


def test_intercept_and_residual_on_one_scale_give_an_icc_around_a_half():
    found = audit(draws=4000)
    # τ and σ have the same prior: the ICC is symmetric around 1/2.  Its density there is about 0.6, so the median's sd
    # is 0.5/√4000/0.6 = 0.013
    assert row(found, "icc")["median"] == pytest.approx(0.5, abs=0.065)
    assert row(found, "icc")["low"] == pytest.approx(1.0 - row(found, "icc")["high"], abs=0.01)


def test_shrinkage_and_icc_are_the_formulas_draw_by_draw():
    design = build_design("y ~ x + (1 | g)", frame())
    priors = resolve_priors(design)
    found = prior_audit(design, priors, draws=500, random_seed=5)
    drawn = prior_draws(design, priors, draws=500, random_seed=5)
    tau2, sigma2 = drawn["sd_g"][:, 0] ** 2, drawn["sigma"] ** 2
    for values, of in (
        (tau2 / (tau2 + sigma2), row(found, "icc")),
        (1.0 - tau2 / (tau2 + sigma2 / 10.0), row(found, "shrinkage", "g", "Intercept")),  # 150 rows, 15 levels
        (drawn["sigma"], row(found, "sigma")),
    ):
        exact = np.quantile(values, [0.05, 0.5, 0.95], method="inverted_cdf")
        np.testing.assert_allclose([of["low"], of["median"], of["high"]], exact, rtol=1e-9)


@pytest.mark.parametrize(
    ("formula", "family", "link"),
    [
        ("y ~ x + (1 | g)", "gaussian", None),
        ("y ~ x + (1 | g) + (1 | h)", "student_t", None),
        ("count ~ x + (1 | g)", "poisson", None),
        ("yes ~ x + (1 | g)", "bernoulli", "cloglog"),
        ("grade ~ x + (1 | g)", "ordinal", None),
        ("positive ~ x + (1 | g)", "gamma", "inverse"),
    ],
)
def test_a_constant_added_to_a_predictor_changes_nothing(formula, family, link):
    data = frame()
    here = audit(formula, data=data, family=family, link=link)
    there = audit(formula, data=data.assign(x=data["x"] + 1000.0), family=family, link=link)
    numbers = ["low", "median", "high"]
    # rounding of 1000 × slope: 1e-16 × 1000 × 10 of a linear predictor, more through an exponential
    np.testing.assert_allclose(there.table[numbers], here.table[numbers], rtol=1e-6, atol=1e-9)
    assert there.remarks == here.remarks and there.notes == here.notes
    doubled = audit(formula, data=data, family=family, link=link, random_seed=2)
    assert not np.allclose(doubled.table[numbers], here.table[numbers], rtol=1e-3, equal_nan=True)


def test_a_random_slope_far_from_zero_gets_a_remark():
    """Where a user's priors are of the model as written; defaults are stated at the predictor's mean."""
    data, written = frame(), {"cor": LKJ(2.0)}
    here = audit("y ~ x + (x | g)", written, data=data)
    there = audit("y ~ x + (x | g)", written, data=data.assign(x=data["x"] + 1000.0))
    assert here.remarks == ()
    assert any("x lies" in r and "center(x)" in r for r in there.remarks)
    # the priors are the same; what they imply for groups at the observed rows is not
    for term in ("Intercept", "x"):
        assert row(there, "sd", "g", term)["median"] == pytest.approx(row(here, "sd", "g", term)["median"])
    assert row(there, "icc")["median"] > row(here, "icc")["median"]
    centred = audit("y ~ x + (center(x) | g)", written, data=data.assign(x=data["x"] + 1000.0))
    assert centred.remarks == ()  # the remedy works
    assert "With random slopes the spread of groups does" in there.notes[-1]


def test_default_priors_imply_the_same_wherever_a_random_slope_is_measured_from():
    data = frame()
    near = audit("y ~ x + (center(x) | g)", data=data)
    far = audit("y ~ x + (x | g)", data=data.assign(x=data["x"] + 1000.0))
    assert far.remarks == () and "stated at their means" in far.notes[-1]
    numbers = ["low", "median", "high"]
    for quantity, term in (("icc", ""), ("response_sd", "simulated"), ("response", "simulated")):
        # rounding of 1000 slopes, which cancel
        ours, theirs = (row(found, quantity, term=term)[numbers].astype(float) for found in (far, near))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


ABSURD = [
    ({"sd": Prior("HalfNormal", sigma=1000)}, "gaussian", "y", "sd(Intercept | g) reaches"),
    ({"sd": Prior("HalfNormal", sigma=1000)}, "gaussian", "y", "nearly all of the variance"),
    ({"sd": Prior("HalfNormal", sigma=0.001)}, "gaussian", "y", "hardly any of the variance"),
    ({"Intercept": Prior("Normal", mu=0, sigma=1e4)}, "gaussian", "y", "10 times as wide"),
    ({"Intercept": Prior("Normal", mu=0, sigma=400)}, "poisson", "count", "10 times as wide"),
    ({"Intercept": Prior("Normal", mu=0, sigma=50)}, "bernoulli", "yes", "near-certain"),
]


@pytest.mark.parametrize(("priors", "family", "response", "says"), ABSURD)
def test_absurd_priors_get_a_remark(priors, family, response, says):
    found = audit(f"{response} ~ x + (1 | g)", priors, family=family)
    assert any(says in remark for remark in found.remarks)
    assert "Worth a look" in str(found) and "Nothing looks off" not in str(found)
    assert says in " ".join(str(found).split())
    mild = {
        "Intercept": Prior("Normal", mu=1 if family == "poisson" else 0, sigma=0.5),
        "x": Prior("Normal", mu=0, sigma=0.3),
        "sd": Prior("HalfNormal", sigma=1.0),
    }
    assert audit(f"{response} ~ x + (1 | g)", mild, family=family).remarks == ()


def test_impossible_responses_are_counted():
    found = audit("positive ~ x + (1 | g)", family="gamma", link="inverse")
    assert any("of the simulated responses are impossible" in remark for remark in found.remarks)
    assert not any("impossible" in r for r in audit("positive ~ x + (1 | g)", family="gamma").remarks)


def test_improper_priors_are_named():
    with pytest.raises(PriorError, match=r"sigma, sd|sd\(Intercept \| g\), sigma"):
        audit(priors={"sigma": blm.flat(), "sd": blm.flat()})


@pytest.mark.parametrize("ci_prob", [0.0, 1.0, 2])
def test_ci_prob_is_a_probability(ci_prob):
    with pytest.raises(InputError, match="ci_prob"):
        audit(ci_prob=ci_prob)


def test_ci_prob_moves_the_outer_columns():
    wide, narrow = audit(ci_prob=0.9), audit(ci_prob=0.5)
    assert row(narrow, "sigma")["low"] > row(wide, "sigma")["low"]
    assert row(narrow, "sigma")["high"] < row(wide, "sigma")["high"]
    assert row(narrow, "sigma")["median"] == row(wide, "sigma")["median"]
    assert "25 %" in str(narrow) and "5 %" in str(wide)


def test_binomial_groups_count_trials():
    cbpp = blm.load_dataset("cbpp")
    found = audit("p(incidence, size) ~ period + (1 | herd)", data=cbpp, family="binomial")
    trials = cbpp.groupby("herd")["size"].sum().median()
    assert row(found, "shrinkage", "herd", "Intercept")["remark"] == f"{trials:g} trials"
    for term in ("simulated", "observed"):
        response = row(found, "response", term=term)
        assert 0.0 <= response["low"] < response["high"] <= 1.0
    assert row(found, "response_mean", term="observed")["median"] == pytest.approx(
        (cbpp["incidence"] / cbpp["size"]).mean()
    )
    assert max(map(len, str(found).splitlines())) <= 100


@pytest.mark.parametrize(
    ("family", "link", "response", "expected"),
    [
        ("bernoulli", "logit", "yes", np.pi**2 / 3.0),
        ("bernoulli", "probit", "yes", 1.0),
        ("bernoulli", "cloglog", "yes", np.pi**2 / 6.0),
        ("ordinal", "logit", "grade", np.pi**2 / 3.0),
        ("gamma", "log", "positive", np.log1p(1.0 / 4.0)),
        ("poisson", "log", "count", np.log1p(1.0 / np.exp(0.5 + 0.3 / 2.0))),
        ("negbinomial", "log", "count", np.log1p(1.0 / np.exp(0.5 + 0.3 / 2.0) + 1.0 / 4.0)),
        ("gaussian", "identity", "y", 9.0),
        ("lognormal", "identity", "positive", 9.0),
        ("student_t", "identity", "y", 9.0 * 6.0 / 4.0),
    ],
)
def test_the_residual_variance_of_each_family(family, link, response, expected):
    design = build_design(f"{response} ~ 1 + (1 | g)", frame(), family=family_of(family, link))
    drawn = {"sigma": np.full(3, 3.0), "nu": np.full(3, 6.0), "shape": np.full(3, 4.0), "cutpoint": np.zeros((3, 2))}
    value, name = residual_variance(design, drawn, np.full(3, 0.5), np.full(3, 0.3))
    np.testing.assert_allclose(value, np.full(3, expected))
    assert name


@pytest.mark.parametrize(
    ("family", "link", "response", "says"),
    [
        ("beta", "logit", "share", "no simple form"),
        ("bernoulli", "cauchit", "yes", "Cauchy"),
        ("gaussian", "log", "positive", "no simple form"),
    ],
)
def test_an_icc_without_a_formula_is_left_out_and_said(family, link, response, says):
    found = audit(f"{response} ~ x + (1 | g)", family=family, link=link)
    assert not found.table["quantity"].isin(["icc", "shrinkage"]).any()
    assert any("No ICC" in note and says in note for note in found.notes)


def test_models_without_random_effects_and_with_two_factors():
    alone = audit("y ~ x")
    assert not alone.table["quantity"].isin(["icc", "sd"]).any()
    assert any("No random effects" in note for note in alone.notes)
    assert "ICC" in str(alone)
    two = audit("y ~ x + (1 | g) + (1 | h)")
    assert row(two, "icc", "g")["median"] < row(two, "icc")["median"]


def test_mean_and_sd_of_a_data_set_leave_nan_out_and_keep_infinity():
    y = np.array([[1.0, 2.0, 4.0, np.nan], [1.0, np.inf, 3.0, 2.0], [np.nan, np.nan, np.nan, np.nan]])
    mean, sd = _mean_and_sd(y)
    np.testing.assert_allclose(mean, [7.0 / 3.0, np.inf, np.nan])
    np.testing.assert_allclose(sd, [np.std([1.0, 2.0, 4.0], ddof=1), np.inf, np.nan])


def test_large_data_are_simulated_in_pieces(monkeypatch):
    whole = audit(draws=300)
    monkeypatch.setattr("bayeslmm.results.audit.CHUNK", 150 * 7)  # 7 data sets at a time
    pieces = audit(draws=300)
    pd.testing.assert_frame_equal(pieces.table, whole.table)
    monkeypatch.setattr("bayeslmm.results.audit.VALUES", 1)
    few = audit(draws=300)
    assert "200 simulated data sets" in str(few) and "300 simulated data sets" in str(whole)


def test_quantiles_hold_infinite_values_and_leave_nan_out():
    assert quantiles(np.array([1.0, np.nan, np.inf, 2.0, 3.0]), (0.5, 1.0)) == (2.0, np.inf)
    assert all(np.isnan(quantiles(np.array([np.nan]), (0.1, 0.5))))
