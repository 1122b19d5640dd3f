"""Predictions: intervals of a point fit, shares of variance, transforms, many new groups, reference grids."""

from __future__ import annotations

import doctest
import warnings

import numpy as np
import pandas as pd
import plain
import pytest
from scipy import stats

import bayeslmm as blm
from bayeslmm import errors
from bayeslmm.engine import prediction
from bayeslmm.engine.scaling import Problem
from bayeslmm.results import rows as rows_module
from bayeslmm.results.fit import Fit
from bayeslmm.results.point import PointFit
from bayeslmm.results.posterior import PosteriorFit

from .test_rows import model_of, posterior_of, table_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.SamplingWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.FewLevelsWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.WeaklyIdentifiedWarning"),
    pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning"),
]

QUIET = {"cores": 1, "progressbar": False}


@pytest.fixture(scope="module")
def sleep():
    return blm.load_dataset("sleepstudy")


@pytest.fixture(scope="module")
def fit(sleep):
    return blm.lmer("Reaction ~ Days + (Days | Subject)", sleep)


@pytest.fixture(scope="module")
def science():
    """The science data, and its REML fit, whose variance between schools is zero."""
    data = blm.load_dataset("science")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.BayesLMMWarning)
        return data, blm.lmer("like ~ sex + PrivPub + (1 | school/class)", data)


# -- plug-in intervals


def joint_errors(fit):
    """Cov of (β̂ − β, b̂ − b), variances known, from the estimators written out as matrices: they are linear in y."""
    problem, solution = Problem.of(fit.design), fit.solution
    X = problem.X
    Z = plain.dense_Z(problem) if problem.levels else np.zeros((len(X), 0))
    blocks = [np.kron(np.eye(J), cov) for J, cov in zip(problem.levels, solution.covariances, strict=True)]
    G = np.zeros((Z.shape[1], Z.shape[1]))
    at = 0
    for block in blocks:
        G[at : at + len(block), at : at + len(block)] = block
        at += len(block)
    R = fit.sigma**2 * np.diag(np.ones(len(X)) if problem.weights is None else 1.0 / problem.weights)
    Vi = np.linalg.inv(Z @ G @ Z.T + R)
    to_beta = np.linalg.solve(X.T @ Vi @ X, X.T @ Vi)
    to_b = G @ Z.T @ Vi @ (np.eye(len(X)) - X @ to_beta)
    L = np.vstack([to_beta, to_b])
    of_b = L @ Z - np.vstack([np.zeros((X.shape[1], Z.shape[1])), np.eye(Z.shape[1])])
    return of_b @ G @ of_b.T + L @ R @ L.T


def dense_rows(fit, rows):
    """[X Z] of new rows in observed groups, dense."""
    new = fit.design.at(rows)
    parts = [new.X]
    for group, known in zip(new.groups, fit.design.groups, strict=True):
        Z = np.zeros((len(rows), known.n_levels * known.q))
        for i, code in enumerate(group.codes):
            Z[i, code * known.q : (code + 1) * known.q] = group.Z[i]
        parts.append(Z)
    return parts


