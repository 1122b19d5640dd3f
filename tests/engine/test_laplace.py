"""Laplace's approximation: its gradient, dense oracles, the normal case, and the optima of glmmTMB and clmm."""

from __future__ import annotations

from dataclasses import replace

import agreement_glmm
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shifted import fixed_rng
from strategies import examples

import bayeslmm as blm
from bayeslmm.engine import agq, laplace, laplace_fit, laplace_loops, reml
from bayeslmm.engine.laplace import Approximation
from bayeslmm.engine.quadrature import OneFactor
from bayeslmm.engine.scaling import Problem
from bayeslmm.families import FAMILIES, family_of
from bayeslmm.families.densities import each_row

GLMM = agreement_glmm.references()


def model_of(name):
    """The model of a reference fit."""
    return agreement_glmm.model_of(name, GLMM[name])


def table(seed=0, n=120):
    """Rows of two crossed factors with a response of every kind."""
    rng = fixed_rng(seed)
    d = pd.DataFrame({"x": rng.normal(size=n), "g": np.arange(n) // (n // 12), "h": np.arange(n) % 6})
    eta = 0.4 * d.x + 0.6 * rng.normal(size=12)[d.g % 12] + 0.4 * rng.normal(size=6)[d.h]
    mean = np.exp(eta)
    d["poisson"], d["bernoulli"] = rng.poisson(mean), (rng.random(n) < 1 / (1 + np.exp(-eta))) * 1.0
    d["negbinomial"] = rng.poisson(mean * rng.gamma(2.0, 0.5, n))
    d["gaussian"] = d["student_t"] = eta + 3.0 + 0.5 * rng.standard_t(5, n)
    d["gamma"] = d["inverse_gaussian"] = d["lognormal"] = mean * rng.gamma(4.0, 0.25, n) + 0.05
    d["beta"] = np.clip(1 / (1 + np.exp(-eta - 0.5 * rng.normal(size=n))), 0.02, 0.98)
    d["ordinal"] = np.digitize(eta + rng.normal(size=n), [-1.0, 0.0, 1.0])
    d["m"] = 5
    d["binomial"] = rng.binomial(5, 1 / (1 + np.exp(-eta)))
    d["beta_binomial"] = rng.binomial(5, rng.beta(2 / (1 + np.exp(-eta)), 2 / (1 + np.exp(eta))))
    d["nbinom1"] = rng.poisson(rng.gamma(mean, 1.0))
    d["truncated_poisson"], d["truncated_negbinomial"] = d.poisson + 1, d.negbinomial + 1
    d["weibull"] = d.gamma
    there = rng.random(n) > 0.25
    d["zero_inflated_poisson"], d["zero_inflated_negbinomial"] = d.poisson * there, d.negbinomial * there
    d["hurdle_poisson"], d["hurdle_negbinomial"] = d.truncated_poisson * there, d.truncated_negbinomial * there
    d["exgaussian"] = eta + 0.5 * rng.normal(size=n) + rng.exponential(0.5, n)
    return d


def model(family, link=None, bars="(x | g) + (1 | h)", seed=0, data=None):
    left = f"p({family}, m)" if family_of(family).has_trials else family
    return blm.Model(f"{left} ~ x + {bars}", table(seed) if data is None else data, family=family, link=link)


def somewhere(about):
    """A point with a finite likelihood."""
    psi = laplace_fit._start(about, 0.7)
    rng = fixed_rng(3)
    psi[about.theta_at] = np.where(about.diagonal, psi[about.theta_at], 0.1) * rng.uniform(0.8, 1.2, about.n_theta)
    return psi


PAIRS = [(name, link) for name, kind in FAMILIES.items() for link in kind.links[:2]]


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize(("family", "link"), PAIRS)
def test_gradient_is_that_of_differences(family, link, restricted):
    about = Approximation(model(family, link).design, restricted=restricted)
    psi = somewhere(about)
    _, gradient, _ = about.at(psi)
    about.last = about.at(psi)[2]
    h = 1e-5
    for i in range(about.size):
        step = h * np.eye(about.size)[i]
        difference = (about.at(psi + step)[0] - about.at(psi - step)[0]) / (2 * h)
        # rounding of a sum of some hundreds, 1e-13, over h, and h² of a third derivative
        assert gradient[i] == pytest.approx(difference, rel=1e-6, abs=2e-7 * (1 + np.abs(gradient).max()))


@pytest.mark.parametrize(("family", "link"), PAIRS)
def test_gradient_of_a_rule_is_that_of_differences(family, link):
    """Of few nodes as well, where that of the integral is another one: how the nodes move is included."""
    design = model(family, link, bars="(1 | g)").design
    about = Approximation(design)
    likelihood = agq._Likelihood(about=about, integrals=OneFactor(design), nodes=3)
    psi, h = somewhere(about), 1e-5
    value, gradient = likelihood.with_gradient(psi)
    # modes of compiled loops are where a step promises 1e-9, and their curvature is that of differences over 1e-4
    assert value == pytest.approx(float(likelihood(psi)[0]), abs=1e-4)
    for i in range(about.size):
        step = h * np.eye(about.size)[i]
        difference = (likelihood.with_gradient(psi + step)[0] - likelihood.with_gradient(psi - step)[0]) / (2 * h)
        # as for Laplace's approximation, with the rounding of three nodes of each level
        assert gradient[i] == pytest.approx(difference, rel=2e-6, abs=4e-7 * (1 + np.abs(gradient).max()))


@pytest.mark.parametrize("bars", ["(x | g)", "(1 | g / h)"])
@pytest.mark.parametrize(("family", "link"), PAIRS)
def test_compiled_loops_find_the_modes_and_slopes_that_python_does(family, link, bars, monkeypatch):
    about = Approximation(model(family, link, bars=bars).design)
    assert about.can_loop
    psi, answers = somewhere(about), []
    monkeypatch.setattr(laplace_loops.is_ready, "worth", 0)
    for about.can_loop in (False, True):
        about.last = None
        answers.append(about.at(psi))
    (value, gradient, inner), (other, theirs, by_loops) = answers
    assert isinstance(inner, laplace.Factorised)
    if about.family.is_log_concave:  # of others M may not be positive definite on the way
        assert not isinstance(by_loops, laplace.Factorised)  # nothing broke down
    assert other == pytest.approx(value, rel=1e-12)  # the order of sums
    np.testing.assert_allclose(theirs, gradient, rtol=1e-9, atol=1e-9 * max(1.0, np.abs(gradient).max()))
    np.testing.assert_allclose(by_loops.u, inner.u, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(by_loops.bends, inner.bends, rtol=1e-8, atol=1e-8)


def test_loops_that_break_down_leave_the_search_to_python(monkeypatch):
    monkeypatch.setattr(laplace_loops.is_ready, "worth", 0)
    about = Approximation(model("poisson", bars="(1 | g)").design)
    psi = somewhere(about)
    value, _, inner = about.at(psi)
    far = replace(inner, u=np.full(about.m, 1e4))  # where the mean is infinite
    about.last = far
    assert about._by_loops(*_parts(about, psi), with_slopes=True) is None
    assert about.at(psi)[0] == pytest.approx(value, rel=1e-9)


def _parts(about, psi):
    beta, theta, free = about.split(psi)
    return beta, about.lams(theta), about.parameters.values(free)


def dense(design, beta, covariances, parameters):
    """log L by Laplace with dense matrices and differences of the log density: u by Newton from zero."""
    A = np.column_stack(
        [
            np.eye(g.n_levels)[g.codes][:, :, None].repeat(g.q, 2).reshape(design.n, -1)
            * np.tile(g.Z, (1, g.n_levels))
            @ np.kron(np.eye(g.n_levels), np.linalg.cholesky(cov))
            for g, cov in zip(design.groups, covariances, strict=True)
        ]
    )
    from bayeslmm.families.densities import numbers

    kind, link = numbers(design.family)
    ones = np.ones(design.n)
    trials = ones if design.trials is None else design.trials.astype(float)
    y = np.ascontiguousarray(design.working_response, dtype=float)

    def rows(eta):
        out = np.empty(design.n)
        each_row(kind, link, design.family.normaliser_takes_y, y, trials, ones, eta, parameters, out)
        return out

    def curved(eta, h=1e-4):
        up, mid, down = rows(eta + h), rows(eta), rows(eta - h)
        return (up - down) / (2 * h), (up - 2 * mid + down) / h**2

    fixed, u = design.X @ beta + design.offset, np.zeros(A.shape[1])
    for _ in range(50):
        first, second = curved(fixed + A @ u)
        u = u + np.linalg.solve(A.T @ (-second[:, None] * A) + np.eye(len(u)), A.T @ first - u)
    M = A.T @ (-curved(fixed + A @ u)[1][:, None] * A) + np.eye(len(u))
    total = rows(fixed + A @ u).sum() + design.density_constants.sum()
    return total - 0.5 * u @ u - 0.5 * np.linalg.slogdet(M)[1]


@pytest.mark.parametrize("family", ["bernoulli", "poisson", "negbinomial", "gamma", "ordinal", "beta"])
def test_value_is_that_of_dense_matrices(family):
    design = model(family).design
    about = Approximation(design)
    psi = somewhere(about)
    value = about.at(psi)[0]
    beta, theta, free = about.split(psi)
    covariances = [T @ lam @ lam.T @ T.T for T, lam in zip(about.T_z, about.lams(theta), strict=True)]
    # second differences carry rounding of 1e-16/h² = 1e-8 a row
    assert -value == pytest.approx(
        dense(design, about.T_x @ beta, covariances, about.parameters.values(free)), abs=1e-5
    )


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("bars", ["(x | g) + (1 | h)", "(1 | g)", "(1 | g / h)"])
def test_of_normal_responses_it_is_the_exact_fit(bars, restricted):
    design = model("gaussian", bars=bars).design
    exact = reml.fit(Problem.of(design), reml=restricted)
    found = laplace_fit.fit(design, restricted=restricted)
    # both stop where the next step gains some 1e-10, that is at 1e-5 of a standard error
    assert found.criterion == pytest.approx(exact.criterion, abs=1e-7)
    se = np.sqrt(np.diag(exact.vcov))
    np.testing.assert_allclose(found.beta, exact.beta, atol=1e-4 * se.max())
    assert found.sigma == pytest.approx(exact.sigma, rel=1e-4)
    for one, other in zip(found.covariances, exact.covariances, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3 * np.diag(other).max())
    for one, other in zip(found.mode_covariances, exact.mode_covariances, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-5)


def test_lognormal_is_the_normal_fit_of_the_log():
    data = table()
    design = model("lognormal", data=data).design
    log = blm.Model("I(log(lognormal)) ~ x + (x | g) + (1 | h)", data).design
    exact = reml.fit(Problem.of(log), reml=False)
    found = laplace_fit.fit(design)
    assert found.criterion == pytest.approx(exact.criterion + 2 * np.log(data.lognormal).sum(), abs=1e-7)


@given(st.integers(0, 10**6), st.sampled_from(["bernoulli", "poisson", "gamma", "ordinal"]))
@examples(15)
def test_no_point_around_is_better(seed, family):
    rng = np.random.default_rng(seed)
    design = model(family, bars="(1 | g)", data=table(seed)).design
    about = Approximation(design)
    found = laplace_fit.optimum(about)
    for size in (1e-3, 1e-2, 0.1):
        moved = found.psi + size * rng.normal(size=about.size)
        assert about.at(moved)[0] >= found.value - 1e-7


@pytest.mark.reference
@pytest.mark.parametrize("name", [name for name in GLMM if name != "gsim_student"])  # that is an integral
def test_optimum_is_that_of_glmmtmb_or_clmm(name):
    ref, m = GLMM[name], model_of(name)
    found = laplace_fit.fit(m.design, restricted=ref["restricted"])
    # clmm carries 4e-6 of noise of its inner iterations, which shifts its optimum a little
    assert -found.criterion / 2 > ref["logLik"] - 1e-5
    assert -found.criterion / 2 == pytest.approx(ref["logLik"], abs=1e-4)
    p = len(found.beta)
    beta, se = np.array(list(ref["fixef"].values()))[-p:], np.array(list(ref["se"].values()))[-p:]
    np.testing.assert_allclose(found.beta, beta, atol=1e-3 * se.min())
    np.testing.assert_allclose(np.sqrt(np.diag(found.vcov)), se, rtol=1e-3)
    sds = np.sort(np.concatenate([np.sqrt(np.diag(cov)) for cov in found.covariances]))
    wanted = np.sort(np.concatenate([each["sd"] for each in ref["VarCorr"]]))
    np.testing.assert_allclose(sds, wanted, rtol=1e-4, atol=1e-12)
    if ref["dispersion"]:
        value, log_se = next(iter(found.parameters.values())), next(iter(found.parameter_errors.values()))
        assert value == pytest.approx(ref["dispersion"]["value"], rel=1e-4)
        assert log_se == pytest.approx(ref["dispersion"]["log_se"], rel=1e-3)
    if ref["zero"]:
        value, error = list(found.parameters.values())[-1], list(found.parameter_errors.values())[-1]
        gamma = value if np.ndim(value) else np.log(value / (1.0 - value))  # the log odds of one for all rows
        np.testing.assert_allclose(gamma, np.squeeze(list(ref["zero"]["fixef"].values())), rtol=1e-4)
        np.testing.assert_allclose(error, np.squeeze(list(ref["zero"]["se"].values())), rtol=1e-3)
    if ref["cutpoints"]:
        np.testing.assert_allclose(found.parameters["cutpoint"], list(ref["cutpoints"].values()), rtol=1e-4)
    assert found.status == ("boundary" if name in ("cbpp_betabinomial", "gsim_zerovar", "wine_probit") else "converged")
    for group, modes, cov in zip(m.design.groups, found.modes, found.mode_covariances, strict=True):
        if group.name in ref["ranef"] and not ref["restricted"] and len(found.modes) == 1:
            given = ref["ranef"][group.name]
            order = [given["levels"].index(str(level)) for level in group.levels]
            sd = np.array(given["cond_sd"])[order]
            np.testing.assert_allclose(modes, np.array(given["values"])[order], atol=1e-3 * sd.max())
            np.testing.assert_allclose(np.sqrt(np.diagonal(cov, axis1=1, axis2=2)), sd, rtol=1e-3)


@pytest.mark.reference
@pytest.mark.parametrize("name", GLMM)
def test_verbs_of_a_fit_are_those_of_the_other_programs(name):
    """Criteria, residuals and the rest within what two programs may differ by; `agreement_glmm` prints how far."""
    found = agreement_glmm.differences(name, GLMM[name], agreement_glmm.fitted(name, GLMM[name]))
    assert not agreement_glmm.beyond(found), found


def test_every_family_and_link_ends_in_an_answer():
    data = table()
    for name, kind in FAMILIES.items():
        for link in kind.links:
            # counts of zero would push the means of an identity link to the edge
            away = data.assign(poisson=data.poisson + 4, negbinomial=data.negbinomial + 4, nbinom1=data.nbinom1 + 4)
            rows = away if link == "identity" else data
            found = laplace_fit.fit(model(name, link, bars="(1 | g)", data=rows).design)
            assert found.status in ("converged", "boundary"), (name, link)
            assert np.isfinite(found.criterion) and np.isfinite(found.vcov).all(), (name, link)
            assert family_of(name, link).parameters == tuple(found.parameters)


def test_an_optimum_at_the_edge_of_the_support_is_refused():
    with pytest.raises(blm.errors.FitError, match="up to the edge.*link='log'"):
        laplace_fit.fit(model("poisson", "identity", bars="(1 | g)").design)


# -- quadrature


@pytest.mark.reference
@pytest.mark.parametrize("name", [name for name, ref in GLMM.items() if ref["nAGQ25"] and "(1 |" in ref["formula"]])
def test_quadrature_is_that_of_glmer(name):
    """lme4 1.1-31 and clmm with 25 points, maximised in its own right."""
    ref, m = GLMM[name]["nAGQ25"], model_of(name)
    if len(m.design.groups) > 1:
        pytest.skip("several factors")
    found = agq.fit(m.design, 25)
    # the searches end where a step promises 1e-9
    assert -found.criterion / 2 == pytest.approx(ref["logLik"], abs=1e-8)
    p = len(found.beta)
    beta, se = (np.array(list(ref[part].values()))[-p:] for part in ("fixef", "se"))
    np.testing.assert_allclose(found.beta, beta, atol=1e-3 * se.min())
    np.testing.assert_allclose(np.sqrt(np.diag(found.vcov)), se, rtol=1e-4)
    assert agq.reported_at(m.design, found).criterion == pytest.approx(found.criterion, abs=1e-8)  # of the same rule


@pytest.mark.reference
def test_many_nodes_are_the_integral():
    """Student t noise, where the reference is the integral by the trapezoid rule."""
    ref, found = GLMM["gsim_student"], agq.fit(model_of("gsim_student").design, 45)
    assert -found.criterion / 2 == pytest.approx(ref["logLik"], abs=1e-8)
    np.testing.assert_allclose(found.beta, list(ref["fixef"].values()), rtol=1e-4)
    assert found.parameters["sigma"] == pytest.approx(ref["dispersion"]["value"], rel=1e-4)


@pytest.mark.parametrize("family", ["bernoulli", "poisson", "gamma", "ordinal"])
def test_one_node_is_laplaces_approximation(family):
    about = Approximation(model(family, bars="(x | g)").design)
    psi = somewhere(about)
    one = agq._Likelihood(about=about, integrals=agq.OneFactor(about.design), nodes=1)(psi)[0]
    # the modes of the loops are those of differences, good to 1e-5, and move log|M| by as much
    assert one == pytest.approx(about.at(psi)[0], abs=1e-3)


@pytest.mark.parametrize("family", ["bernoulli", "negbinomial", "ordinal"])
def test_differences_of_the_likelihood_serve_where_there_is_no_gradient(family, monkeypatch):
    """Neither way needs the other's, and both have the same optimum and curvature."""

    def refuse(*_):
        raise FloatingPointError

    design = model(family, bars="(1 | g)").design
    with monkeypatch.context() as patched:
        patched.setattr(OneFactor, "__call__", refuse)
        exact = agq.fit(design, 9)
    monkeypatch.setattr(agq._Likelihood, "with_gradient", refuse)
    rough = agq.fit(design, 9)
    assert exact.status == rough.status == "converged"
    # the search ends where a step promises 1e-9, differences over 0.05 standard errors are off by their square
    assert exact.criterion == pytest.approx(rough.criterion, abs=1e-5)
    se = np.sqrt(np.diag(exact.vcov))
    np.testing.assert_allclose(rough.beta, exact.beta, atol=1e-3 * se.min(initial=1.0))
    np.testing.assert_allclose(np.sqrt(np.diag(rough.vcov)), se, rtol=2e-3)


def test_the_error_of_a_rule_is_told():
    toenail = model_of("toenail")
    assert "Take fit_ml(nAGQ=9)" in toenail.fit_ml(nAGQ=1).verdict
    assert toenail.fit_ml(nAGQ=25).verdict == "converged"
    fit = model("bernoulli", bars="(1 | g)").fit_ml(nAGQ=9)
    assert fit.solution.nodes == fit.refit(fit.design.y[::-1]).solution.nodes == 9
    assert "quadrature with 9 nodes" in " ".join(str(fit.summary()).split())


@pytest.mark.parametrize("nodes", [0, 2, -1, 103, 2.0, True, "9"])
def test_nodes_that_make_no_rule_are_refused(nodes):
    with pytest.raises(blm.errors.InputError, match="odd number"):
        model("poisson").fit_ml(nAGQ=nodes)


def test_quadrature_is_refused_where_it_cannot_be():
    with pytest.raises(blm.errors.NotAvailableError, match=r"\(x \| g\) \+ \(1 \| h\)"):
        model("poisson").fit_ml(nAGQ=9)
    with pytest.raises(blm.errors.NotAvailableError, match="exactly"):
        model("gaussian").fit_ml(nAGQ=9)
    with pytest.raises(blm.errors.NotAvailableError, match=r"45\^2"):
        model("poisson", bars="(x | g)").fit_ml(nAGQ=45)


# -- what has no maximum


def test_separation_names_the_coefficient():
    d = table().assign(f=lambda t: np.where(t.index % 4 == 0, "a", "b"))
    d.loc[d.f == "a", "bernoulli"] = 0.0
    d.loc[d.f == "a", "poisson"] = 0
    d.loc[d.f == "a", "ordinal"] = 3
    for family in ("bernoulli", "poisson", "ordinal"):
        with pytest.warns(blm.errors.ConvergenceWarning, match="separation of f"):
            fit = blm.Model(f"{family} ~ x + f + (1 | g)", d, family=family).fit_ml()
        assert fit.solution.status == "separated" and np.isfinite(fit.vcov().to_numpy()).all()


def test_levels_with_one_response_only_are_told():
    d = table().assign(y=lambda t: (t.g % 2).astype(float))
    with pytest.warns(blm.errors.ConvergenceWarning, match="every level of g has one response only"):
        blm.Model("y ~ x + (1 | g)", d, family="bernoulli").fit_ml()


def test_parameters_without_bound_are_told():
    d, formula = table(3).assign(poisson=5), "poisson ~ x + (1 | g) + (1 | h)"
    with pytest.warns(blm.errors.SingularFitWarning, match="shape goes to infinity, where the family is poisson"):
        fit = blm.Model(formula, d, family="negbinomial").fit_ml()
    poisson = laplace_fit.fit(blm.Model(formula, d, family="poisson").design)
    assert fit.loglik == pytest.approx(-poisson.criterion / 2, abs=1e-2)


@pytest.mark.parametrize(("family", "parameter", "limit"), [("nbinom1", "phi", "poisson")])
def test_parameters_that_vanish_are_told(family, parameter, limit):
    d, formula = table(3).assign(poisson=5), "poisson ~ x + (1 | g) + (1 | h)"
    with pytest.warns(blm.errors.SingularFitWarning, match=f"{parameter} goes to zero, where the family is {limit}"):
        fit = blm.Model(formula, d, family=family).fit_ml()
    plain = laplace_fit.fit(blm.Model(formula, d, family=limit).design)
    # 600 counts of 5 at phi = 1e-6 differ from Poisson's by less than that each
    assert fit.loglik == pytest.approx(-plain.criterion / 2, abs=1e-2)


@pytest.mark.parametrize("family", ["student_t", "gamma"])
def test_perfect_fits_are_refused(family):
    d = table().assign(y=lambda t: np.exp(t.x) if family == "gamma" else 2 * t.x)
    with pytest.raises(blm.errors.FitError, match="fits the data perfectly"):
        blm.Model("y ~ x + (1 | g)", d, family=family).fit_ml()


def test_fits_of_other_families_come_back_from_files(tmp_path):
    for family, options in (("negbinomial", {}), ("ordinal", {}), ("poisson", {"nAGQ": 5})):
        fit = model(family, bars="(1 | g)").fit_ml(**options)
        blm.save(fit, tmp_path / "fit.nc")
        again = blm.load(tmp_path / "fit.nc")
        assert str(again.summary()) == str(fit.summary()) and again.solution.nodes == fit.solution.nodes


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
def test_rules_are_not_mixed_in_a_test():
    """Fits by different rules are compared by the finer one, or by Laplace's approximation where there is no other."""
    m = model("poisson", bars="(1 | g)")
    small = m.update(". ~ . - x")
    found = blm.anova(m.fit_ml(nAGQ=1), small.fit_ml(nAGQ=9))
    assert "All fits by quadrature with 9 nodes" in " ".join(str(found).split())
    exact = 2 * (m.fit_ml(nAGQ=9).loglik - small.fit_ml(nAGQ=9).loglik)
    assert found.table["chisq"].iloc[1] == pytest.approx(exact, abs=1e-6)
    crossed = model("poisson").fit_ml()
    found = blm.anova(small.update(". ~ . + x").fit_ml(nAGQ=9), crossed)
    assert "All fits by Laplace's approximation" in " ".join(str(found).split())


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
def test_as_many_nodes_as_it_takes():
    """Until estimates stay: what Laplace's approximation has right is left alone; toenail takes more."""
    toenail = model_of("toenail").fit_ml()
    assert toenail.solution.nodes > 1 and "quadrature" in " ".join(str(toenail.summary()).split())
    finer = model_of("toenail").fit_ml(nAGQ=101)
    se = finer.fixef()["std_error"]
    # 0.1 of an error as one Newton step has it, and what the next rules still move
    assert (abs(toenail.fixef()["estimate"] - finer.fixef()["estimate"]) < 0.15 * se).all()
    cbpp = model_of("cbpp_logit").fit_ml()
    assert cbpp.solution.nodes == 1 and cbpp.loglik == model_of("cbpp_logit").fit_ml(nAGQ=1).loglik
    assert model("poisson").fit_ml().solution.nodes == 1  # crossed: there is no other rule


def test_counts_that_lose_the_digits_are_refused():
    d = table().assign(poisson=lambda t: t.poisson + 10**9)
    with pytest.raises(blm.errors.FitError, match="family='poisson'"):
        blm.Model("poisson ~ x + (1 | g)", d, family="negbinomial").fit_ml()


def test_link_of_new_binomial_rows_needs_no_trials():
    fit = model("binomial", bars="(1 | g)").fit_ml()
    told = fit.predict(table().head(3), kind="link", interval="plug-in")
    mean = fit.predict(table().head(3), interval="plug-in")
    np.testing.assert_allclose(1 / (1 + np.exp(-told["conf_low"])), mean["conf_low"], rtol=1e-12)


@pytest.mark.filterwarnings("ignore::bayeslmm.errors.SingularFitWarning")
def test_quadrature_leaves_a_boundary_and_finds_it_again():
    """Where Laplace's approximation alone has a correlation of one: the search must not stop where it left it."""
    rng = fixed_rng(4)  # one of the seeds at which quadrature leaves the boundary
    d = pd.DataFrame({"g": np.repeat(np.arange(12), 7), "x": rng.normal(size=84)})
    eta = 1.2 + 0.7 * d.x + rng.normal(size=12)[d.g] * (0.2 - 1.1 * d.x)
    d["y"] = (rng.random(84) < 1 / (1 + np.exp(-eta))).astype(float)
    m = blm.Model("y ~ x + (x | g)", d, family="bernoulli")
    about = Approximation(m.design)
    likelihood = agq._Likelihood(about=about, integrals=agq.OneFactor(m.design), nodes=9)
    assert agq._inside(likelihood, laplace_fit.optimum(about)) is not None
    fits = [m.fit_ml(nAGQ=k) for k in (5, 9, 15)]
    assert all(fit.solution.status in ("boundary", "converged") for fit in fits)
    assert fits[2].loglik == pytest.approx(fits[1].loglik, abs=1e-2)


def by_grid(design, fixed, sd, parameters):
    """log L of (1 | g) by the trapezoid rule, of the compiled log density alone: no modes, no nodes, no factors."""
    from scipy.special import logsumexp

    from bayeslmm.families.densities import numbers

    kind, link = numbers(design.family)
    ones = np.ones(design.n)
    trials = ones if design.trials is None else design.trials.astype(float)
    y = np.ascontiguousarray(design.working_response, dtype=float)
    u = np.arange(-9.0, 9.0, 0.02)
    by_level = np.empty((len(u), design.groups[0].n_levels))
    for k, effect in enumerate(sd * u):
        out = np.empty(design.n)
        each_row(kind, link, design.family.normaliser_takes_y, y, trials, ones, fixed + effect, parameters, out)
        by_level[k] = np.bincount(design.groups[0].codes, out) - 0.5 * u[k] ** 2
    by_level[np.isnan(by_level)] = -np.inf  # outside of the link's range
    return logsumexp(by_level, axis=0).sum() + by_level.shape[1] * np.log(0.02 / np.sqrt(2 * np.pi))


INTEGRATED = ["bernoulli", "poisson", "truncated_poisson", "zero_inflated_poisson", "hurdle_poisson", "ordinal"]


@pytest.mark.parametrize("family", INTEGRATED)
@given(st.integers(0, 10**6), st.floats(0.2, 1.2))
@examples(3)
def test_many_nodes_are_the_integral_by_brute_force(family, seed, scale):
    design = model(family, bars="(1 | g)", data=table(seed)).design
    about = Approximation(design)
    psi = laplace_fit._start(about, 0.5)
    psi[about.theta_at] *= scale
    beta, theta, free = about.split(psi)
    value = agq._Likelihood(about=about, integrals=OneFactor(design), nodes=45)(psi)[0]
    sd = (about.T_z[0] @ about.lams(theta)[0]).item()
    exact = by_grid(design, design.X @ (about.T_x @ beta) + design.offset, abs(sd), about.parameters.values(free))
    assert -value == pytest.approx(exact + design.density_constants.sum(), abs=1e-6)