@pytest.mark.parametrize(
    ("right", "weights"),
    [
        ("x + (x | s)", None),
        ("x + f + (1 | s) + (x | c)", None),
        ("x + (1 | s/c)", "w"),
        ("x + (x || s) + (1 | f)", "w"),
        ("x", None),
        ("0 + (1 | s)", None),
    ],
)
def test_plug_in_variances_by_dense_algebra(right, weights):
    data = table_of(80, seed=8)
    data["y"] += 1.5 * pd.factorize(data["s"])[0] + data["x"] * pd.factorize(data["c"])[0]
    fit = blm.lmer(f"y ~ {right}", data, **({"weights": weights} if weights else {}))
    rows = data.sample(30, random_state=2).assign(x=lambda d: 1.3 * d["x"] - 0.4)
    errors_, parts = joint_errors(fit), dense_rows(fit, rows)
    A = np.hstack(parts)
    found = fit.predict(rows, interval="plug-in", shares=True)
    np.testing.assert_allclose(found["estimate"], fit.predict(rows))
    np.testing.assert_allclose(found["std_error"] ** 2, np.einsum("na,ab,nb->n", A, errors_, A), rtol=1e-8)
    total = A @ errors_
    at, shares = 0, []
    for part in parts:
        shares.append(np.einsum("na,na->n", part, total[:, at : at + part.shape[1]]))
        at += part.shape[1]
    expected = np.column_stack(shares) / np.sum(shares, axis=0)[:, None]
    np.testing.assert_allclose(found.filter(like="share_").iloc[:, :-1], expected, atol=1e-8)
    np.testing.assert_allclose(found.filter(like="share_").sum(axis=1), 1.0)
    response = fit.predict(rows, interval="plug-in", kind="response")
    noise = fit.sigma**2 / (rows["w"] if weights else 1.0)  # of the new rows' own weights
    np.testing.assert_allclose(response["std_error"] ** 2 - found["std_error"] ** 2, noise, rtol=1e-8)
    own = fit.predict(kind="response", interval="plug-in")
    noise = own["std_error"] ** 2 - fit.predict(interval="plug-in")["std_error"] ** 2
    by_weight = fit.sigma**2 / (1.0 if weights is None else fit.design.weights)
    np.testing.assert_allclose(noise, np.broadcast_to(by_weight, 80), rtol=1e-6)


def test_large_models_are_taken_in_pieces(monkeypatch):
    fit = blm.lmer("strength ~ 1 + (1 | batch/cask)", blm.load_dataset("pastes"))
    whole = fit.predict(interval="plug-in", shares=True)
    monkeypatch.setattr(prediction, "NUMBERS", 200)
    pd.testing.assert_frame_equal(fit.predict(interval="plug-in", shares=True), whole, rtol=1e-10)


def test_levels_of_a_coefficient_have_the_errors_of_coef(fit):
    """β + b of a subject is its prediction at day 0, and what a day adds."""
    rows = blm.grid(fit, Days=[0], by="Subject")
    intercepts = fit.coef().query("term == 'Intercept'")
    found = fit.predict(rows, interval="plug-in")
    np.testing.assert_allclose(found["std_error"], intercepts["std_error"], rtol=1e-9)
    np.testing.assert_allclose(found["conf_low"], intercepts["conf_low"], rtol=1e-9)


def test_plug_in_by_target(fit):
    rows = pd.DataFrame({"Days": [0.0, 10.0], "Subject": ["308", "new one"]})
    x = np.array([[1.0, 0.0], [1.0, 10.0]])
    fixed = np.einsum("na,ab,nb->n", x, fit.vcov(), x)
    between = np.einsum("na,ab,nb->n", x, fit.var_corr()["Subject"], x)
    variance = {
        ("average", "mean"): fixed,
        ("average", "response"): fixed + fit.sigma**2,
        ("population", "mean"): fixed,
        ("population", "response"): fixed + between + fit.sigma**2,
        ("new", "mean"): fixed + between,
        ("new", "response"): fixed + between + fit.sigma**2,
    }
    for (groups, kind), known in variance.items():
        found = fit.predict(rows, groups=groups, kind=kind, interval="plug-in", ci_prob=0.8, shares=True)
        np.testing.assert_allclose(found["std_error"], np.sqrt(known), rtol=1e-9)
        t = stats.t.ppf(0.9, found["df"])
        np.testing.assert_allclose(found["conf_high"] - found["estimate"], t * np.sqrt(known), rtol=1e-9)
        z = fit.predict(rows, groups=groups, kind=kind, interval="plug-in", ci_prob=0.8, ddf=None)
        half = stats.norm.ppf(0.9) * np.sqrt(known)
        np.testing.assert_allclose(z["conf_high"] - z["estimate"], half, rtol=1e-9)
        np.testing.assert_allclose(found["share_fixed"], fixed / known, rtol=1e-9)
        noise = fit.sigma**2 if kind == "response" else 0.0
        np.testing.assert_allclose(found["share_residual"], noise / known, rtol=1e-9)
        assert set(found["interval"]) == {"plug-in"} and list(found.index) == [0, 1]


def test_a_new_class_in_a_known_school_keeps_the_school():
    data = table_of(80, seed=8)
    data["y"] += 1.5 * pd.factorize(data["s"])[0]
    fit = blm.lmer("y ~ x + (1 | s/c)", data)
    rows = pd.DataFrame({"x": [0.5, 0.5, 0.5], "s": ["s1", "s1", "s2"], "c": ["new", "other", "new"]})
    groups = {"s": "observed", "s:c": "new"}
    school = fit.ranef(wide=True).loc["s"]["Intercept"]
    base = fit.predict(rows, groups="average")
    np.testing.assert_allclose(fit.predict(rows, groups=groups) - base, school[["s1", "s1", "s2"]])
    A, joint = np.zeros((3, joint_errors(fit).shape[0])), joint_errors(fit)
    A[:, :2] = fit.design.at(rows, groups=[]).X
    A[[0, 1, 2], [3, 3, 4]] = 1.0  # after two fixed effects, the second and third school
    known = np.einsum("na,ab,nb->n", A, joint, A) + fit.var_corr()["s:c"].iloc[0, 0]
    found = fit.predict(rows, groups=groups, interval="plug-in")
    np.testing.assert_allclose(found["std_error"] ** 2, known, rtol=1e-8)
    # two new classes of one school share the school, and the two rows of one class everything
    again = fit.predict(rows.iloc[[0, 1, 0]], groups=groups, draws=4000, random_seed=1).values
    np.testing.assert_array_equal(again[:, 0], again[:, 2])
    assert abs(np.corrcoef(again[:, 0], again[:, 1])[0, 1]) < 0.08  # five standard errors of 4,000 draws


def test_labels_by_spelling(science):
    data, fit = science
    rows = data.head(3)[["sex", "PrivPub", "school", "class"]]
    groups = {"school:class": "new"}
    known = fit.predict(rows, groups=groups)
    for kind in (int, float, str, object, "category"):
        np.testing.assert_allclose(fit.predict(rows.astype({"school": kind}), groups=groups), known)
        np.testing.assert_allclose(fit.predict(rows.astype({"school": kind})), fit.predict(rows))


def test_groups_that_cannot_be_told_are_named_with_the_remedy(science):
    _, fit = science
    rows = pd.DataFrame({"sex": "f", "PrivPub": "public", "school": [1, 999], "class": [1, 1]})
    with pytest.raises(errors.UnseenLevelError) as caught:
        fit.predict(rows)
    remedy = "groups={'school': 'observed_or_new', 'school:class': 'observed_or_new'}"
    for words in ("1 row that belongs to no school of the fit (999)", "'999:1'", remedy):
        assert words in str(caught.value)
    assert fit.predict(rows, groups={"school": "new", "school:class": "new"}).notna().all()
    with pytest.raises(
        errors.UnseenLevelError, match=r"groups=\{'school': 'average', 'school:class': 'observed_or_new'\}"
    ):
        fit.predict(rows, groups={"school": "average"})
    for interval in (None, "plug-in", "simulated"):
        with pytest.raises(errors.UnknownColumnError, match=r"no column 'class', .* school:class .*'average'"):
            fit.predict(rows.head(1).drop(columns="class"), interval=interval)
    unnamed = fit.predict(rows.drop(columns="school"), groups="new", interval="plug-in")  # all of one new school
    pd.testing.assert_frame_equal(unnamed, fit.predict(rows.assign(school="new"), groups="new", interval="plug-in"))


def test_a_predictor_that_names_groups_as_well_is_not_filled_in():
    """Averaging over f:s needs no labels of s, but f is a predictor, whose absence must not give missing numbers."""
    fit = blm.lmer("y ~ f + (1 | f:s)", table_of())
    with pytest.raises(errors.UnknownColumnError, match="'f'"):
        fit.predict(pd.DataFrame({"x": [1.0]}), groups="population", interval="plug-in")
    rows = pd.DataFrame({"f": ["p", "q"]})
    found = fit.predict(rows, groups="population", interval="plug-in", kind="response")
    assert found.notna().all().all()


# -- simulated intervals


def test_simulated_intervals_of_a_linear_model_are_students():
    """Without groups, β given σ* and σ* from its sampling distribution: a t distribution, nearly."""
    data = table_of(12)
    fit = blm.lmer("y ~ x", data)
    rows = pd.DataFrame({"x": [0.0, 2.0]})
    found = fit.predict(rows, interval="simulated", draws=1500, random_seed=1, **QUIET)
    plug = fit.predict(rows, interval="plug-in")
    np.testing.assert_array_equal(found["estimate"], plug["estimate"])
    assert set(found["interval"]) == {"simulated"}
    # E σ*² = σ̂²: the same sd, known to some 2 %; but longer tails
    np.testing.assert_allclose(found["std_error"], plug["std_error"], rtol=0.06)


def test_simulated_intervals_are_wider_where_variances_are_hardly_known(sleep):
    few = sleep[sleep["Subject"].isin(["308", "309", "310", "330"])]
    fit = blm.lmer("Reaction ~ Days + (1 | Subject)", few)
    rows = pd.DataFrame({"Days": [0.0], "Subject": ["new one"]})
    plug = fit.predict(rows, groups="new", interval="plug-in")
    found = fit.predict(rows, groups="new", interval="simulated", draws=300, random_seed=1, **QUIET)
    assert found["estimate"].iloc[0] == plug["estimate"].iloc[0]
    # kurtosis: given 4 subjects the sd of subjects varies by some 40 %, so draws have longer tails than a normal
    wide = fit.predict(rows, groups="new", interval="simulated", draws=300, random_seed=1, ci_prob=0.5, **QUIET)
    ratio = (found["conf_high"] - found["conf_low"]) / (wide["conf_high"] - wide["conf_low"])
    assert ratio.iloc[0] > 1.05 * stats.norm.ppf(0.975) / stats.norm.ppf(0.75)
    again = fit.predict(rows, groups="new", interval="simulated", draws=300, random_seed=1, **QUIET)
    pd.testing.assert_frame_equal(again, found)


def test_draws_given_the_estimates_have_the_plug_in_covariance(fit):
    """Bootstrap variances replaced by the estimates: what remains is the plug-in distribution."""
    S = 4000
    covariances = [np.broadcast_to(cov, (S, 2, 2)) for cov in fit.solution.covariances]
    beta, (b,) = prediction.draws_given(
        Problem.of(fit.design), fit.solution, covariances, np.full(S, fit.sigma), np.random.default_rng(1)
    )
    drawn = np.column_stack([beta, b.reshape(S, -1)])
    centre = np.concatenate([fit.solution.beta, fit.solution.modes[0].reshape(-1)])
    joint = joint_errors(fit)
    sd = np.sqrt(np.diag(joint))
    # five standard errors of 38 means and 703 correlations of 4,000 draws
    assert np.abs((drawn.mean(axis=0) - centre) / sd).max() < 5 / np.sqrt(S)
    np.testing.assert_allclose(np.cov(drawn, rowvar=False) / np.outer(sd, sd), joint / np.outer(sd, sd), atol=0.1)


# -- shares of a posterior


def by_loops(post, rows, kind):
    """Shares of rows in observed groups of s and new groups of c, draw by draw."""
    new = post.design.at(rows, groups=["s", "c"])
    S = post.n_chains * post.n_draws
    beta, b = post.draws("beta").reshape(S, -1), post.draws("b_s").reshape(S, 4, -1)
    cov, sigma = post.covariances()[1].reshape(S, 1, 1), post.draws("sigma").reshape(S)
    out = []
    for i in range(len(rows)):
        fixed = np.array([new.X[i] @ beta[s] for s in range(S)])
        known = np.array([new.groups[0].Z[i] @ b[s, new.groups[0].codes[i]] for s in range(S)])
        total = fixed + known
        parts = [np.cov(fixed, total)[0, 1], np.cov(known, total)[0, 1], cov.mean()]
        parts.append((sigma**2).mean() if kind == "response" else 0.0)
        out.append(np.array(parts) / sum(parts))
    return np.array(out)


@pytest.mark.parametrize("kind", ["mean", "response"])
def test_shares_of_a_posterior_by_loops(kind):
    post = posterior_of(model_of(right="x + (x | s) + (1 | c)"))
    rows = post.design.frame.head(6)
    table = post.predict(rows, groups={"c": "new"}, kind=kind, shares=True, random_seed=1)
    shares = table.filter(like="share_")
    assert list(shares) == ["share_fixed", "share_s", "share_c", "share_residual"]
    np.testing.assert_allclose(shares, by_loops(post, rows, kind), rtol=1e-9)
    assert list(table.index) == list(rows.index)


def test_shares_of_the_sd_that_is_shown():
    """Every part of a variance that is told without new draws is that of the sd in the table."""
    post = posterior_of(model_of(right="x + (x | s)"))
    table = post.predict(shares=True)
    fixed_only = post.predict(shares=True, groups="average")
    np.testing.assert_allclose(fixed_only["share_fixed"], 1.0)
    np.testing.assert_allclose(table["share_fixed"] + table["share_s"], 1.0)


def test_shares_on_the_scale_of_a_response():
    """var(y) = var(E y) + E var(y): successes of trials, and their groups in proportion on the linear predictor."""
    post = posterior_of(model_of("binomial", "1 + (1 | s)"), (4, 1000))
    table = post.predict(kind="response", shares=True, random_seed=1)
    p = post.fitted(draws=True).values.reshape(4000, -1)
    within = (p * (1 - p)).mean(axis=0) / post.design.trials
    np.testing.assert_allclose(table["share_residual"], within / (within + p.var(axis=0, ddof=1)), rtol=1e-9)
    np.testing.assert_allclose(table.filter(like="share_").sum(axis=1), 1.0)
    # the variance that the shares add up to is that of the responses, in units of trials; 4,000 draws: 2.2 % each
    ratio = (table["sd"] / post.design.trials) ** 2 / (within + p.var(axis=0, ddof=1))
    assert abs(ratio.mean() - 1.0) < 0.03
    everyone = post.predict(groups="population", kind="response", shares=True, random_seed=1)
    assert (everyone["share_s"] > 0.0).all() and (everyone["share_residual"] < 1.0).all()


def test_an_infinite_variance_is_all_there_is():
    post = posterior_of(model_of("student_t"), nu=1.5)
    shares = post.predict(kind="response", shares=True, random_seed=1).filter(like="share_")
    assert (shares["share_residual"] == 1.0).all() and (shares.iloc[:, :-1] == 0.0).all().all()


def test_shares_that_do_not_exist_are_refused(fit):
    with pytest.raises(errors.NotAvailableError, match="categories"):
        posterior_of(model_of("ordinal")).predict(shares=True)
    post = posterior_of(model_of())
    with pytest.raises(errors.InputError, match="shares=True, draws"):
        post.predict(shares=True, draws=True)
    with pytest.raises(errors.InputError, match="transform"):
        post.predict(shares=True, transform=np.exp)
    with pytest.raises(errors.InputError, match="interval='plug-in'"):
        fit.predict(shares=True)


# -- functions of the response


@pytest.fixture(scope="module")
def chicks():
    data = blm.load_dataset("chickweight")
    return data, blm.lmer("sqrt(weight) ~ Time + (Time | Chick)", data)


def test_the_mean_of_a_transformed_response_in_closed_form(chicks):
    """E y² = (E y)² + var(y)."""
    _, fit = chicks
    rows = blm.grid(fit, Time=[0, 10, 20], by={"Chick": [1]})
    z = np.column_stack([np.ones(3), [0.0, 10.0, 20.0]])
    between = np.einsum("na,ab,nb->n", z, fit.var_corr()["Chick"], z)
    noise = fit.sigma**2
    for groups, spread in (("observed", 0.0), ("average", 0.0), ("population", between), ("new", between)):
        found = fit.predict(rows, groups=groups, transform=np.square)
        np.testing.assert_allclose(found, fit.predict(rows, groups=groups) ** 2 + noise + spread, rtol=1e-10)
        assert found.name == "square(sqrt(weight))"
    draws = fit.predict(rows, groups="new", kind="response", draws=4000, random_seed=1, transform=np.square)
    mean = fit.predict(rows, groups="population", transform=np.square)
    # five standard errors of 4,000 draws
    assert (np.abs(draws.mean("draw") - mean) < 5 * draws.std("draw") / np.sqrt(4000)).all()


def test_transformed_responses_of_a_posterior():
    post = posterior_of(model_of(right="x + (x | s)", weights="w"))
    eta, sigma = post.fitted(draws=True).values, post.draws("sigma")[..., None]
    known = eta**2 + sigma**2 / post.design.weights
    np.testing.assert_allclose(post.predict(draws=True, transform=np.square), known, rtol=1e-10)
    z = post.design.groups[0].Z
    between = np.einsum("na,csab,nb->csn", z, post.covariances()[0], z)
    average = post.predict(draws=True, transform=np.square, groups="average")
    everyone = post.predict(draws=True, transform=np.square, groups="population")
    np.testing.assert_allclose(everyone - average, between, rtol=1e-8)
    plain_, squared = (post.predict(draws=True, kind="response", random_seed=1, transform=t) for t in (None, np.square))
    np.testing.assert_allclose(squared, plain_**2)


def test_simulated_intervals_of_a_transformed_response(chicks):
    _, fit = chicks
    rows = blm.grid(fit, Time=[20], by={"Chick": [1]})
    found = fit.predict(
        rows, kind="response", interval="simulated", transform=np.square, draws=50, random_seed=1, **QUIET
    )
    root = fit.predict(rows, kind="response", interval="simulated", draws=50, random_seed=1, **QUIET)
    np.testing.assert_allclose(found[["conf_low", "conf_high"]], root[["conf_low", "conf_high"]] ** 2, rtol=0.01)
    assert found["estimate"].iloc[0] == fit.predict(rows, transform=np.square).iloc[0]


def test_transforms_that_are_none(fit):
    with pytest.raises(errors.InputError, match="a function of arrays"):
        fit.predict(transform="square")
    with pytest.raises(errors.InputError, match="one number for each"):
        fit.predict(transform=lambda y: y.sum())
    with pytest.raises(errors.InputError, match="interval='simulated'"):
        fit.predict(transform=np.square, interval="plug-in")
    with pytest.raises(errors.NotAvailableError, match="normal responses"):
        posterior_of(model_of("poisson")).predict(transform=np.log)


# -- many rows, many draws


def test_many_new_groups_are_drawn_when_needed(monkeypatch):
    """Effects of new groups that are too many to hold are the same whichever rows ask for them, and as spread."""
    post = posterior_of(model_of(right="1 + (1 | s/c)"), (2, 50), sd_s=1.0, beta=np.zeros(1), **{"sd_s:c": 2.0})
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"s": rng.integers(0, 40, 400), "c": rng.integers(0, 5, 400)})
    held = post.predict(rows, groups="new", draws=True, random_seed=1).values.reshape(100, -1)
    monkeypatch.setattr(rows_module, "HELD", 0)
    monkeypatch.setattr(rows_module, "CHUNK", 300)
    monkeypatch.setattr(rows_module, "NUMBERS", 7 * 100)
    draws = post.predict(rows, groups="new", draws=True, random_seed=1).values.reshape(100, -1)
    for values in (held, draws):
        # rows of one class are one, of one school share its effect, of two schools nothing
        same = rows.groupby(["s", "c"]).ngroup().to_numpy()
        for label in np.unique(same)[:20]:
            assert np.ptp(values[:, same == label], axis=1).max() == 0.0
        together = np.corrcoef(values, rowvar=False)
        pairs = np.triu_indices(400, 1)
        school = rows["s"].to_numpy()[pairs[0]] == rows["s"].to_numpy()[pairs[1]]
        other = same[pairs[0]] != same[pairs[1]]
        # means of some thousand correlations of 100 draws: of classes 1/5, of strangers 0
        assert abs(together[pairs][school & other].mean() - 0.2) < 0.05
        assert abs(together[pairs][~school].mean()) < 0.01
        np.testing.assert_allclose(values.std(), np.sqrt(5.0), rtol=0.1)
    table = post.predict(rows, groups="new", random_seed=1)
    np.testing.assert_allclose(table["mean"], draws.mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(table["conf_low"], np.quantile(draws, 0.025, axis=0), rtol=1e-9, atol=1e-12)


def test_responses_do_not_depend_on_the_number_of_threads(monkeypatch):
    post = posterior_of(model_of())
    monkeypatch.setattr(rows_module, "NUMBERS", 7 * 60)
    first = post.predict(kind="response", random_seed=1)
    monkeypatch.setattr(rows_module.os, "cpu_count", lambda: 1)
    pd.testing.assert_frame_equal(post.predict(kind="response", random_seed=1), first)


def test_a_number_of_draws():
    post = posterior_of(model_of(), (2, 30))
    some, every = post.predict(draws=7), post.predict(draws=True)
    assert dict(some.sizes) == {"chain": 2, "draw": 4, "obs": 60}
    np.testing.assert_array_equal(some, every.isel(draw=[0, 7, 15, 22]))
    assert post.predict(draws=1000).sizes["draw"] == 30
    for bad in (0, -1, 2.5):
        with pytest.raises(errors.InputError, match="draws="):
            post.predict(draws=bad)


# -- simulated responses by target


@pytest.mark.parametrize("kind", ["point", "posterior"])
def test_simulated_responses_by_target(kind):
    """The mean and covariance of two rows of one group: what is drawn anew is shared by them, or not."""
    if kind == "point":
        data = table_of(80, seed=8)
        fit = blm.lmer("y ~ 1 + (1 | s)", data.assign(y=data["y"] + 2.0 * pd.factorize(data["s"])[0]))
        beta, between, sigma = fit.solution.beta[0], fit.solution.covariances[0][0, 0], fit.sigma
        effect = fit.solution.modes[0][0, 0]
    else:
        beta, between, sigma, effect = 3.0, 4.0, 1.0, 0.7
        fit = posterior_of(
            model_of(right="1 + (1 | s)"),
            (4, 1000),
            sd_s=2.0,
            beta=np.array([3.0]),
            sigma=1.0,
            b_s=np.full((4, 1), 0.7),
        )
    one, other = np.flatnonzero(fit.design.groups[0].codes == 0)[:2]
    known = {
        "observed": (beta + effect, sigma**2, 0.0),
        "average": (beta, sigma**2, 0.0),
        "new": (beta, between + sigma**2, between),
        "population": (beta, between + sigma**2, 0.0),
    }
    for groups, (mean, variance, covariance) in known.items():
        table = fit.simulate(4000, random_seed=1, groups=groups).to_numpy()[[one, other]]
        # five standard errors of 4,000 draws
        np.testing.assert_allclose(table.mean(axis=1), mean, atol=5 * np.sqrt(variance / 4000))
        found = np.cov(table)
        np.testing.assert_allclose(np.diag(found), variance, rtol=5 * np.sqrt(2 / 4000))
        assert abs(found[0, 1] - covariance) < 5 * variance * np.sqrt(2 / 4000)


# -- what is refused


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"interval": "wald"}, "'plug-in' or 'simulated'"),
        ({"interval": "plug-in", "draws": 100}, "without draws"),
        ({"kind": "response"}, "interval='plug-in'"),
        ({"interval": "plug-in", "ci_prob": 95}, "ci_prob=95"),
        ({"interval": "plug-in", "kind": "median"}, "'median'"),
        ({"interval": "plug-in", "groups": "typical"}, "'typical'"),
        ({"interval": "simulated", "draws": 0}, "draws=0"),
    ],
)
def test_questions_without_an_answer(fit, asked, message):
    with pytest.raises(errors.InputError, match=message):
        fit.predict(**asked)


# -- examples


@pytest.mark.parametrize(
    "verb",
    [blm.grid, PointFit.predict, PosteriorFit.predict, Fit.comparisons, Fit.slopes],
    ids=lambda v: v.__qualname__,
)
def test_examples_in_docstrings_run(verb):
    runner, found = doctest.DocTestRunner(), doctest.DocTestFinder(recurse=False).find(verb, globs={})
    assert sum(runner.run(each).attempted for each in found) > 0 and runner.failures == 0


# -- reference grids


def test_a_grid_is_complete_and_typical():
    hsb = blm.load_dataset("hsb")
    fit = blm.lmer("mathach ~ ses * sex + mean_ses + (ses | school)", hsb)
    rows = blm.grid(fit, "ses", sex=["Female", "Male"])
    assert len(rows) == 82 and list(rows) == ["ses", "sex", "mean_ses"]
    assert rows["ses"].min() == hsb["ses"].min() and rows["ses"].max() == hsb["ses"].max()
    assert rows["mean_ses"].nunique() == 1 and rows["mean_ses"].iloc[0] in set(hsb["mean_ses"])
    assert abs(rows["mean_ses"].iloc[0] - hsb["mean_ses"].mean()) < 0.05
    assert fit.predict(rows, groups="average").notna().all()
    with pytest.raises(errors.UnknownColumnError, match="'school'"):
        fit.predict(rows)
    assert len(blm.grid(fit, "sex", "ses", points=5)) == 10
    assert len(blm.grid(fit)) == 1


def test_a_grid_by_groups(science):
    data, fit = science
    schools = blm.grid(fit, "sex", by="school")
    assert len(schools) == 2 * data["school"].nunique() and "class" not in schools
    rows = blm.grid(fit, sex=["f"], by="school:class")
    assert len(rows) == fit.ngroups["school:class"]
    ranef = fit.ranef(wide=True)["Intercept"]
    added = rows["school"].map(ranef["school"]) + (rows["school"] + ":" + rows["class"]).map(ranef["school:class"])
    np.testing.assert_allclose(fit.predict(rows) - fit.predict(rows, groups="average"), added)
    some = blm.grid(fit, by={"school:class": ["1:3", "1:1"]})
    assert some[["school", "class"]].to_numpy().tolist() == [["1", "3"], ["1", "1"]]


def test_a_grid_leaves_the_response_out(chicks):
    """weight is a column of sqrt(weight) only."""
    _, fit = chicks
    assert list(blm.grid(fit, "Time")) == ["Time"]
    model = blm.Model("sqrt(weight) ~ Time + (Time | Chick)", chicks[0])
    pd.testing.assert_frame_equal(blm.grid(model, at={"Time": [1, 2]}), pd.DataFrame({"Time": [1, 2]}))
    with pytest.raises(errors.InputError, match="'weight'"):
        fit.icc(at={"weight": [1]})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: blm.grid(f, "days"), "'days' is no predictor; the model has 'Days'"),
        (lambda f: blm.grid(f, "Subject"), "by='Subject'"),
        (lambda f: blm.grid(f, "Days", Days=[1]), "given twice"),
        (lambda f: blm.grid(f, Days=[]), "no values"),
        (lambda f: blm.grid(f, by="school"), "no grouping factor 'school'"),
        (lambda f: blm.grid(f, by={"Subject": [1]}), "no level 1"),
        (lambda f: blm.grid(f, by={"Subject": [1], "Days": [2]}), "one grouping factor"),
        (lambda f: blm.grid("fit"), "of a model or a fit"),
    ],
)
def test_grids_that_make_no_sense(fit, call, message):
    with pytest.raises(errors.InputError, match=message):
        call(fit)


@pytest.mark.parametrize("family", ["poisson", "bernoulli"])
def test_trials_of_a_response_without_trials_are_refused(family):
    post = posterior_of(model_of(family, "1 + (1 | s)"), (1, 8))
    with pytest.raises(errors.InputError, match="no number of successes in trials"):
        post.predict(table_of().head(2), groups="observed", kind="response", trials=3)
